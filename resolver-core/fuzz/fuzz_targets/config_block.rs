//! Any octets as the body of a configuration block (head and checksum are added, or nothing would ever be read): reading
//! never panics, and what was read has this one encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use resolver_core::provision::Block;
use resolver_core::provision::limits::MAX_BLOCK;
use sha2::{Digest as _, Sha256};

fuzz_target!(|input: &[u8]| {
    let mut octets = b"fpconfig\0\x01".to_vec();
    octets.extend_from_slice(&(input.len() as u32).to_be_bytes());
    octets.extend_from_slice(input);
    let checksum = Sha256::digest(&octets);
    octets.extend_from_slice(&checksum);
    // As it is, too, without what was added.
    let _ = Block::read(input);
    let Ok(block) = Block::read(&octets) else { return };
    assert_eq!(Block::len_of(&octets), Ok(octets.len()));
    let mut again = [0; MAX_BLOCK];
    assert_eq!(block.write(&mut again), Ok(octets.len()));
    assert_eq!(again[..octets.len()], octets);
});
