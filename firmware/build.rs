//! Has the image linked by cortex-m-rt's script, with the memory map of the chosen board.

use std::path::PathBuf;
use std::{env, fs};

fn main() {
    let chosen = |(feature, _): &&(&str, &str)| env::var_os(format!("CARGO_FEATURE_{feature}")).is_some();
    // Without a board the compiler says what to do.
    let Some((_, board)) = BOARDS.iter().find(chosen) else { return };
    let map = PathBuf::from("src/board").join(board).join("memory.x");
    println!("cargo::rerun-if-changed={}", map.display());
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_else(|| panic!("cargo sets OUT_DIR")));
    fs::copy(&map, out.join("memory.x")).unwrap_or_else(|error| panic!("{}: {error}", map.display()));
    println!("cargo::rustc-link-search={}", out.display());
    println!("cargo::rustc-link-arg-bins=-Tlink.x");
}

/// Features as cargo spells them in the environment, and the folders of their boards.
const BOARDS: [(&str, &str); 3] =
    [("MPS2", "mps2"), ("STM32H743_NUCLEO", "stm32h743_nucleo"), ("W5500_EVB_PICO2", "w5500_evb_pico2")];
