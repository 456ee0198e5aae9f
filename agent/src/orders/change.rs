//! What a command makes of the orders that stand: pure, so that every case can be looked at.

use std::collections::BTreeMap;

use resolver_core::life::{Instruction, Order, Orders};

use super::Wish;

/// By service, none first: for all that have none of their own. Order, and Unix seconds of its end (0: none).
pub(super) type Instructions = BTreeMap<Option<String>, (Order, u64)>;

/// What of `orders` still holds at `now`, in Unix seconds.
pub(super) fn standing(orders: &Orders<'_>, now: u64) -> Instructions {
    let holding = orders.instructions.filter(|instruction| instruction.holds(Some(now)));
    holding
        .map(|Instruction { service, order, until }| {
            (service.map(|service| service.as_str().to_owned()), (order, until))
        })
        .collect()
}

/// Carries `wish` out on `standing`, for `services` or for all where none is named.
pub(super) fn carry_out(wish: &Wish, services: &[String], standing: &mut Instructions) {
    if services.is_empty() {
        for_all(wish, standing);
    } else {
        for service in services {
            for_one(wish, service, standing);
        }
    }
    if !standing.contains_key(&None) {
        // Exceptions from nothing.
        standing.retain(|_, (order, _)| *order != Order::AsChecked);
    }
}

fn for_all(wish: &Wish, standing: &mut Instructions) {
    match *wish {
        // What is disabled by its name stays so: whoever did it had a reason that is not over with this.
        Wish::Set { order, until } => {
            standing.retain(|_, (standing, _)| *standing == Order::Disable);
            standing.insert(None, (order, until));
        }
        Wish::End(ends) => standing.retain(|_, (order, _)| !ends.contains(order)),
    }
}

fn for_one(wish: &Wish, service: &str, standing: &mut Instructions) {
    let key = Some(service.to_owned());
    match *wish {
        Wish::Set { order, until } => drop(standing.insert(key, (order, until))),
        Wish::End(ends) => {
            if standing.get(&key).is_some_and(|(order, _)| ends.contains(order)) {
                standing.remove(&key);
            }
            match standing.get(&None) {
                Some(&(order, until)) if ends.contains(&order) && !standing.contains_key(&key) => {
                    standing.insert(key, (Order::AsChecked, until));
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Order::{AsChecked, Disable, Drain, ForceUp};

    const UNDRAIN: Wish = Wish::End(&[Drain]);
    const ENABLE: Wish = Wish::End(&[Disable, ForceUp]);

    fn set(order: Order) -> Wish {
        Wish::Set { order, until: 0 }
    }

    /// `wish` for the services in `named`, on what stands as (service or "*", order).
    fn after(standing: &[(&str, Order)], wish: Wish, named: &[&str]) -> Vec<(String, Order)> {
        let key = |service: &str| (service != "*").then(|| service.to_owned());
        let mut instructions: Instructions =
            standing.iter().map(|(service, order)| (key(service), (*order, 0))).collect();
        let named: Vec<String> = named.iter().map(|&name| name.to_owned()).collect();
        carry_out(&wish, &named, &mut instructions);
        instructions
            .into_iter()
            .map(|(service, (order, _))| (service.unwrap_or_else(|| "*".into()), order))
            .collect()
    }

    fn are(expected: &[(&str, Order)]) -> Vec<(String, Order)> {
        expected.iter().map(|&(service, order)| (service.to_owned(), order)).collect()
    }

    #[test]
    fn what_is_said_of_all_goes_over_exceptions_and_leaves_what_is_disabled_by_name() {
        let standing = [("*", AsChecked), ("dns", ForceUp), ("mail", Disable), ("web", Drain)];
        assert_eq!(after(&standing, set(Drain), &[]), are(&[("*", Drain), ("mail", Disable)]));
        assert_eq!(after(&[("*", Drain)], set(ForceUp), &[]), are(&[("*", ForceUp)]));
        assert_eq!(after(&[("*", Drain), ("web", Drain)], UNDRAIN, &[]), are(&[]));
        assert_eq!(after(&[("*", Drain), ("web", Disable)], UNDRAIN, &[]), are(&[("web", Disable)]));
        assert_eq!(after(&[("*", Disable), ("web", Drain)], ENABLE, &[]), are(&[("web", Drain)]));
    }

    #[test]
    fn a_service_is_excepted_from_what_holds_for_all() {
        let drained = after(&[("*", Drain)], UNDRAIN, &["web"]);
        assert_eq!(drained, are(&[("*", Drain), ("web", AsChecked)]));
        assert_eq!(after(&[("*", Drain), ("web", AsChecked)], UNDRAIN, &[]), are(&[]));
        assert_eq!(after(&[("*", Drain), ("web", Drain)], UNDRAIN, &["web"]), drained);
        assert_eq!(after(&[("*", Disable)], UNDRAIN, &["web"]), are(&[("*", Disable)]), "nothing to undrain");
        assert_eq!(after(&[], set(Disable), &["a", "b"]), are(&[("a", Disable), ("b", Disable)]));
        assert_eq!(after(&[("web", ForceUp)], ENABLE, &["web"]), are(&[]));
    }

    #[test]
    fn an_exception_ends_with_what_it_is_from() {
        let mut instructions = Instructions::from([(None, (Drain, 900))]);
        carry_out(&UNDRAIN, &["web".to_owned()], &mut instructions);
        assert_eq!(instructions[&Some("web".to_owned())], (AsChecked, 900));
    }
}
