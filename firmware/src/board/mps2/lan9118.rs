//! Ethernet: the SMSC LAN9118 (datasheet revision 1.5), without DMA: frames go through its FIFOs, word by word. It
//! interrupts when frames came, when there is room to send again, and when the link changes; each interrupt
//! masks itself and wakes the network's task, which looks, and asks for it again.

use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Context;

use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState, RxToken, TxToken};
use embassy_sync::waitqueue::AtomicWaker;
use static_cell::ConstStaticCell;

use super::ETHERNET;
use super::block::Block;

/// The network interface.
pub(crate) struct Lan9118 {
    address: [u8; 6],
    is_link_up: bool,
    incoming: &'static mut [u8; FRAME],
    outgoing: &'static mut [u8; FRAME],
}

/// The chip is not there, or does not come out of its reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Absent;

impl Lan9118 {
    /// Resets the chip and makes it send and receive. Panics if called twice: there is one.
    pub(super) fn start() -> Result<Self, Absent> {
        if CHIP.read(BYTE_TEST) != BYTE_ORDER {
            return Err(Absent);
        }
        CHIP.write(HW_CFG, HW_CFG_RESET);
        happens(|| CHIP.read(HW_CFG) & HW_CFG_RESET == 0)?;
        CHIP.write(HW_CFG, HW_CFG_FIFOS);
        CHIP.write(AFC_CFG, AFC_CFG_THRESHOLDS);
        CHIP.write(FIFO_INT, FIFO_INT_LEVELS);
        CHIP.write(IRQ_CFG, IRQ_CFG_ON);
        CHIP.write(RX_CFG, 0);
        CHIP.write(TX_CFG, TX_CFG_DUMP);
        CHIP.write(TX_CFG, TX_CFG_ON);
        let (low, high) = (mac_read(ADDRL)?.to_le_bytes(), mac_read(ADDRH)?.to_le_bytes());
        phy_write(PHY_MASK, PHY_CHANGES)?;
        phy_write(PHY_CONTROL, PHY_NEGOTIATE)?;
        mac_write(MAC_CR, MAC_CR_ON)?;
        let address = [low[0], low[1], low[2], low[3], high[0], high[1]];
        let (incoming, outgoing) = (INCOMING.take(), OUTGOING.take());
        LINK_CHANGED.store(true, Ordering::Relaxed);
        Ok(Self { address, is_link_up: false, incoming, outgoing })
    }

    /// Takes the next frame that arrived whole out of the FIFO; its length. Broken ones are passed over.
    fn pop(&mut self) -> Option<usize> {
        while CHIP.read(RX_FIFO_INF) >> 16 & 0xFF > 0 {
            let status = CHIP.read(RX_STATUS);
            let length = (status >> 16 & 0x3FFF) as usize;
            for word in 0..length.div_ceil(4) {
                let octets = CHIP.read(RX_DATA).to_le_bytes();
                if let Some(room) = self.incoming.get_mut(4 * word..4 * word + 4) {
                    room.copy_from_slice(&octets);
                }
            }
            if status & RX_STATUS_ERROR == 0 && (CRC..=FRAME).contains(&length) {
                return Some(length - CRC);
            }
        }
        None
    }
}

impl Driver for Lan9118 {
    type RxToken<'a> = Received<'a>;
    type TxToken<'a> = Room<'a>;

    fn receive(&mut self, context: &mut Context<'_>) -> Option<(Received<'_>, Room<'_>)> {
        // What is received may have to be answered.
        if !has_room_or_wakes(context) {
            return None;
        }
        let length = self.pop().or_else(|| {
            wake_on(FRAMES, context);
            // One may have come before the chip was told to tell.
            self.pop()
        })?;
        Some((Received { frame: &mut self.incoming[..length] }, Room { frame: self.outgoing }))
    }

    fn transmit(&mut self, context: &mut Context<'_>) -> Option<Room<'_>> {
        has_room_or_wakes(context).then_some(Room { frame: self.outgoing })
    }

    fn link_state(&mut self, context: &mut Context<'_>) -> LinkState {
        if LINK_CHANGED.swap(false, Ordering::Relaxed) {
            // Reading the source clears it. A link that was down meanwhile reads as down once.
            let status = phy_read(PHY_SOURCE).and(phy_read(PHY_STATUS)).and(phy_read(PHY_STATUS));
            self.is_link_up = status.is_ok_and(|status| status & PHY_STATUS_LINK != 0);
            wake_on(LINK, context);
        }
        if self.is_link_up { LinkState::Up } else { LinkState::Down }
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = LONGEST;
        capabilities.max_burst_size = Some(1);
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet(self.address)
    }
}

/// A frame that was received.
pub(crate) struct Received<'a> {
    frame: &'a mut [u8],
}

impl RxToken for Received<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, read: F) -> R {
        read(self.frame)
    }
}

/// Room for a frame to be sent.
pub(crate) struct Room<'a> {
    frame: &'a mut [u8; FRAME],
}

impl TxToken for Room<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, fill: F) -> R {
        let result = fill(&mut self.frame[..length]);
        CHIP.write(TX_DATA, TX_FIRST_AND_LAST | length as u32);
        CHIP.write(TX_DATA, (length as u32) << 16 | length as u32);
        let (words, _) = self.frame.as_chunks();
        for word in &words[..length.div_ceil(4)] {
            CHIP.write(TX_DATA, u32::from_le_bytes(*word));
        }
        result
    }
}

/// The chip interrupts.
pub(super) fn on_interrupt() {
    let on = CHIP.read(INT_EN);
    let cause = CHIP.read(INT_STS) & on;
    CHIP.write(INT_EN, on & !cause);
    if cause & LINK != 0 {
        LINK_CHANGED.store(true, Ordering::Relaxed);
    }
    WAKER.wake();
}

/// Whether a frame can be sent; if not, the task of `context` is woken when it can.
fn has_room_or_wakes(context: &mut Context<'_>) -> bool {
    if has_room() {
        return true;
    }
    wake_on(ROOM, context);
    // There may have been room before the chip was told to tell.
    has_room()
}

fn has_room() -> bool {
    // What became of earlier frames is of no use to us, but takes room.
    while CHIP.read(TX_FIFO_INF) >> 16 & 0xFF > 0 {
        CHIP.read(TX_STATUS);
    }
    CHIP.read(TX_FIFO_INF) & 0xFFFF >= (FRAME + TX_COMMANDS) as u32
}

/// Wakes the task of `context` at the next of these interrupts.
fn wake_on(interrupts: u32, context: &mut Context<'_>) {
    WAKER.register(context.waker());
    critical_section::with(|_| {
        CHIP.write(INT_STS, interrupts);
        CHIP.write(INT_EN, CHIP.read(INT_EN) | interrupts);
    });
}

fn mac_read(register: u32) -> Result<u32, Absent> {
    CHIP.write(MAC_CSR_CMD, MAC_BUSY | MAC_READ | register);
    happens(|| CHIP.read(MAC_CSR_CMD) & MAC_BUSY == 0)?;
    Ok(CHIP.read(MAC_CSR_DATA))
}

fn mac_write(register: u32, value: u32) -> Result<(), Absent> {
    CHIP.write(MAC_CSR_DATA, value);
    CHIP.write(MAC_CSR_CMD, MAC_BUSY | register);
    happens(|| CHIP.read(MAC_CSR_CMD) & MAC_BUSY == 0)
}

fn phy_read(register: u32) -> Result<u32, Absent> {
    mac_write(MII_ACC, PHY_ADDRESS | register << 6 | MII_BUSY)?;
    happens(|| mac_read(MII_ACC).is_ok_and(|access| access & MII_BUSY == 0))?;
    mac_read(MII_DATA)
}

fn phy_write(register: u32, value: u32) -> Result<(), Absent> {
    mac_write(MII_DATA, value)?;
    mac_write(MII_ACC, PHY_ADDRESS | register << 6 | MII_WRITE | MII_BUSY)?;
    happens(|| mac_read(MII_ACC).is_ok_and(|access| access & MII_BUSY == 0))
}

/// Waits for what a chip that is well does within microseconds.
fn happens(mut condition: impl FnMut() -> bool) -> Result<(), Absent> {
    if (0..LOOKS).any(|_| condition()) { Ok(()) } else { Err(Absent) }
}

static WAKER: AtomicWaker = AtomicWaker::new();
static LINK_CHANGED: AtomicBool = AtomicBool::new(false);
// The chip has room for many frames; here one each way is being looked at.
static INCOMING: ConstStaticCell<[u8; FRAME]> = ConstStaticCell::new([0; FRAME]);
static OUTGOING: ConstStaticCell<[u8; FRAME]> = ConstStaticCell::new([0; FRAME]);

// SAFETY: the chip lies there. It reaches no memory by itself.
const CHIP: Block = unsafe { Block::new(ETHERNET) };

/// The longest frame of Ethernet, without CRC.
const LONGEST: usize = 1_514;
const CRC: usize = 4;
/// Room for the longest frame with its CRC, in whole words.
const FRAME: usize = 1_520;
/// Words ahead of a frame that is sent.
const TX_COMMANDS: usize = 8;
/// Reads of a register: milliseconds.
const LOOKS: usize = 100_000;

const RX_DATA: usize = 0x00;
const TX_DATA: usize = 0x20;
const RX_STATUS: usize = 0x40;
const TX_STATUS: usize = 0x48;
const IRQ_CFG: usize = 0x54;
const INT_STS: usize = 0x58;
const INT_EN: usize = 0x5C;
const BYTE_TEST: usize = 0x64;
const FIFO_INT: usize = 0x68;
const RX_CFG: usize = 0x6C;
const TX_CFG: usize = 0x70;
const HW_CFG: usize = 0x74;
const RX_FIFO_INF: usize = 0x7C;
const TX_FIFO_INF: usize = 0x80;
const MAC_CSR_CMD: usize = 0xA4;
const MAC_CSR_DATA: usize = 0xA8;
const AFC_CFG: usize = 0xAC;

const BYTE_ORDER: u32 = 0x8765_4321;
const HW_CFG_RESET: u32 = 1 << 0;
/// Must-be-one bit, and 5 KiB of the chip's 16 for sending.
const HW_CFG_FIFOS: u32 = 0x0015_0000;
/// Flow control thresholds as the datasheet suggests them.
const AFC_CFG_THRESHOLDS: u32 = 0x006E_3740;
/// Interrupt when a frame is there, and when there is room for 4,608 octets (72 times 64).
const FIFO_INT_LEVELS: u32 = 0x4800_0000;
/// The line on, active high, push-pull.
const IRQ_CFG_ON: u32 = 1 << 8 | 1 << 4 | 1 << 0;
const TX_CFG_DUMP: u32 = 0xC000;
/// Transmitter on; what became of frames may be overwritten unread.
const TX_CFG_ON: u32 = 1 << 2 | 1 << 1;
const RX_STATUS_ERROR: u32 = 1 << 15;
/// First and last segment of a frame; its length follows.
const TX_FIRST_AND_LAST: u32 = 1 << 13 | 1 << 12;

/// Interrupts: frames are there (RSFL) or were lost (RXE).
const FRAMES: u32 = 1 << 3 | 1 << 14;
/// There is room again (TDFA).
const ROOM: u32 = 1 << 9;
/// The PHY has something to tell.
const LINK: u32 = 1 << 18;

const MAC_BUSY: u32 = 1 << 31;
const MAC_READ: u32 = 1 << 30;
const MAC_CR: u32 = 1;
const ADDRH: u32 = 2;
const ADDRL: u32 = 3;
const MII_ACC: u32 = 6;
const MII_DATA: u32 = 7;
/// Full duplex, all multicast (IPv6 finds neighbours by it), transmitter, receiver.
const MAC_CR_ON: u32 = 1 << 20 | 1 << 19 | 1 << 3 | 1 << 2;
const MII_BUSY: u32 = 1 << 0;
const MII_WRITE: u32 = 1 << 1;
/// The PHY inside the chip is number 1.
const PHY_ADDRESS: u32 = 1 << 11;
const PHY_CONTROL: u32 = 0;
const PHY_STATUS: u32 = 1;
const PHY_SOURCE: u32 = 29;
const PHY_MASK: u32 = 30;
/// Negotiate speed and duplex, from the start.
const PHY_NEGOTIATE: u32 = 1 << 12 | 1 << 9;
const PHY_STATUS_LINK: u32 = 1 << 2;
/// Causes for the PHY to interrupt: the link went down; negotiated.
const PHY_CHANGES: u32 = 1 << 4 | 1 << 6;
