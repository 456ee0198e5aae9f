//! What nodes, regions and services are called, and text that is safe to show.

use core::fmt;

use crate::wire::Malformed;

/// Longest name of a node, region or service: it is a level of topics and part of MQTT client identifiers.
pub const MAX_IDENTIFIER: usize = 40;

/// The name of a node, region or service: 1 to 40 of `a`–`z`, `A`–`Z`, `0`–`9`, `-` and `_`. Case counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identifier<'a>(&'a str);

impl<'a> Identifier<'a> {
    /// `None` if `text` is no identifier.
    pub fn new(text: &'a str) -> Option<Self> {
        let plain = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_');
        ((1..=MAX_IDENTIFIER).contains(&text.len()) && text.bytes().all(plain)).then_some(Self(text))
    }

    /// Its text.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    pub(crate) fn from_octets(octets: &'a [u8]) -> Result<Self, Malformed> {
        core::str::from_utf8(octets).ok().and_then(Self::new).ok_or(Malformed)
    }
}

impl fmt::Display for Identifier<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

impl fmt::Debug for Identifier<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0, f)
    }
}

/// `text` as messages may carry it: cut to `N` octets, every octet that is not printable ASCII as `?`. For what others
/// wrote, such as a panic's message.
pub fn printable<const N: usize>(text: &str) -> heapless::String<N> {
    let mut cut = heapless::String::new();
    for character in text.chars() {
        let shown = if matches!(character, ' '..='~') { character } else { '?' };
        if cut.push(shown).is_err() {
            break;
        }
    }
    cut
}

/// Printable ASCII, at most `most` octets of it: shown to people as it is, so it must not steer a terminal.
pub(super) fn text_from_octets(octets: &[u8], most: usize) -> Result<&str, Malformed> {
    let is_printable = octets.iter().all(|octet| matches!(octet, b' '..=b'~'));
    let text = core::str::from_utf8(octets).ok().filter(|_| is_printable && octets.len() <= most);
    text.ok_or(Malformed)
}
