//! The log's way out: UART 0, a CMSDK UART (Arm DDI 0479, chapter 4.3), sending only.

use super::block::Block;
use super::{BUS_HZ, UART0};

/// Sends as much of `octets` as the transmitter takes at once; returns how much that was.
pub(super) fn write(octets: &[u8]) -> usize {
    let mut sent = 0;
    for &octet in octets {
        if UART.read(STATE) & STATE_TX_FULL != 0 {
            break;
        }
        UART.write(DATA, octet.into());
        sent += 1;
    }
    sent
}

/// Makes it ready.
pub(super) fn start() {
    UART.write(BAUDDIV, BUS_HZ / BAUD);
    UART.write(CTRL, CTRL_TX_ENABLE);
}

// SAFETY: UART 0 lies there.
const UART: Block = unsafe { Block::new(UART0) };

const BAUD: u32 = 115_200;
const DATA: usize = 0x00;
const STATE: usize = 0x04;
const CTRL: usize = 0x08;
const BAUDDIV: usize = 0x10;
const STATE_TX_FULL: u32 = 1 << 0;
const CTRL_TX_ENABLE: u32 = 1 << 0;
