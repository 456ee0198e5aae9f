//! The receive buffer: octets go in as they arrive, packets come out where they lie.
//!
//! The buffer's length is the largest packet that is taken, and what the broker is told as such. A larger one is
//! reported with its beginning, and the rest of it is dropped as it arrives.

use super::packet::{self, Malformed};

/// Received octets, in a lent buffer.
#[derive(Debug)]
pub(super) struct Inbox<'b> {
    buffer: &'b mut [u8],
    /// Received and not yet read: `buffer[start..end]`.
    start: usize,
    end: usize,
    /// Octets yet to come of a packet that is too large.
    skip: usize,
}

/// What is there.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<'a> {
    /// No whole packet: receive more.
    More,
    /// A packet: its first octet, and what follows its fixed header.
    Packet { first: u8, body: &'a [u8] },
    /// The beginning of a packet that exceeds the buffer.
    Oversize { first: u8, beginning: &'a [u8] },
}

impl<'b> Inbox<'b> {
    pub(super) fn new(buffer: &'b mut [u8]) -> Self {
        Self { buffer, start: 0, end: 0, skip: 0 }
    }

    /// Octets of the largest packet that is taken.
    pub(super) fn capacity(&self) -> usize {
        self.buffer.len()
    }

    /// The next packet. The octets are taken from the buffer with the next call of [`Self::space`].
    pub(super) fn next(&mut self) -> Result<Next<'_>, Malformed> {
        let there = &self.buffer[self.start..self.end];
        let Some((length, header)) = packet::length(there)? else { return Ok(Next::More) };
        let first = there[0];
        if length <= there.len() {
            let body = self.start + header..self.start + length;
            self.start += length;
            return Ok(Next::Packet { first, body: &self.buffer[body] });
        }
        if length <= self.buffer.len() || there.len() < self.buffer.len() {
            return Ok(Next::More);
        }
        self.skip = length - there.len();
        (self.start, self.end) = (0, 0);
        Ok(Next::Oversize { first, beginning: &self.buffer[header..] })
    }

    /// Where to put what arrives next; never empty after [`Next::More`].
    pub(super) fn space(&mut self) -> &mut [u8] {
        // Moves the beginning of a packet at most: whole ones are gone.
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        &mut self.buffer[self.end..]
    }

    /// So many octets were put at the beginning of [`Self::space`]; more than that are not believed.
    pub(super) fn handle_received(&mut self, count: usize) {
        let count = count.min(self.buffer.len() - self.end);
        self.end += count;
        // While there is something to skip, nothing else is in the buffer.
        let skipped = self.skip.min(count);
        self.skip -= skipped;
        self.start += skipped;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::vec::Vec;

    use super::*;

    /// Feeds `octets` in pieces of `piece`, and collects what comes out: packets' bodies, or `None` if too large.
    fn drain(octets: &[u8], capacity: usize, piece: usize) -> Vec<Option<Vec<u8>>> {
        let mut buffer = std::vec![0; capacity];
        let mut inbox = Inbox::new(&mut buffer);
        let mut found = Vec::new();
        let mut rest = octets;
        loop {
            match inbox.next().unwrap() {
                Next::Packet { body, .. } => found.push(Some(body.to_vec())),
                Next::Oversize { .. } => found.push(None),
                Next::More if rest.is_empty() => return found,
                Next::More => {
                    let space = inbox.space();
                    let count = piece.min(space.len()).min(rest.len());
                    assert!(count > 0);
                    space[..count].copy_from_slice(&rest[..count]);
                    rest = &rest[count..];
                    inbox.handle_received(count);
                }
            }
        }
    }

    #[test]
    fn packets_come_out_however_they_are_cut_and_large_ones_are_passed_over() {
        let mut octets = Vec::new();
        let mut expected = Vec::new();
        for length in [0, 3, 18, 19, 100, 127, 1, 18, 40, 0] {
            octets.extend([0x30, length]);
            octets.extend((0..length).map(|octet| octet ^ 0x5A));
            expected.push((length <= 18).then(|| (0..length).map(|octet| octet ^ 0x5A).collect()));
        }
        for piece in 1..60 {
            assert_eq!(drain(&octets, 20, piece), expected, "in pieces of {piece}");
        }
    }
}
