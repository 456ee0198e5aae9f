//! What a board does and no board is needed for: portable, and tested on the machine that builds it.
#![no_std]

#[cfg(test)]
extern crate std;

pub mod follow;
pub mod link;
pub mod node;
