//! Seeds of an emulated board: not entropy.

use embassy_time::Instant;

use crate::board::Entropy;

/// The board has no source of randomness, so this is a stand-in for tests and must never serve in production: each
/// boot gives numbers that anybody can guess. Builds for boards that are not emulated cannot
/// contain it: `board` refuses to compile without the feature `qemu`.
pub(crate) struct InsecureEntropy {
    state: u64,
    /// The seed was given from outside: time is left out of it, so that two runs draw the same numbers.
    is_given: bool,
}

impl InsecureEntropy {
    pub(super) fn new() -> Self {
        match given() {
            0 => Self { state: 0x9E37_79B9_7F4A_7C15 ^ Instant::now().as_ticks(), is_given: false },
            seed => Self { state: seed.into(), is_given: true },
        }
    }
}

impl Entropy for InsecureEntropy {
    fn fill(&mut self, octets: &mut [u8]) {
        for octet in octets {
            // xorshift64; the time that passed meanwhile is all that nobody chose.
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            let time = if self.is_given { 0 } else { Instant::now().as_ticks() };
            self.state = self.state.wrapping_add(time).max(1);
            *octet = (self.state >> 32) as u8;
        }
    }
}

/// What QEMU was told to put there (`-device loader,addr=0x3ffffc,data=SEED,data-len=4`); 0 if it was not.
fn given() -> u32 {
    // SAFETY: the last word of the 4 MiB that stand for flash, which are RAM that nobody writes; the address is aligned.
    unsafe { core::ptr::with_exposed_provenance::<u32>(SEED).read_volatile() }
}

const SEED: usize = 0x003F_FFFC;
