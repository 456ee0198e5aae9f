//! What a receiver believes of one node.
//!
//! Incarnations go up with each connection of a node, so messages that arrive late, twice or again from a broker's
//! store are told apart from news. Authentic messages only; see [`super::message`].

use super::Notice;

/// Whether a node is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing was heard of it.
    Unknown,
    /// It was born, or sent a beacon since.
    Up,
    /// It sleeps: not a failure.
    Asleep,
    /// It is gone.
    Dead,
}

/// What is known of a node: the incarnation, and how it is. The same messages in whatever order end in the same state,
/// apart from births of an incarnation that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presence {
    incarnation: u64,
    state: State,
}

impl Presence {
    /// Before the first message.
    pub const UNKNOWN: Self = Self { incarnation: 0, state: State::Unknown };

    /// What was kept of one.
    pub(crate) fn from_parts(incarnation: u64, state: State) -> Self {
        Self { incarnation, state }
    }

    /// How it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// Its current incarnation; 0 before the first message.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// A notice arrived; false if it changes nothing: a birth that is not of a later incarnation (or the current one's
    /// again while it lasts), an end that is not of the current or a later one.
    pub fn handle_notice(&mut self, notice: &Notice<'_>) -> bool {
        let incarnation = notice.incarnation();
        let (is_new, is_current) = (incarnation > self.incarnation, incarnation == self.incarnation);
        let (state, believed) = match notice {
            Notice::Birth(_) => (State::Up, is_new || is_current && self.state == State::Up),
            Notice::Sleep(_) => (State::Asleep, is_new || is_current && self.state != State::Dead),
            // The Will follows a sleep where the goodbye to the broker was lost: the node still sleeps.
            Notice::Death(_) => (State::Dead, is_new || is_current && self.state != State::Asleep),
        };
        if believed {
            *self = Self { incarnation, state };
        }
        believed
    }

    /// A beacon of `incarnation` arrived; false if that is an earlier one or has ended.
    pub fn handle_beacon(&mut self, incarnation: u64) -> bool {
        if incarnation > self.incarnation {
            // Its birth was missed; that it is there is known.
            *self = Self { incarnation, state: State::Up };
        }
        incarnation == self.incarnation && self.state == State::Up
    }

    /// The certificate that it came with was revoked: it counts as dead until a birth with another one is of a later
    /// incarnation. The caller refuses whatever the revoked certificate's key signs.
    pub fn handle_revocation(&mut self) {
        self.state = State::Dead;
    }
}

impl Default for Presence {
    fn default() -> Self {
        Self::UNKNOWN
    }
}
