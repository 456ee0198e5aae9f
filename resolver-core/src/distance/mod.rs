//! How far other nodes are: round trips that were measured, and guesses that choose what to measure.
//!
//! Owns whom to probe next and when ([`Planner`]), an edge's round trip against noise ([`Smoother`]), and network coordinates
//! ([`Coordinate`]). Knows no names and no addresses: nodes are the numbers that the caller gives them. Leaves probes (ordinary DNS
//! queries) and their transaction numbers to the caller. Why it is done so, with figures, is `docs/distance.md`.
//!
//! # The driving loop
//!
//! [`Survey`] does the part of it that is the same for everybody.
//!
//! ```text
//! planner.poll_review(now)   then for each node of the pool: planner.offer(id, what is known of its distance), and, if that
//!                            was measured, own.handle_sample(&coordinate_of_that_node, rtt, random) again;
//!                            then for each of planner.leaders(): planner.offer(id, Evidence::Near(..)) for those of
//!                            its near list that were never measured
//! always                     while let Some(probe) = planner.poll_probe(now) { send a query, wait for probe.patience }
//! an answer came             if let Some(rtt) = planner.handle_reply(id, rtt, now) { keep it;
//!                                own.handle_sample(&coordinate_of_that_node, rtt, random) }
//! none came in time          planner.handle_failure(id)
//! a node is gone             planner.forget(id)
//! a beacon is due            own, planner.near_list() travel in it
//! then always                sleep until planner.poll_at()
//! ```

mod coordinate;
mod planner;
mod smoother;
mod survey;

pub use coordinate::{Coordinate, FARTHEST, USEFUL};
pub use planner::{
    DISCOVERY, Edge, Evidence, INTERVAL, LEADERS, LEAST_PAUSE, MAX_NEAR, Near, NearList, Planner, Probe,
};
pub(crate) use smoother::patience;
pub use smoother::{LONGEST_WAIT, SHORTEST_WAIT, Smoother};
pub use survey::{Candidate, Survey};
