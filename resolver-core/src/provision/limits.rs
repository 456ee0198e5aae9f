//! Bounds of a configuration block: what a reader has to have room for.

use crate::wire::name::MAX_NAME;

/// Longest block, checksum included: two sectors of 4 KiB, the smallest region of any board.
pub const MAX_BLOCK: usize = 8_192;
/// Zones that a board follows; one slot more keeps their states.
pub const MAX_ZONES: usize = 4;
/// Public keys of a zone: the old one and the new one.
pub const MAX_ZONE_KEYS: usize = 2;
/// Services that a board offers.
pub const MAX_SERVICES: usize = 16;
/// Name servers that a board asks.
pub const MAX_NAME_SERVERS: usize = 3;
/// Longest name of a node, region or service: it becomes part of topics and of the MQTT client identifier.
pub const MAX_IDENTIFIER: usize = 40;
/// Longest enrolment certificate: one with 16 regions and 16 services has some 1,500 octets.
pub const MAX_CERTIFICATE: usize = 1_536;
/// Operators whose word a board takes.
pub const MAX_OPERATORS: usize = 4;
/// Regions that a board steers to, its own apart.
pub const MAX_REGIONS: usize = 4;
/// Longest list of them, with commas.
pub const MAX_REGIONS_TEXT: usize = MAX_REGIONS * (MAX_IDENTIFIER + 1) - 1;
/// Octets of an Ed25519 key, secret or public.
pub const KEY_LEN: usize = 32;
/// Longest host name.
pub const MAX_HOST: usize = 253;
/// Longest topic root, so that the longest escaped zone name has room in a topic.
pub const MAX_ROOT: usize = 64;
/// Most levels of a topic root: topics have at most 7, a feed's own part takes 4.
pub const MAX_ROOT_LEVELS: usize = 3;
/// Longest user name and password.
pub const MAX_LOGIN: usize = 64;
/// Longest identity for a pre-shared key.
pub const MAX_PSK_IDENTITY: usize = 64;
/// Longest pre-shared key; more than any cipher suite takes in.
pub const MAX_PSK: usize = 64;
/// Longest X.509 certificate, in DER. One with a P-256 key has 400 to 900 octets.
pub const MAX_X509: usize = 1_536;
/// Longest private key of an X.509 certificate, in DER: one on P-256 has 51 to 121 octets.
pub const MAX_X509_KEY: usize = 256;
/// Smallest and largest bound on feed messages. The largest is what a board has buffers for, by its own bounds.
pub const PAYLOAD_LIMITS: core::ops::RangeInclusive<u32> = 512..=65_536;

/// All fields at their longest.
const LONGEST: usize = super::FRAME
    + 2 * (1 + MAX_IDENTIFIER)
    + (1 + 8)
    + (1 + 2 + MAX_CERTIFICATE + KEY_LEN)
    + (1 + MAX_HOST + 2)
    + (1 + 2 * (1 + MAX_LOGIN))
    + (1 + 2 + MAX_X509 + 1 + 2 + MAX_X509 + 2 + MAX_X509_KEY)
    + (1 + MAX_ROOT)
    + (1 + 5 + 1 + 4)
    + (1 + 17 + 1 + 16)
    + (1 + MAX_NAME_SERVERS * 17)
    + 2
    + 4
    + (1 + MAX_ZONES * (1 + MAX_NAME + 1 + MAX_ZONE_KEYS * KEY_LEN))
    + (1 + MAX_SERVICES * (1 + MAX_IDENTIFIER + 2 + 2 + 4))
    + (1 + MAX_OPERATORS * KEY_LEN)
    + (1 + MAX_REGIONS_TEXT);
const _: () = assert!(LONGEST <= MAX_BLOCK);
