//! Any octets as a program of changes, stagings and removals on a small store beside plain maps, which must agree.
#![no_main]

#[path = "../../tests/records/ops.rs"]
mod ops;

libfuzzer_sys::fuzz_target!(|program: &[u8]| ops::run(program));
