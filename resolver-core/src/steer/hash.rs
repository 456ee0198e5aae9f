//! Hashes that are the same on every node.

/// Spreads every bit of `word` over all (the finaliser of MurmurHash3).
pub(crate) const fn mix(word: u32) -> u32 {
    let word = (word ^ word >> 16).wrapping_mul(0x85EB_CA6B);
    let word = (word ^ word >> 13).wrapping_mul(0xC2B2_AE35);
    word ^ word >> 16
}
