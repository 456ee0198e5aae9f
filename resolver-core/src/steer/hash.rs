//! Which client gets which endpoint: hashes and logarithms in integers, the same on every node.
//!
//! Weighted rendezvous hashing (Thaler and Ravishankar 1998; Schindelhauer and Schomaker 2005): an endpoint of weight w
//! scores w / -log2(u) with a client, u being a hash of both between 0 and 1; the highest score comes first. So each
//! endpoint is first for its share of the clients, and when one comes or goes only its own clients move. Scores
//! are compared by their logarithm, log2(w) - log2(-log2(u)), which needs no division.

use core::net::IpAddr;

/// Spreads every bit of `word` over all (the finaliser of MurmurHash3).
pub(crate) const fn mix(word: u32) -> u32 {
    let word = (word ^ word >> 16).wrapping_mul(0x85EB_CA6B);
    let word = (word ^ word >> 13).wrapping_mul(0xC2B2_AE35);
    word ^ word >> 16
}

/// The prefix by which a client is told from others: networks of fewer addresses are rarely reached in different ways.
pub(crate) const PREFIX_V4: u8 = 24;
/// Likewise (RFC 7871 section 11.1 and BCP 157).
pub(crate) const PREFIX_V6: u8 = 56;

/// A hash of the first `prefix` bits of an address.
pub(crate) fn client(address: IpAddr, prefix: u8) -> u32 {
    match address {
        IpAddr::V4(four) => {
            let kept = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
            mix(u32::from(four) & kept ^ 0x4000_0004)
        }
        IpAddr::V6(six) => {
            let kept = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
            let [a, b, c, d] = words(u128::from(six) & kept);
            mix(d ^ mix(c ^ mix(b ^ mix(a ^ 0x6000_0006))))
        }
    }
}

fn words(number: u128) -> [u32; 4] {
    [(number >> 96) as u32, (number >> 64) as u32, (number >> 32) as u32, number as u32]
}

/// What a client and an endpoint have together. The upper bits are the better ones.
#[inline]
pub(crate) fn together(client: u32, identity: u32) -> u32 {
    // Both are mixed already, so less does.
    let word = (client ^ identity).wrapping_mul(0x9E37_79B1);
    (word ^ word >> 15).wrapping_mul(0x85EB_CA77)
}

/// log2 of a weight in parts, with [`WEIGHT_FRACTION`] fractional bits. During a slow start it has fewer of them.
pub(crate) fn log_weight(weight: u32, ramp: u8) -> u16 {
    // A weight of 0 is one part: the least there is (RFC 2782).
    let parts = weight.min(MOST_WEIGHT) * PARTS * u32::from(ramp);
    // Parts are at most 2^28 with a full ramp.
    (log2(parts) >> (FRACTION - WEIGHT_FRACTION)) as u16
}

/// Weights and capacities beyond do not count: 2^20.
const MOST_WEIGHT: u32 = 1 << 20;
/// Parts of a weight of 1 for each step of a slow start.
const PARTS: u32 = 16;
/// Fractional bits of the logarithm of a weight: a tenth of a per cent.
const WEIGHT_FRACTION: u32 = 11;

/// The score of an endpoint of weight 1 for a hash: grows with it.
#[inline]
pub(crate) fn score(hash: u32) -> u32 {
    // -log2 of a number below 1; the hash is at least 1, so it is over 0 and at most 32.
    let exponent = (32 << FRACTION) - log2(hash | 1);
    (32 << FRACTION) - log2(exponent)
}

/// What a weight adds to the score: at most 31, so that the sum is below 64.
#[inline]
pub(crate) fn bonus(log_weight: u16) -> u32 {
    u32::from(log_weight) << (FRACTION - WEIGHT_FRACTION)
}

/// log2 of `number`, of 1 for 0, with [`FRACTION`] fractional bits; to within 0.0002.
#[inline]
pub(crate) fn log2(number: u32) -> u32 {
    let number = number.max(1);
    let zeros = number.leading_zeros();
    // Without the leading one.
    let rest = number << zeros << 1;
    let index = (rest >> 27) as usize;
    let (low, high) = (TABLE[index], TABLE[index + 1]);
    // 16 of the 27 bits below the index are enough; the product has at most 28.
    let between = (u32::from(high - low) * (rest >> 11 & 0xFFFF)) >> 8;
    ((31 - zeros) << FRACTION) + (u32::from(low) << 8) + between
}

/// Fractional bits of logarithms.
pub(crate) const FRACTION: u32 = 24;

/// log2(1 + i/32) × 65,536; the last one is a little too small, to fit.
const TABLE: [u16; 33] = [
    0, 2909, 5732, 8473, 11136, 13727, 16248, 18704, 21098, 23433, 25711, 27936, 30109, 32234, 34312, 36346,
    38336, 40286, 42196, 44068, 45904, 47705, 49472, 51207, 52911, 54584, 56229, 57845, 59434, 60997, 62534,
    64047, 65535,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_are_close_and_never_fall() {
        let mut last = 0;
        for step in 0..1_000_000_u64 {
            let number = (1 + step * 4_294) as u32;
            let (ours, exact) = (log2(number), f64::from(number).log2());
            assert!((f64::from(ours) / f64::from(1 << FRACTION) - exact).abs() < 0.0003, "{number}");
            assert!(ours >= last, "{number}");
            last = ours;
        }
        assert_eq!((log2(0), log2(1), log2(2), log2(1 << 31)), (0, 0, 1 << FRACTION, 31 << FRACTION));
        assert!(log2(u32::MAX) < 32 << FRACTION);
    }

    #[test]
    fn shares_follow_weights_and_few_clients_move() {
        let weights = [1_u32, 1, 2, 4, 8, 16];
        let identities: std::vec::Vec<u32> = (0..6).map(|n| mix(n * 7 + 1)).collect();
        let first = |client: u32, count: usize| {
            (0..count)
                .max_by_key(|&at| {
                    score(together(client, identities[at])) + bonus(log_weight(weights[at], 16))
                })
                .unwrap_or(0)
        };
        let (mut got, mut moved) = ([0_u32; 6], 0);
        const CLIENTS: u32 = 200_000;
        for number in 0..CLIENTS {
            let client = client(IpAddr::V4((number << 8).into()), PREFIX_V4);
            let all = first(client, 6);
            got[all] += 1;
            let without_last = first(client, 5);
            assert!(all == 5 || all == without_last, "only the clients of what went away move");
            moved += u32::from(all != without_last);
        }
        for (got, weight) in got.into_iter().zip(weights) {
            let expected = f64::from(CLIENTS) * f64::from(weight) / 32.0;
            assert!((f64::from(got) / expected - 1.0).abs() < 0.04, "weight {weight}: {got} of {expected}");
        }
        assert_eq!(moved, got[5]);
    }

    #[test]
    fn clients_of_one_prefix_are_one() {
        let hash = |text: &str, prefix| client(text.parse().unwrap_or(IpAddr::V4(0.into())), prefix);
        assert_eq!(hash("192.0.2.1", PREFIX_V4), hash("192.0.2.255", PREFIX_V4));
        assert_ne!(hash("192.0.2.1", PREFIX_V4), hash("192.0.3.1", PREFIX_V4));
        assert_eq!(hash("2001:db8:0:ab00::1", PREFIX_V6), hash("2001:db8:0:abff::2", PREFIX_V6));
        assert_ne!(hash("2001:db8:0:ab00::1", PREFIX_V6), hash("2001:db8:0:ac00::1", PREFIX_V6));
        assert_eq!(hash("::1", 0), hash("ffff::", 0));
    }
}
