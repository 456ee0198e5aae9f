//! Signs of life on a connection: when to give one, and when there was none from the other side for too long.

use core::time::Duration;

/// Counts the beats, one every [`Pulse::pause`], in which nothing was heard.
#[derive(Clone, Debug, Default)]
pub struct Pulse {
    before: Option<u64>,
    unanswered: u8,
}

impl Pulse {
    /// How far apart the beats are: the broker hears twice in the time and a half that it grants.
    pub fn pause(keep_alive: Duration) -> Duration {
        keep_alive * 3 / 4
    }

    /// A beat, when so many packets came from the broker in all. True if nothing came for two beats; else the broker is to be
    /// sent something that it answers.
    pub fn is_silent(&mut self, heard: u64) -> bool {
        let is_unanswered = self.before.replace(heard) == Some(heard);
        self.unanswered = if is_unanswered { self.unanswered.saturating_add(1) } else { 0 };
        self.unanswered >= 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_beats_without_a_packet_are_silence() {
        let mut pulse = Pulse::default();
        assert!(!pulse.is_silent(0) && !pulse.is_silent(0), "the first question may be on its way");
        assert!(pulse.is_silent(0));
        let mut pulse = Pulse::default();
        assert!([0, 0, 1, 1, 2].iter().all(|heard| !pulse.is_silent(*heard)));
    }
}
