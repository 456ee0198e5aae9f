//! Steered names and maps of clients that cannot do what their owner wants: to be told, not refused, since a feed may carry
//! them.

use resolver_core::steer::map::network;
use resolver_core::steer::{Filter, Steering};
use resolver_core::wire::{Name, RelativeName, Rtype};

use super::{Reader, Record};

impl Reader<'_> {
    /// Warns of them. `records` are in order of owner and type.
    pub(super) fn check_steering(&mut self, records: &[Record]) {
        let of = |rtype: Rtype| records.iter().filter(move |record| record.rtype == rtype);
        if of(Rtype::STEER).chain(of(Rtype::NEAR)).next().is_none() {
            return;
        }
        if let Some(first) = of(Rtype::STEER).next()
            && records.iter().any(|record| matches!(record.rtype, Rtype::RRSIG | Rtype::DNSKEY))
        {
            self.warn_at(first, |shown| {
                format!(
                    "{shown} in a signed zone: what is steered has no signatures, so validating clients refuse it. Keep \
                     steered names in a zone of their own that is not signed"
                )
            });
        }
        for group in records.chunk_by(|a, b| a.rtype == b.rtype && a.owner.eq_ignore_ascii_case(&b.owner)) {
            // Records that say the same are one.
            if matches!(group[0].rtype, Rtype::STEER | Rtype::NEAR)
                && let Some(second) = group.iter().find(|record| record.rdata != group[0].rdata)
            {
                self.warn_at(second, |shown| {
                    format!(
                        "{shown} stands there twice: one counts, whose octets come first. Keep one of them"
                    )
                });
            }
        }
        // Names of maps in lower case, in wire form.
        let mut maps: Vec<Box<[u8]>> = Vec::new();
        for record in of(Rtype::NEAR) {
            match self.full(record).and_then(|owner| network(&owner).map(|(_, _, labels)| owner.ancestor(labels))) {
                Some(map) => {
                    let map: Box<[u8]> = map.as_wire().to_ascii_lowercase().into();
                    if let Err(place) = maps.binary_search(&map) {
                        maps.insert(place, map);
                    }
                }
                None => self.warn_at(record, |shown| {
                    format!(
                        "{shown} is no network: nobody is looked for there. A name is like 2.0.192.in-addr.MAP, \
                         16/20.0.192.in-addr.MAP or 8.b.d.0.1.0.0.2.ip6.MAP, with no bit beyond its prefix"
                    )
                }),
            }
        }
        for record in of(Rtype::STEER) {
            let Ok(steering) = Steering::read(&record.rdata) else { continue };
            let map = steering.filters().find_map(|filter| match filter {
                Filter::Map(map) => *map,
                _ => None,
            });
            if let Some(map) = map
                && let Ok(name) = Name::from_wire(map)
                && name.is_within(self.apex)
                && maps.binary_search(&map.to_ascii_lowercase().into()).is_err()
            {
                self.warn_at(record, |shown| {
                    format!("{shown} has map={name}, where no NEAR record is: everybody is taken to be at the node that is asked")
                });
            }
        }
    }

    fn full(&self, record: &Record) -> Option<Name> {
        let owner = RelativeName::from_wire(&record.owner).ok()?;
        Name::join(owner, self.apex).ok()
    }

    fn warn_at(&mut self, record: &Record, warning: impl FnOnce(String) -> String) {
        self.warn(|reader| {
            let at = reader.error(record.place, "", "");
            let what = warning(reader.describe(record));
            format!("{}, line {}: {what}", at.file.display(), at.line.unwrap_or(0))
        });
    }
}
