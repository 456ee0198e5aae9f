//! Driving the core's [`Life`]: Wills, births, beacons. What is published when is decided there.

use core::net::SocketAddr;

use log::Level;
use resolver_core::feed::follow::Link;
#[cfg(feature = "steering")]
use resolver_core::life::Orders;
use resolver_core::life::{Delivery, Heard, Life, LifeCounters, NodeError, NodeTopicString, Vitals};
use resolver_core::{Feed, Instant, View};

use super::pace::Pace;
use crate::{Event, Request, RetainHandling, Will};

/// Room for a node's own messages: a certificate with a handful of regions and services (some 400 octets), as much again
/// for addresses, services and the reason of the last reset, and all of that twice over. The longest that the core would
/// make (its `MAX_NOTICE`) takes names of 40 letters in every place. What does not fit is counted and told.
pub const NOTICE: usize = 1_536;

/// A node's own life.
pub(super) struct OwnLife<'m> {
    life: Life<'m>,
    /// What is being sent, or the Will.
    out: &'m mut [u8],
    topic: NodeTopicString,
    listening: Listening,
    unfit: u64,
    overwritten: Pace,
    outdated: Pace,
    refused: Pace,
}

/// Whether the node's own topic is subscribed to: before the birth, which would overwrite the only sign that this
/// incarnation is behind an earlier one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Listening {
    No,
    Due,
    Asked,
}

impl<'m> OwnLife<'m> {
    pub(super) fn new(life: Life<'m>, out: &'m mut [u8]) -> Self {
        Self {
            life,
            out,
            topic: NodeTopicString::new(),
            listening: Listening::No,
            unfit: 0,
            overwritten: Pace::default(),
            outdated: Pace::default(),
            refused: Pace::default(),
        }
    }

    pub(super) fn counters(&self) -> LifeCounters {
        self.life.counters()
    }

    /// True if it was a message on the node's own topic, and so nobody else's business.
    pub(super) fn handle_event(&mut self, event: &Event<'_>, now: Instant) -> bool {
        match event {
            Event::Up => self.handle_link(Link::Up, now),
            Event::Down(_) => self.handle_link(Link::Down, now),
            Event::Message { topic, payload, .. } => {
                match self.life.handle_message(topic, payload, now) {
                    Err(NodeError::Topic) => return false,
                    Ok(Heard::Own) => {}
                    // Anybody whom the broker lets write there can cause these.
                    Ok(Heard::Overwritten) => self.overwritten.log(
                        Level::Info,
                        now,
                        format_args!("another message stands where our birth belongs"),
                    ),
                    Ok(Heard::Ended) => self.outdated.log(
                        Level::Warn,
                        now,
                        format_args!(
                            "our own end is told while we live, by a late Will or by somebody who repeats one: if it goes \
                             on, let nobody else write there (the broker's access list); connecting anew to go beyond it"
                        ),
                    ),
                    Ok(Heard::Outdated) => self.outdated.log(
                        Level::Warn,
                        now,
                        format_args!(
                            "a later message of ours is told, as after this board's flash was erased or the board was \
                             replaced: if it was not, another node has its key; connecting anew to go beyond it"
                        ),
                    ),
                    Err(error) => self.refused.log(
                        Level::Warn,
                        now,
                        format_args!(
                            "somebody else writes on our topic ({error}): let nobody do so, by the broker's access list"
                        ),
                    ),
                }
                return true;
            }
            Event::Acked(_) | Event::Refused { .. } | Event::SubscriptionRefused(_) => {}
        }
        false
    }

    fn handle_link(&mut self, link: Link, now: Instant) {
        self.listening = if link == Link::Up { Listening::Due } else { Listening::No };
        self.life.handle_link(link, now);
    }

    pub(super) fn handle_change(&mut self) {
        self.life.handle_change();
    }

    #[cfg(feature = "steering")]
    pub(super) fn handle_orders(&mut self, orders: &Orders<'_>) -> Result<(), NodeError> {
        self.life.handle_orders(orders)
    }

    /// None where there is no way to the broker, and so nobody to tell.
    pub(super) fn handle_addresses(&mut self, addresses: &[SocketAddr], now: Instant) {
        if !addresses.is_empty() {
            self.life.handle_addresses(addresses, now);
        }
    }

    pub(super) fn poll_at(&self) -> Option<Instant> {
        match self.listening {
            Listening::Due => Some(Instant::from_micros(0)),
            Listening::No | Listening::Asked => self.life.poll_at(),
        }
    }

    pub(super) fn poll_request(
        &mut self,
        feed: &Feed<'_>,
        view: &View<'_>,
        vitals: &Vitals<'_>,
        now: Instant,
    ) -> Option<Request<'_>> {
        if self.listening == Listening::Due {
            self.listening = Listening::Asked;
            self.topic = self.life.topic();
            return Some(Request::Subscribe { filter: &self.topic, retained: RetainHandling::Deliver });
        }
        if self.life.poll_reconnect(now) {
            return Some(Request::Disconnect);
        }
        let transmit = self.life.poll_transmit(feed, view, vitals, now, self.out);
        let unfit = self.life.counters().unfit;
        if core::mem::replace(&mut self.unfit, unfit) != unfit {
            log::error!(
                "a message of this node exceeds {} octets: give its certificate or its block fewer services",
                self.out.len()
            );
        }
        let transmit = transmit?;
        self.topic = transmit.topic;
        let is_assured = transmit.delivery == Delivery::Assured;
        Some(Request::Publish {
            topic: &self.topic,
            payload: self.out.get(..transmit.length)?,
            retain: true,
            // A birth is not waited for: where another stands in its place, that is heard.
            token: is_assured.then_some(0),
        })
    }

    pub(super) fn will(&mut self) -> Option<Will<'_>> {
        let transmit = self.life.will(self.out)?;
        self.topic = transmit.topic;
        Some(Will { topic: &self.topic, payload: self.out.get(..transmit.length)? })
    }
}
