//! Puts the memory map of the chosen board where the linker looks for it.

use std::path::PathBuf;
use std::{env, fs};

fn main() {
    let board = if env::var_os("CARGO_FEATURE_MPS2").is_some() { "mps2" } else { return };
    let map = PathBuf::from("src/board").join(board).join("memory.x");
    println!("cargo::rerun-if-changed={}", map.display());
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_else(|| panic!("cargo sets OUT_DIR")));
    fs::copy(&map, out.join("memory.x")).unwrap_or_else(|error| panic!("{}: {error}", map.display()));
    println!("cargo::rustc-link-search={}", out.display());
}
