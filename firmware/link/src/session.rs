//! One MQTT session: what is owed to the broker, what is awaited from it, and until when. Sans I/O.
//!
//! Per connection one session; all of its work is bounded by the packet, or by the few requests that may be under way.

use core::time::Duration;

use resolver_core::Instant;

use super::packet::{self, Code, Connect, Encoder, Limits, Overflow, Packet, Publish};
use super::{Awaited, Counters, Down, Event, Request, Settings, User};

/// Messages with QoS 1 that the broker may send before they are acknowledged. They do not wait in the board but in the
/// TCP window, so the number costs two octets each; it has to outlast a round trip.
pub(super) const RECEIVE_MAXIMUM: u16 = 32;

/// Requests under way: a feed asks for a few filters a zone and a window of slots, and each round trip clears all.
const REQUESTS: usize = 8;

/// One connection's open business.
#[derive(Debug)]
pub(super) struct Session<'s> {
    counters: &'s mut Counters,
    keep_alive: Duration,
    limits: Limits,
    /// Identifiers of received messages to be acknowledged.
    acknowledgements: heapless::Deque<u16, { RECEIVE_MAXIMUM as usize }>,
    awaited: heapless::Vec<Pending, REQUESTS>,
    last_id: u16,
    /// Something came, and something went, last.
    heard_at: Instant,
    sent_at: Instant,
    /// When the answer to a PINGREQ is overdue.
    ping_due: Option<Instant>,
    goodbye: bool,
}

/// A request without its answer.
#[derive(Debug)]
struct Pending {
    id: u16,
    what: Awaited,
    /// Of a publish.
    token: u32,
    due: Instant,
}

impl<'s> Session<'s> {
    pub(super) fn new(settings: &Settings<'_>, counters: &'s mut Counters, now: Instant) -> Self {
        Self {
            counters,
            keep_alive: Duration::from_secs(keep_alive_seconds(settings).into()),
            limits: Limits::NONE,
            acknowledgements: heapless::Deque::new(),
            awaited: heapless::Vec::new(),
            last_id: 0,
            heard_at: now,
            sent_at: now,
            ping_due: None,
            goodbye: false,
        }
    }

    /// Writes the CONNECT that begins a session; returns its length.
    pub(super) fn connect(
        settings: &Settings<'_>,
        user: &mut impl User,
        max_packet: usize,
        out: &mut [u8],
    ) -> Result<usize, Down> {
        let mut encoder = Encoder::new(out);
        let connect = Connect {
            client_id: settings.client_id,
            keep_alive: keep_alive_seconds(settings),
            receive_maximum: RECEIVE_MAXIMUM,
            max_packet: u32::try_from(max_packet).unwrap_or(u32::MAX),
            will: user.will(),
            login: settings.login,
        };
        encoder.connect(&connect).map_err(|Overflow| Down::TooLong)?;
        Ok(encoder.len())
    }

    /// The answer to the CONNECT.
    pub(super) fn handle_answer(
        &mut self,
        packet: Result<Packet<'_>, packet::Malformed>,
        now: Instant,
    ) -> Result<(), Down> {
        let (code, limits) = match packet {
            Ok(Packet::ConnAck { code, limits }) => (code, limits),
            Ok(Packet::Disconnect { code }) => return Err(Down::Refused(code)),
            _ => return Err(Down::Malformed),
        };
        if code.is_failure() {
            return Err(Down::Refused(code));
        }
        if let Some(code) = limits.lacks {
            return Err(Down::Lacking(code));
        }
        if let Some(seconds) = limits.keep_alive.filter(|seconds| *seconds > 0) {
            self.keep_alive = Duration::from_secs(seconds.into());
        }
        self.limits = limits;
        (self.heard_at, self.sent_at) = (now, now);
        add(&mut self.counters.connections);
        Ok(())
    }

    /// Whether another message could be acknowledged.
    pub(super) fn has_room(&self) -> bool {
        !self.acknowledgements.is_full()
    }

    /// A packet arrived; [`Self::has_room`] holds.
    pub(super) fn handle_packet(
        &mut self,
        packet: Result<Packet<'_>, packet::Malformed>,
        user: &mut impl User,
        now: Instant,
    ) -> Result<(), Down> {
        self.heard_at = now;
        match packet.map_err(|packet::Malformed| Down::Malformed)? {
            Packet::Publish(Publish { topic, payload, retain, id }) => {
                add(&mut self.counters.messages);
                self.counters.payload_octets =
                    self.counters.payload_octets.saturating_add(payload.len() as u64);
                user.handle_event(Event::Message { topic, payload, retain }, now);
                self.acknowledge(id)?;
            }
            Packet::PubAck { id, code } => {
                let token = self.answered(id, Awaited::PubAck)?;
                let event = self.published(token, code);
                user.handle_event(event, now);
            }
            Packet::SubAck { id, code } => {
                self.answered(id, Awaited::SubAck)?;
                if code.is_failure() {
                    add(&mut self.counters.refused_subscriptions);
                    user.handle_event(Event::SubscriptionRefused(code), now);
                }
            }
            // Without a subscription to end, the broker says so; it is all the same.
            Packet::UnsubAck { id, code: _ } => _ = self.answered(id, Awaited::UnsubAck)?,
            Packet::PingResp => self.ping_due = None,
            Packet::Disconnect { code } => return Err(Down::Disconnected(code)),
            Packet::ConnAck { .. } => return Err(Down::Malformed),
        }
        Ok(())
    }

    /// The beginning of a packet that exceeds the receive buffer. It is acknowledged, or the broker would hold it
    /// against this client's receive maximum for good.
    pub(super) fn handle_oversize(&mut self, first: u8, beginning: &[u8], now: Instant) -> Result<(), Down> {
        self.heard_at = now;
        add(&mut self.counters.oversize);
        if first >> 4 != 3 {
            return Err(Down::Malformed);
        }
        let id = packet::publish_id(first & 0x0F, beginning).map_err(|packet::Malformed| Down::Malformed)?;
        self.acknowledge(id)
    }

    /// Writes what there is to send: acknowledgements first, then what `user` wants. Returns its length, or `None` if
    /// there is nothing; 0 if there may be more at once. Fails if the broker owes an answer for too long.
    pub(super) fn poll_send(
        &mut self,
        user: &mut impl User,
        out: &mut [u8],
        now: Instant,
    ) -> Result<Option<usize>, Down> {
        self.check_time(now)?;
        if user.poll_at().is_some_and(|at| at <= now) {
            user.handle_timeout(now);
        }
        let mut encoder = Encoder::new(out);
        while let Some(id) = self.acknowledgements.front() {
            if encoder.puback(*id).is_err() {
                break;
            }
            self.acknowledgements.pop_front();
        }
        if self.ping_at().is_some_and(|at| at <= now) && encoder.pingreq().is_ok() {
            self.ping_due = Some(now + self.keep_alive);
        }
        let mut is_asked = false;
        // A request is taken from the user into an empty buffer only: there it has to fit, or never will.
        if encoder.len() == 0
            && self.may_request()
            && let Some(request) = user.poll_request(now)
        {
            is_asked = true;
            if let Err(refused) = self.send(&request, &mut encoder, now) {
                user.handle_event(refused, now);
            }
        }
        let length = encoder.len();
        if length > 0 {
            self.sent_at = now;
        }
        Ok((length > 0 || is_asked).then_some(length))
    }

    /// When to call [`Self::poll_send`] again if nothing happens before.
    pub(super) fn poll_at(&self, user: &impl User) -> Instant {
        let due = self.awaited.iter().map(|pending| pending.due);
        let earliest = due.chain(self.ping_due).chain(self.ping_at()).chain(user.poll_at()).min();
        // One of ping_due and ping_at is always there.
        earliest.unwrap_or(self.heard_at + self.keep_alive)
    }

    /// How long the broker may owe anything, room for what is sent to it included.
    pub(super) fn keep_alive(&self) -> Duration {
        self.keep_alive
    }

    /// Whether the user has taken leave.
    pub(super) fn is_over(&self) -> bool {
        self.goodbye
    }

    /// When to ask whether the broker is alive: as soon as one direction was silent for half of the keep-alive.
    fn ping_at(&self) -> Option<Instant> {
        match self.ping_due {
            Some(_) => None,
            None => Some(self.heard_at.min(self.sent_at) + self.keep_alive / 2),
        }
    }

    fn may_request(&self) -> bool {
        let publishes = self.awaited.iter().filter(|pending| pending.what == Awaited::PubAck).count();
        !self.goodbye && !self.awaited.is_full() && publishes < self.limits.receive_maximum.into()
    }

    /// Writes a request and awaits its answer; or says that it cannot be sent.
    fn send(
        &mut self,
        request: &Request<'_>,
        encoder: &mut Encoder<'_>,
        now: Instant,
    ) -> Result<(), Event<'static>> {
        let id = self.next_id();
        let (written, awaited) = match request {
            Request::Subscribe { filter, retained } => {
                (encoder.subscribe(id, filter, *retained), Some((Awaited::SubAck, 0)))
            }
            Request::Unsubscribe { filter } => {
                (encoder.unsubscribe(id, filter), Some((Awaited::UnsubAck, 0)))
            }
            Request::Publish { topic, payload, retain, token } => {
                let id = token.map(|_| id);
                let written = encoder.publish(&Publish { topic, payload, retain: *retain, id });
                (written, token.map(|token| (Awaited::PubAck, token)))
            }
            Request::Disconnect => {
                self.goodbye = true;
                (encoder.disconnect(), None)
            }
        };
        let fits = written.is_ok() && encoder.len() as u64 <= self.limits.max_packet.into();
        if !fits {
            encoder.clear();
            return match awaited {
                Some((Awaited::PubAck, token)) => Err(self.published(token, Code::PACKET_TOO_LARGE)),
                Some((Awaited::SubAck, _)) => {
                    add(&mut self.counters.refused_subscriptions);
                    Err(Event::SubscriptionRefused(Code::PACKET_TOO_LARGE))
                }
                // Of a publish without acknowledgement nobody hears anything. What could not be subscribed to is not
                // subscribed to.
                _ => Ok(()),
            };
        }
        if matches!(request, Request::Publish { .. }) {
            add(&mut self.counters.published);
        }
        if let Some((what, token)) = awaited {
            // There is room: `may_request`.
            let _ = self.awaited.push(Pending { id, what, token, due: now + self.keep_alive });
        }
        Ok(())
    }

    fn next_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.wrapping_add(1).max(1);
            if self.awaited.iter().all(|pending| pending.id != self.last_id) {
                return self.last_id;
            }
        }
    }

    /// The token of the request with this identifier, which is answered herewith.
    fn answered(&mut self, id: u16, what: Awaited) -> Result<u32, Down> {
        let found = self.awaited.iter().position(|pending| pending.id == id && pending.what == what);
        Ok(self.awaited.swap_remove(found.ok_or(Down::Malformed)?).token)
    }

    fn published(&mut self, token: u32, code: Code) -> Event<'static> {
        if code.is_failure() {
            add(&mut self.counters.refused_publishes);
            Event::Refused { token, code }
        } else {
            add(&mut self.counters.acked);
            Event::Acked(token)
        }
    }

    fn acknowledge(&mut self, id: Option<u16>) -> Result<(), Down> {
        match id {
            // Room is made before the next packet is read.
            Some(id) => self.acknowledgements.push_back(id).map_err(|_| Down::Malformed),
            None => Ok(()),
        }
    }

    fn check_time(&self, now: Instant) -> Result<(), Down> {
        if self.ping_due.is_some_and(|due| due <= now) {
            return Err(Down::Late(Awaited::PingResp));
        }
        match self.awaited.iter().find(|pending| pending.due <= now) {
            Some(late) => Err(Down::Late(late.what)),
            None => Ok(()),
        }
    }
}

fn keep_alive_seconds(settings: &Settings<'_>) -> u16 {
    u16::try_from(settings.keep_alive.as_secs()).unwrap_or(u16::MAX).max(1)
}

fn add(count: &mut u32) {
    *count = count.saturating_add(1);
}
