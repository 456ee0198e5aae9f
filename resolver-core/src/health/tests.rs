use super::Outcome::{Fail, Pass};
use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A check on a made-up clock.
struct World {
    check: Check,
    now: Instant,
}

impl World {
    fn new(plan: Plan, seed: u64) -> Self {
        let now = Instant::from_micros(7_000_000);
        Self { check: Check::new(plan, now, seed), now }
    }

    /// Passes the time until the next check begins; returns how much that was.
    fn begin(&mut self) -> Duration {
        let waited = self.check.poll_at().saturating_since(self.now);
        self.now = self.now + waited;
        assert!(self.check.poll_begin(self.now) && !self.check.poll_begin(self.now));
        waited
    }

    fn result(&mut self, outcome: Outcome) -> Option<ServiceState> {
        self.begin();
        self.check.handle_result(outcome, self.now)
    }
}

#[test]
fn the_first_result_decides_and_then_rise_and_fall_do() {
    let mut world = World::new(Plan::default(), 1);
    assert_eq!(world.check.state(), ServiceState::Unknown);
    assert_eq!(world.result(Pass), Some(ServiceState::Up));
    // Two failures in a row are no fall of three.
    for _ in 0..5 {
        assert_eq!([Fail, Fail, Pass].map(|outcome| world.result(outcome)), [None; 3]);
    }
    assert_eq!([Fail, Fail].map(|outcome| world.result(outcome)), [None; 2]);
    assert_eq!(world.result(Fail), Some(ServiceState::Down));
    assert_eq!([Fail, Pass, Fail, Pass].map(|outcome| world.result(outcome)), [None; 4]);
    assert_eq!((world.result(Pass), world.check.state()), (Some(ServiceState::Up), ServiceState::Up));
    let mut world = World::new(Plan::default(), 1);
    assert_eq!(world.result(Fail), Some(ServiceState::Down));
}

#[test]
fn thresholds_of_none_are_of_one() {
    let mut world = World::new(Plan { rise: 0, fall: 0, ..Plan::default() }, 1);
    let states = [Pass, Pass, Fail, Fail, Pass].map(|outcome| world.result(outcome));
    let (up, down) = (Some(ServiceState::Up), Some(ServiceState::Down));
    assert_eq!(states, [up, None, down, None, up]);
}

#[test]
fn a_result_that_does_not_come_is_a_failure_and_one_that_comes_late_is_none() {
    let mut world = World::new(Plan { fall: 1, ..Plan::default() }, 1);
    world.result(Pass);
    world.begin();
    assert_eq!(world.check.poll_at(), world.now + SECOND);
    world.now = world.now + (SECOND - Duration::from_micros(1));
    assert_eq!(world.check.handle_timeout(world.now), None);
    world.now = world.now + Duration::from_micros(1);
    assert_eq!(world.check.handle_timeout(world.now), Some(ServiceState::Down));
    assert_eq!(world.check.handle_result(Pass, world.now), None);
    assert_eq!((world.check.state(), world.check.streak()), (ServiceState::Down, 0));
}

#[test]
fn checks_come_at_their_interval_with_jitter_and_sooner_in_doubt() {
    let plan = Plan { interval: 16 * SECOND, rise: 200, fall: 200, ..Plan::default() };
    let mut world = World::new(plan, 3);
    assert!(world.begin() <= SECOND);
    world.check.handle_result(Pass, world.now);
    let (mut total, mut distinct) = (Duration::ZERO, std::collections::BTreeSet::new());
    for _ in 0..500 {
        let waited = world.begin();
        assert!((15 * SECOND..=17 * SECOND).contains(&waited), "{waited:?}");
        (total, _) = (total + waited, distinct.insert(waited));
        world.check.handle_result(Pass, world.now);
    }
    let mean = total / 500;
    assert!((15_800..=16_200).contains(&mean.as_millis()), "{mean:?}");
    assert!(distinct.len() > 400);
    world.result(Fail);
    assert!((3_700..=4_300).contains(&world.begin().as_millis()));
    world.check.handle_result(Pass, world.now);
    assert!(world.begin() >= 15 * SECOND, "the doubt is over");
}

#[test]
fn the_time_that_a_check_takes_is_part_of_the_interval() {
    let plan = Plan { interval: 2 * SECOND, timeout: 10 * SECOND, ..Plan::default() };
    let mut world = World::new(plan, 5);
    world.begin();
    world.now = world.now + SECOND;
    world.check.handle_result(Pass, world.now);
    assert!((800..=1_200).contains(&world.begin().as_millis()));
    // One that takes longer than the interval is followed by the next at once, never by two.
    world.now = world.now + 5 * SECOND;
    world.check.handle_result(Pass, world.now);
    assert_eq!(world.begin(), Duration::ZERO);
}

#[test]
fn checks_of_many_services_do_not_begin_together() {
    let starts = (0..64).map(|seed| World::new(Plan::default(), seed).begin().as_millis() / 100);
    let distinct: std::collections::BTreeSet<_> = starts.collect();
    assert!(distinct.len() >= 8, "{distinct:?}");
}
