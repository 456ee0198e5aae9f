//! Any octets as RDATA of a steered name or of a map of clients, which what is written back must equal, as its text, and as what happens to a small
//! registry, after which every list is in order and every count is right.
#![no_main]

#[path = "../../tests/steering/program.rs"]
mod program;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| program::run(octets));
