//! Verified messages that wait for their turn: change-sets ahead of a missing one, and what the view
//! has not taken yet.
//!
//! The lent octets are cut into pieces of the payload limit, one message each. One piece is never given
//! to a message ahead of its turn, so that the next one always finds room, however many zones wait.

use crate::feed::message::Kind;

/// What a piece holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// Index of the zone.
    pub(super) zone: u16,
    pub(super) kind: Kind,
    /// Serial of a change-set, number of a bucket.
    pub(super) number: u64,
}

/// The pieces.
pub(super) struct Window<'m> {
    octets: &'m mut [u8],
    piece: usize,
    /// What each piece holds, with the message's length.
    held: [Option<(Held, usize)>; MAX_PIECES],
    pieces: usize,
    free: usize,
}

/// More would only make the search longer: a round trip to the broker brings this many change-sets.
const MAX_PIECES: usize = 64;

impl<'m> Window<'m> {
    pub(super) fn new(octets: &'m mut [u8], piece: usize) -> Self {
        let pieces = octets.len().checked_div(piece).unwrap_or(0).min(MAX_PIECES);
        Self { octets, piece, held: [None; MAX_PIECES], pieces, free: pieces }
    }

    pub(super) fn pieces(&self) -> usize {
        self.pieces
    }

    /// So many change-sets from the next one on can be had at once.
    pub(super) fn reach(&self) -> u64 {
        self.pieces.saturating_sub(1).max(1) as u64
    }

    /// Keeps the next message in order. False if there is no room.
    pub(super) fn hold(&mut self, held: Held, message: &[u8]) -> bool {
        let Some(at) = self.held[..self.pieces].iter().position(Option::is_none) else { return false };
        let Some(room) = self.octets.get_mut(at * self.piece..at * self.piece + message.len()) else {
            return false;
        };
        room.copy_from_slice(message);
        self.held[at] = Some((held, message.len()));
        self.free -= 1;
        true
    }

    /// Keeps a message ahead of its turn. False if there is no room.
    pub(super) fn hold_ahead(&mut self, held: Held, message: &[u8]) -> bool {
        self.free > 1 && self.hold(held, message)
    }

    pub(super) fn find(&self, zone: usize, kind: Kind, number: u64) -> Option<usize> {
        let wanted = Held { zone: zone as u16, kind, number };
        self.held.iter().position(|held| held.is_some_and(|(held, _)| held == wanted))
    }

    /// Any message of that kind.
    pub(super) fn find_kind(&self, zone: usize, kind: Kind) -> Option<usize> {
        let is_wanted = |held: &Held| usize::from(held.zone) == zone && held.kind == kind;
        self.held.iter().position(|held| held.as_ref().is_some_and(|(held, _)| is_wanted(held)))
    }

    /// The message in a piece, and what it is; empty if it holds none.
    pub(super) fn message(&self, at: usize) -> (Option<Held>, &[u8]) {
        match self.held[at] {
            Some((held, length)) => (Some(held), &self.octets[at * self.piece..][..length]),
            None => (None, &[]),
        }
    }

    pub(super) fn release(&mut self, at: usize) {
        if self.held[at].take().is_some() {
            self.free += 1;
        }
    }

    /// Drops all that is held for a zone.
    pub(super) fn release_zone(&mut self, zone: usize) {
        self.release_where(|held| usize::from(held.zone) == zone);
    }

    /// Drops change-sets before `serial`.
    pub(super) fn release_before(&mut self, zone: usize, serial: u64) {
        self.release_where(|held| {
            usize::from(held.zone) == zone && held.kind == Kind::ChangeSet && held.number < serial
        });
    }

    fn release_where(&mut self, is_done: impl Fn(&Held) -> bool) {
        for at in 0..self.pieces {
            if self.held[at].as_ref().is_some_and(|(held, _)| is_done(held)) {
                self.release(at);
            }
        }
    }
}
