//! Topic names: `<root>/z/<zone>/head`, `…/c/<slot>`, `…/s/<bucket>`; at most 7 levels, no dot or wildcard in a level.
//!
//! A zone is one level: its labels in lower case, joined by `,`; octets other than `a`–`z`, `0`–`9`, `-`
//! and `_` become `=XX` (upper-case hexadecimal); the root zone is `=`. Each topic has one spelling: any other
//! is none of ours.

use core::fmt::Write;

use super::BucketId;
use crate::wire::{Name, RelativeName};

/// Longest topic. A zone name can be escaped to three times its length.
pub const MAX_TOPIC: usize = 900;

/// A topic as text.
pub type TopicString = heapless::String<MAX_TOPIC>;

/// What a topic below the root says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Topic {
    Head { zone: Name },
    Change { zone: Name, slot: u32 },
    Bucket { zone: Name, bucket: BucketId },
}

impl Topic {
    /// Reads `topic` below `root` (`root` without trailing slash, may have several levels); `None` if it is none of ours.
    pub fn parse(root: &str, topic: &str) -> Option<Self> {
        let below = topic.strip_prefix(root)?.strip_prefix("/z/")?;
        let (zone, rest) = below.split_once('/')?;
        let zone = zone_from_level(zone)?;
        match rest.split_once('/') {
            None => (rest == "head").then_some(Self::Head { zone }),
            Some(("c", slot)) => Some(Self::Change { zone, slot: decimal(slot)? }),
            Some(("s", bucket)) => Some(Self::Bucket { zone, bucket: BucketId::new(decimal(bucket)?)? }),
            Some(_) => None,
        }
    }

    /// The topic's text below `root`; `None` if over [`MAX_TOPIC`].
    pub fn format(&self, root: &str) -> Option<TopicString> {
        let mut text = TopicString::new();
        match self {
            Self::Head { zone } => {
                write_zone(&mut text, root, zone)?;
                text.push_str("/head").ok()?;
            }
            Self::Change { zone, slot } => {
                write_zone(&mut text, root, zone)?;
                write!(text, "/c/{slot}").ok()?;
            }
            Self::Bucket { zone, bucket } => {
                write_zone(&mut text, root, zone)?;
                write!(text, "/s/{}", bucket.0).ok()?;
            }
        }
        Some(text)
    }

    /// The wildcard filter `<root>/z/<zone>/c/+`.
    pub fn filter_changes(root: &str, zone: &Name) -> Option<TopicString> {
        filter(root, zone, "/c/+")
    }

    /// The wildcard filter `<root>/z/<zone>/s/+`.
    pub fn filter_buckets(root: &str, zone: &Name) -> Option<TopicString> {
        filter(root, zone, "/s/+")
    }

    /// The zone that the topic belongs to.
    pub fn zone(&self) -> &Name {
        match self {
            Self::Head { zone } | Self::Change { zone, .. } | Self::Bucket { zone, .. } => zone,
        }
    }
}

fn filter(root: &str, zone: &Name, end: &str) -> Option<TopicString> {
    let mut text = TopicString::new();
    write_zone(&mut text, root, zone)?;
    text.push_str(end).ok()?;
    Some(text)
}

fn write_zone(text: &mut TopicString, root: &str, zone: &Name) -> Option<()> {
    text.push_str(root).ok()?;
    text.push_str("/z/").ok()?;
    if zone.label_count() == 0 {
        return text.push('=').ok();
    }
    for (index, label) in zone.labels().enumerate() {
        if index > 0 {
            text.push(',').ok()?;
        }
        for octet in label.iter().map(u8::to_ascii_lowercase) {
            if is_plain(octet) {
                text.push(octet.into()).ok()?;
            } else {
                write!(text, "={octet:02X}").ok()?;
            }
        }
    }
    Some(())
}

fn zone_from_level(level: &str) -> Option<Name> {
    if level == "=" {
        return Some(Name::ROOT);
    }
    // Labels in wire form: a length octet stands where the text has the label's start or a comma.
    let mut wire = heapless::Vec::<u8, 254>::new();
    let mut octets = level.bytes();
    let mut length_at = 0;
    wire.push(0).ok()?;
    while let Some(octet) = octets.next() {
        let octet = match octet {
            b',' => {
                length_at = wire.len();
                wire.push(0).ok()?;
                continue;
            }
            b'=' => unescaped(octets.next()?, octets.next()?)?,
            plain if is_plain(plain) => plain,
            _ => return None,
        };
        wire.push(octet).ok()?;
        wire[length_at] = wire[length_at].checked_add(1)?;
    }
    // Refuses empty and overlong labels.
    let labels = RelativeName::from_wire(&wire).ok()?;
    Name::join(labels, &Name::ROOT).ok()
}

/// The octet for two upper-case hexadecimal digits, unless it has a plainer spelling.
fn unescaped(high: u8, low: u8) -> Option<u8> {
    let digit = |octet: u8| match octet {
        b'0'..=b'9' => Some(octet - b'0'),
        b'A'..=b'F' => Some(octet - b'A' + 10),
        _ => None,
    };
    let octet = digit(high)? << 4 | digit(low)?;
    (!is_plain(octet.to_ascii_lowercase())).then_some(octet)
}

fn is_plain(octet: u8) -> bool {
    matches!(octet, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_')
}

/// A number without sign or leading zeros.
fn decimal(text: &str) -> Option<u32> {
    let plain = text.bytes().all(|octet| octet.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}
