//! The registry beside a plain model, through long runs of whatever may happen to it.

use std::collections::BTreeMap;

use proptest::prelude::*;
use resolver_core::life::{End, ServiceReport, ServiceState, Speaker};
use resolver_core::registry::{Outcome, Registry, Settings};
use resolver_core::{View, records};

use crate::world::{Node, at, eligible, hear, id, registry, settings};

#[derive(Clone, Debug)]
enum Event {
    Birth(usize, u64),
    End(usize, u64, End, Speaker),
    Beacon(usize, u64, ServiceState),
    Distance(usize, u32),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let node = 0..NAMES.len();
    let state = prop_oneof![Just(ServiceState::Up), Just(ServiceState::Down), Just(ServiceState::Draining)];
    let end = prop_oneof![
        Just((End::Death, Speaker::Node)),
        Just((End::Death, Speaker::Will)),
        Just((End::Sleep, Speaker::Node))
    ];
    let event = prop_oneof![
        3 => (node.clone(), 1..6_u64).prop_map(|(node, incarnation)| Event::Birth(node, incarnation)),
        2 => (node.clone(), 1..6_u64, end).prop_map(|(node, incarnation, (end, speaker))| Event::End(node, incarnation, end, speaker)),
        2 => (node.clone(), 1..6_u64, state).prop_map(|(node, incarnation, state)| Event::Beacon(node, incarnation, state)),
        1 => (node, 0..3_000_u32).prop_map(|(node, micros)| Event::Distance(node, micros)),
    ];
    prop::collection::vec(event, 0..60)
}

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// What a plain reading of the rules knows of a node.
#[derive(Clone, Copy, Default)]
struct Known {
    incarnation: u64,
    is_up: bool,
    is_asleep: bool,
    is_serving: bool,
    offers: bool,
}

proptest! {
    #[test]
    fn eligible_is_what_the_rules_say(events in events()) {
        // Without probes of suspects, flapping, and with more room than is needed.
        let settings = Settings { flap_ends: u8::MAX, ..settings() };
        let registry: Registry<'static> = registry(8, &settings);
        let memory = records::Memory {
            cells: vec![[0; 24]; 16].leak(),
            index: vec![[0; 4]; 4].leak(),
            zones: Vec::new().leak(),
        };
        let mut view = View::new(memory, 1).with_registry(registry);
        let nodes: Vec<_> = NAMES.iter().zip(1..).map(|(name, number)| Node::new(name, "eu", number)).collect();
        let mut model = BTreeMap::<usize, Known>::new();
        for (step, event) in events.into_iter().enumerate() {
            let now = at(step as u64);
            match event {
                Event::Birth(node, incarnation) => {
                    let _ = hear(&mut view, &nodes[node], 'n', &nodes[node].birth(incarnation), now).unwrap();
                    let known = model.entry(node).or_insert(Known { is_serving: true, ..Known::default() });
                    if incarnation > known.incarnation || incarnation == known.incarnation && known.is_up {
                        *known = Known { incarnation, is_up: true, is_asleep: false, offers: true, ..*known };
                    }
                }
                Event::End(node, incarnation, end, speaker) => {
                    let payload = nodes[node].end(end, speaker, incarnation);
                    let _ = hear(&mut view, &nodes[node], 'n', &payload, now).unwrap();
                    let known = model.entry(node).or_insert(Known { is_serving: true, ..Known::default() });
                    let is_current = incarnation == known.incarnation;
                    let is_believed = match end {
                        End::Sleep => is_current && (known.is_up || known.is_asleep),
                        End::Death => is_current && !known.is_asleep,
                    };
                    if incarnation > known.incarnation || is_believed {
                        *known = Known { incarnation, is_up: false, is_asleep: end == End::Sleep, ..*known };
                    }
                }
                Event::Beacon(node, incarnation, state) => {
                    let report = [ServiceReport { state, load: 3 }];
                    // Of no use before the node is known, and then of no other effect than here.
                    let _ = hear(&mut view, &nodes[node], 'b', &nodes[node].beacon(incarnation, 3, &report, None, &[]), now);
                    if let Some(known) = model.get_mut(&node) {
                        if incarnation > known.incarnation {
                            *known = Known { incarnation, is_up: true, is_asleep: false, ..*known };
                        }
                        if incarnation == known.incarnation && known.is_up && known.offers {
                            known.is_serving = state == ServiceState::Up;
                        }
                    }
                }
                Event::Distance(node, micros) => {
                    // A node whose distance is known is probed before its Will is believed; so only while it is up, and taken
                    // away again before anything else happens.
                    if let Some(found) = view.registry().find(id(NAMES[node])) {
                        view.set_distance(found, Some((micros, 0)));
                        let before: Vec<String> = eligible(&view).iter().map(|name| name.to_string()).collect();
                        if before.iter().any(|name| name == NAMES[node]) {
                            prop_assert_eq!(&before[0], NAMES[node], "what is measured is before what is not");
                        }
                        view.handle_probe(found, Outcome::Lost, now);
                        view.set_distance(found, None);
                    }
                }
            }
            let mut expected: Vec<_> = model
                .iter()
                .filter(|(_, known)| known.is_up && known.offers && known.is_serving)
                .map(|(&node, _)| NAMES[node])
                .collect();
            let mut found = eligible(&view);
            expected.sort();
            found.sort();
            prop_assert_eq!(found, expected);
            let distances: Vec<_> = view.registry().endpoints(id("web")).map(|e| (!e.reasons.is_eligible(), e.distance)).collect();
            prop_assert!(distances.is_sorted());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// What the fuzz target runs, on a few programs.
    #[test]
    fn any_program_leaves_a_sound_registry(octets in prop::collection::vec(any::<u8>(), 0..120)) {
        crate::program::run(&octets);
    }
}
