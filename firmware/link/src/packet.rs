//! MQTT 5 packets (OASIS MQTT 5.0, sections 2 and 3): those that this client sends, and those that it may receive.
//!
//! Owns octets; leaves to the session what to send and what an answer means. Reading looks at each octet of a
//! packet a constant number of times, copies nothing and never panics.

use core::ops::Range;

/// Octets of the longest fixed header: type and flags, and a length of four octets.
pub(super) const MAX_HEADER: usize = 5;

/// A packet that arrived, as it lies in the receive buffer.
#[derive(Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Packet<'a> {
    ConnAck { code: Code, limits: Limits },
    Publish(Publish<'a>),
    PubAck { id: u16, code: Code },
    SubAck { id: u16, code: Code },
    UnsubAck { id: u16, code: Code },
    PingResp,
    Disconnect { code: Code },
}

/// A PUBLISH (section 3.3).
#[derive(Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Its topic; never empty, since this client allows no topic aliases.
    pub topic: &'a str,
    /// Empty where a retained message was cleared.
    pub payload: &'a [u8],
    /// From the retained store, in answer to a subscription.
    pub retain: bool,
    /// To be acknowledged with this identifier (QoS 1).
    pub id: Option<u16>,
}

/// A reason code (section 2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub u8);

impl Code {
    /// Success.
    pub const SUCCESS: Self = Self(0);
    /// Over a limit: the broker's, or that of the send buffer.
    pub const PACKET_TOO_LARGE: Self = Self(0x95);
    /// As much as the broker lets one client have.
    pub const QUOTA_EXCEEDED: Self = Self(0x97);
    /// The broker keeps no messages.
    pub const RETAIN_NOT_SUPPORTED: Self = Self(0x9A);
    /// Not even QoS 1.
    pub const QOS_NOT_SUPPORTED: Self = Self(0x9B);
    /// Subscriptions to one topic each.
    pub const WILDCARDS_NOT_SUPPORTED: Self = Self(0xA2);

    /// From 0x80 on.
    pub const fn is_failure(self) -> bool {
        self.0 >= 0x80
    }

    /// The name in the standard, of the codes that a broker sends for a reason which somebody can mend.
    const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0x00 => "normal",
            0x80 => "unspecified error",
            0x81 => "malformed packet",
            0x82 => "protocol error",
            0x83 => "implementation specific error",
            0x84 => "unsupported protocol version",
            0x85 => "client identifier not valid",
            0x86 => "bad user name or password",
            0x87 => "not authorized",
            0x88 => "server unavailable",
            0x89 => "server busy",
            0x8A => "banned",
            0x8B => "server shutting down",
            0x8D => "keep alive timeout",
            0x8E => "session taken over by another client of this identifier",
            0x8F => "topic filter invalid",
            0x90 => "topic name invalid",
            0x91 => "packet identifier in use",
            0x93 => "receive maximum exceeded",
            0x95 => "packet too large",
            0x96 => "message rate too high",
            0x97 => "quota exceeded",
            0x98 => "administrative action",
            0x99 => "payload format invalid",
            0x9A => "retain not supported",
            0x9B => "QoS not supported",
            0x9C => "use another server",
            0x9D => "server moved",
            0x9F => "connection rate exceeded",
            0xA2 => "wildcard subscriptions not supported",
            _ => return None,
        })
    }
}

impl core::fmt::Display for Code {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "reason code {:#04x}", self.0),
        }
    }
}

/// What a broker allows, told in its CONNACK (section 3.2.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Publishes with QoS 1 that may wait for their PUBACK; at least 1.
    pub receive_maximum: u16,
    /// Octets of the largest packet that it takes.
    pub max_packet: u32,
    /// What a node needs and the broker has not.
    pub lacks: Option<Code>,
    /// Overrides the client's keep-alive, in seconds.
    pub keep_alive: Option<u16>,
}

impl Limits {
    /// Where a CONNACK tells nothing.
    pub const NONE: Self =
        Self { receive_maximum: u16::MAX, max_packet: u32::MAX, lacks: None, keep_alive: None };

    /// The broker has `available`, 0 for nothing, of what it would refuse with `code`.
    fn needs(&mut self, available: u8, code: Code) {
        if available == 0 {
            self.lacks = Some(code);
        }
    }
}

/// A packet that is not what the standard says; the connection has to end (section 4.13.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// The length of the packet that begins `octets`, fixed header included, and how much of it is fixed header; `None` if
/// more octets are needed to tell.
pub fn length(octets: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    let mut length = 0_usize;
    for (index, octet) in octets.iter().skip(1).take(4).enumerate() {
        length |= usize::from(octet & 0x7F) << (7 * index);
        if octet & 0x80 == 0 {
            return Ok(Some((2 + index + length, 2 + index)));
        }
    }
    if octets.len() < MAX_HEADER { Ok(None) } else { Err(Malformed) }
}

/// Reads a packet: its first octet, and all that follows its fixed header.
pub fn parse(first: u8, body: &[u8]) -> Result<Packet<'_>, Malformed> {
    let mut body = Reader(body);
    let packet = match (first >> 4, first & 0x0F) {
        (CONNACK, 0) => {
            body.u8()?; // whether a session is present: it never is, with clean start
            let code = Code(body.u8()?);
            Packet::ConnAck { code, limits: body.properties()?.limits()? }
        }
        (PUBLISH, flags) => return publish(flags, body).map(Packet::Publish),
        (PUBACK, 0) => {
            let (id, code) = body.acknowledgement()?;
            return Ok(Packet::PubAck { id, code });
        }
        (SUBACK, 0) => {
            let (id, code) = body.subscription_answer()?;
            Packet::SubAck { id, code }
        }
        (UNSUBACK, 0) => {
            let (id, code) = body.subscription_answer()?;
            Packet::UnsubAck { id, code }
        }
        (PINGRESP, 0) => Packet::PingResp,
        // A code of success may be left out.
        (DISCONNECT, 0) => return Ok(Packet::Disconnect { code: Code(body.u8().unwrap_or(0)) }),
        _ => return Err(Malformed),
    };
    if body.0.is_empty() { Ok(packet) } else { Err(Malformed) }
}

fn publish<'a>(flags: u8, mut body: Reader<'a>) -> Result<Publish<'a>, Malformed> {
    let (topic, id) = body.publish_header(flags)?;
    body.properties()?;
    Ok(Publish { topic, payload: body.0, retain: flags & 1 != 0, id })
}

/// The packet identifier of a PUBLISH of which only the beginning is there; `Ok(None)` where it has none.
pub(super) fn publish_id(flags: u8, beginning: &[u8]) -> Result<Option<u16>, Malformed> {
    Reader(beginning).publish_header(flags).map(|(_, id)| id)
}

/// Octets not yet read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.0.split_first().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*first)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_be_bytes([self.u8()?, self.u8()?]))
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from(self.u16()?) << 16 | u32::from(self.u16()?))
    }

    fn varint(&mut self) -> Result<usize, Malformed> {
        let mut value = 0;
        for shift in [0, 7, 14, 21] {
            let octet = self.u8()?;
            value |= usize::from(octet & 0x7F) << shift;
            if octet & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    /// Octets with a length of 16 bits before them.
    fn binary(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.u16()?;
        self.take(length.into())
    }

    fn properties(&mut self) -> Result<Self, Malformed> {
        let length = self.varint()?;
        self.take(length).map(Self)
    }

    fn publish_header(&mut self, flags: u8) -> Result<(&'a str, Option<u16>), Malformed> {
        let topic = core::str::from_utf8(self.binary()?).map_err(|_| Malformed)?;
        if topic.is_empty() {
            return Err(Malformed);
        }
        match flags >> 1 & 3 {
            0 => Ok((topic, None)),
            // QoS 2 was subscribed to nowhere.
            1 => match self.u16()? {
                0 => Err(Malformed),
                id => Ok((topic, Some(id))),
            },
            _ => Err(Malformed),
        }
    }

    /// What PUBACK is made of: reason and properties may be left out.
    fn acknowledgement(&mut self) -> Result<(u16, Code), Malformed> {
        Ok((self.u16()?, Code(self.u8().unwrap_or(0))))
    }

    /// What SUBACK and UNSUBACK are made of, for the one filter that each request of ours has.
    fn subscription_answer(&mut self) -> Result<(u16, Code), Malformed> {
        let id = self.u16()?;
        self.properties()?;
        Ok((id, Code(self.u8()?)))
    }

    /// Of a CONNACK's properties those that bind this client. One that is twice there counts as it stands last.
    fn limits(mut self) -> Result<Limits, Malformed> {
        let mut limits = Limits::NONE;
        while let Ok(property) = self.u8() {
            match property {
                0x13 => limits.keep_alive = Some(self.u16()?),
                0x21 => limits.receive_maximum = self.u16()?,
                0x24 => limits.needs(self.u8()?, Code::QOS_NOT_SUPPORTED),
                0x25 => limits.needs(self.u8()?, Code::RETAIN_NOT_SUPPORTED),
                0x27 => limits.max_packet = self.u32()?,
                0x28 => limits.needs(self.u8()?, Code::WILDCARDS_NOT_SUPPORTED),
                // Octets: payload format, information wanted, identifiers, shared subscriptions.
                0x01 | 0x17 | 0x19 | 0x29 | 0x2A => _ = self.u8()?,
                0x22 | 0x23 => _ = self.u16()?,
                0x02 | 0x11 | 0x18 => _ = self.u32()?,
                // Text and octets: client identifier, authentication, response information, server reference, reason.
                0x03 | 0x08 | 0x09 | 0x12 | 0x15 | 0x16 | 0x1A | 0x1C | 0x1F => _ = self.binary()?,
                0x26 => {
                    self.binary()?;
                    self.binary()?;
                }
                _ => return Err(Malformed),
            }
        }
        if limits.receive_maximum == 0 || limits.max_packet == 0 { Err(Malformed) } else { Ok(limits) }
    }
}

/// A message that the broker publishes when the connection ends without a DISCONNECT (section 3.1.2.5); retained, QoS 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Will<'a> {
    /// Where.
    pub topic: &'a str,
    /// What.
    pub payload: &'a [u8],
}

/// Who connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Login<'a> {
    /// User name.
    pub user: &'a str,
    /// Password.
    pub password: &'a [u8],
}

/// What a CONNECT tells. Clean start, and a session that ends with the connection, are not a choice.
#[derive(Debug)]
pub(super) struct Connect<'a> {
    pub(super) client_id: &'a str,
    pub(super) keep_alive: u16,
    pub(super) receive_maximum: u16,
    pub(super) max_packet: u32,
    pub(super) will: Option<Will<'a>>,
    pub(super) login: Option<Login<'a>>,
}

/// The packet does not fit the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overflow;

/// Writes packets one after the other into a lent buffer.
#[derive(Debug)]
pub(super) struct Encoder<'b> {
    buffer: &'b mut [u8],
    /// Where the next packet begins.
    start: usize,
    at: usize,
    overflow: bool,
}

impl<'b> Encoder<'b> {
    pub(super) fn new(buffer: &'b mut [u8]) -> Self {
        Self { buffer, start: 0, at: 0, overflow: false }
    }

    /// Octets of whole packets.
    pub(super) fn len(&self) -> usize {
        self.start
    }

    /// Forgets all packets.
    pub(super) fn clear(&mut self) {
        self.start = 0;
    }

    pub(super) fn connect(&mut self, connect: &Connect<'_>) -> Result<(), Overflow> {
        let Connect { client_id, keep_alive, receive_maximum, max_packet, will, login } = connect;
        let will_flags = if will.is_some() { 0x2C } else { 0 }; // Will, QoS 1, retained
        let login_flags = if login.is_some() { 0xC0 } else { 0 };
        self.begin();
        self.binary(b"MQTT");
        self.octets(&[5, 0x02 | will_flags | login_flags]); // version; clean start
        self.u16(*keep_alive);
        self.octets(&[8, 0x21]);
        self.u16(*receive_maximum);
        self.octets(&[0x27]);
        self.octets(&max_packet.to_be_bytes());
        self.binary(client_id.as_bytes());
        if let Some(will) = will {
            self.octets(&[0]); // no properties: sent at once
            self.binary(will.topic.as_bytes());
            self.binary(will.payload);
        }
        if let Some(login) = login {
            self.binary(login.user.as_bytes());
            self.binary(login.password);
        }
        self.finish(0x10)
    }

    /// With QoS 1.
    pub(super) fn subscribe(
        &mut self,
        id: u16,
        filter: &str,
        handling: RetainHandling,
    ) -> Result<(), Overflow> {
        self.begin();
        self.u16(id);
        self.octets(&[0]);
        self.binary(filter.as_bytes());
        self.octets(&[1 | (handling as u8) << 4]);
        self.finish(0x82)
    }

    pub(super) fn unsubscribe(&mut self, id: u16, filter: &str) -> Result<(), Overflow> {
        self.begin();
        self.u16(id);
        self.octets(&[0]);
        self.binary(filter.as_bytes());
        self.finish(0xA2)
    }

    pub(super) fn publish(&mut self, message: &Publish<'_>) -> Result<(), Overflow> {
        self.begin();
        self.binary(message.topic.as_bytes());
        let qos = match message.id {
            Some(id) => {
                self.u16(id);
                1
            }
            None => 0,
        };
        self.octets(&[0]);
        self.octets(message.payload);
        self.finish(0x30 | qos << 1 | u8::from(message.retain))
    }

    pub(super) fn puback(&mut self, id: u16) -> Result<(), Overflow> {
        self.begin();
        self.u16(id);
        self.finish(0x40)
    }

    pub(super) fn pingreq(&mut self) -> Result<(), Overflow> {
        self.begin();
        self.finish(0xC0)
    }

    pub(super) fn disconnect(&mut self) -> Result<(), Overflow> {
        self.begin();
        self.finish(0xE0)
    }

    /// Leaves room for the longest fixed header.
    fn begin(&mut self) {
        self.at = self.start + MAX_HEADER;
        self.overflow = self.at > self.buffer.len();
    }

    fn octets(&mut self, octets: &[u8]) {
        let place: Range<usize> = self.at..self.at + octets.len();
        match self.buffer.get_mut(place) {
            Some(place) if !self.overflow => {
                place.copy_from_slice(octets);
                self.at += octets.len();
            }
            _ => self.overflow = true,
        }
    }

    fn u16(&mut self, value: u16) {
        self.octets(&value.to_be_bytes());
    }

    fn binary(&mut self, octets: &[u8]) {
        match u16::try_from(octets.len()) {
            Ok(length) => {
                self.u16(length);
                self.octets(octets);
            }
            Err(_) => self.overflow = true,
        }
    }

    /// Puts the fixed header before what was written, and that behind it: a length has to be in its shortest form.
    fn finish(&mut self, first: u8) -> Result<(), Overflow> {
        if self.overflow {
            return Err(Overflow);
        }
        let body = self.start + MAX_HEADER..self.at;
        let mut length = body.len();
        let mut place = self.start + 1;
        self.buffer[self.start] = first;
        loop {
            let more = if length > 0x7F { 0x80 } else { 0 };
            self.buffer[place] = (length & 0x7F) as u8 | more;
            place += 1;
            length >>= 7;
            if length == 0 {
                break;
            }
        }
        self.start = place + body.len();
        self.buffer.copy_within(body, place);
        Ok(())
    }
}

/// Whether a SUBSCRIBE brings what is retained (section 3.8.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetainHandling {
    /// Yes, even if subscribed already.
    Deliver = 0,
    /// Only live messages.
    Skip = 2,
}

const CONNACK: u8 = 2;
const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;
const SUBACK: u8 = 9;
const UNSUBACK: u8 = 11;
const PINGRESP: u8 = 13;
const DISCONNECT: u8 = 14;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn whole(octets: &[u8]) -> (u8, &[u8]) {
        let (length, header) = length(octets).unwrap().unwrap();
        assert_eq!(length, octets.len());
        (octets[0], &octets[header..])
    }

    #[test]
    fn a_publish_reads_as_it_was_written() {
        let mut buffer = [0; 600];
        for (length, id) in [(0, None), (1, Some(1)), (114, Some(7)), (120, None), (500, Some(u16::MAX))] {
            let payload = std::vec![0xA5; length];
            let message = Publish { topic: "f/z/example", payload: &payload, retain: length == 1, id };
            let mut encoder = Encoder::new(&mut buffer);
            encoder.publish(&message).unwrap();
            let written = encoder.len();
            let (first, body) = whole(&buffer[..written]);
            assert_eq!(parse(first, body), Ok(Packet::Publish(message)));
        }
    }

    #[test]
    fn packets_stand_one_after_the_other_and_one_that_does_not_fit_leaves_the_others() {
        let mut buffer = [0; 12];
        let mut encoder = Encoder::new(&mut buffer);
        encoder.puback(0x0102).unwrap();
        assert_eq!(encoder.subscribe(1, "far too long", RetainHandling::Skip), Err(Overflow));
        encoder.pingreq().unwrap();
        let written = encoder.len();
        assert_eq!(buffer[..written], [0x40, 2, 1, 2, 0xC0, 0]);
    }

    #[test]
    fn a_connect_is_as_the_standard_says() {
        let mut buffer = [0; 100];
        let mut encoder = Encoder::new(&mut buffer);
        let connect = Connect {
            client_id: "n",
            keep_alive: 10,
            receive_maximum: 16,
            max_packet: 5_000,
            will: Some(Will { topic: "w", payload: b"x" }),
            login: Some(Login { user: "u", password: b"p" }),
        };
        encoder.connect(&connect).unwrap();
        let written = encoder.len();
        let expected = [
            &[0x10, 35, 0, 4][..],
            b"MQTT",
            &[5, 0xEE, 0, 10, 8, 0x21, 0, 16, 0x27, 0, 0, 0x13, 0x88],
            &[0, 1, b'n', 0, 0, 1, b'w', 0, 1, b'x', 0, 1, b'u', 0, 1, b'p'],
        ];
        assert_eq!(buffer[..written], expected.concat());
    }

    #[test]
    fn limits_of_a_connack_are_read_among_other_properties() {
        let body = [
            0, 0, 22, 0x21, 0, 10, 0x22, 0, 5, 0x12, 0, 2, b'a', b'b', 0x13, 0, 30, 0x27, 0, 0, 1, 0, 0x25,
            1, 0x24, 1,
        ];
        let length = body.len() as u8 - 3;
        let mut body = body;
        body[2] = length;
        let limits = Limits { receive_maximum: 10, max_packet: 256, lacks: None, keep_alive: Some(30) };
        assert_eq!(parse(0x20, &body), Ok(Packet::ConnAck { code: Code::SUCCESS, limits }));
        for (property, code) in [
            (0x24, Code::QOS_NOT_SUPPORTED),
            (0x25, Code::RETAIN_NOT_SUPPORTED),
            (0x28, Code::WILDCARDS_NOT_SUPPORTED),
        ] {
            let limits = Limits { lacks: Some(code), ..Limits::NONE };
            let connack = [0, 0, 2, property, 0];
            assert_eq!(parse(0x20, &connack), Ok(Packet::ConnAck { code: Code::SUCCESS, limits }));
        }
        // Zero in flight or zero octets would forbid everything: protocol errors.
        assert_eq!(parse(0x20, &[0, 0, 3, 0x21, 0, 0]), Err(Malformed));
    }

    #[test]
    fn lengths_have_at_most_four_octets() {
        assert_eq!(length(&[0x30]), Ok(None));
        assert_eq!(length(&[0x30, 0x80, 0x80, 0x80]), Ok(None));
        assert_eq!(length(&[0x30, 0xFF, 0xFF, 0xFF, 0x7F]), Ok(Some((268_435_455 + 5, 5))));
        assert_eq!(length(&[0x30, 0x80, 0x80, 0x80, 0x80]), Err(Malformed));
    }

    #[test]
    fn what_was_never_asked_for_is_refused() {
        for (first, body) in [
            (0x34, &[0, 1, b'a', 0, 1, 0][..]), // QoS 2
            (0x30, &[0, 0, 0]),                 // a topic alias
            (0x32, &[0, 1, b'a', 0, 0, 0]),     // identifier 0
            (0x30, &[0, 2, 0xC3, 0x28, 0]),     // no UTF-8
            (0x30, &[0, 1, b'a', 5, 0]),        // properties cut short
            (0x10, &[]),                        // CONNECT from a broker
            (0xF0, &[]),                        // AUTH
            (0xD0, &[0]),                       // more than there should be
        ] {
            assert_eq!(parse(first, body), Err(Malformed), "{first:#x} {body:?}");
        }
    }
}
