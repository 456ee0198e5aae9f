//! Seeds of an emulated board: not entropy.

use embassy_time::Instant;

use crate::board::Entropy;

/// The board has no source of randomness, so this is a stand-in for tests and must never serve in production: each
/// boot gives numbers that anybody can guess. Builds for boards that are not emulated cannot
/// contain it: `board` refuses to compile without the feature `qemu`.
pub(crate) struct InsecureEntropy {
    state: u64,
}

impl InsecureEntropy {
    pub(super) fn new() -> Self {
        Self { state: 0x9E37_79B9_7F4A_7C15 ^ Instant::now().as_ticks() }
    }
}

impl Entropy for InsecureEntropy {
    fn fill(&mut self, octets: &mut [u8]) {
        for octet in octets {
            // xorshift64; the time that passed meanwhile is all that nobody chose.
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            self.state = self.state.wrapping_add(Instant::now().as_ticks()).max(1);
            *octet = (self.state >> 32) as u8;
        }
    }
}
