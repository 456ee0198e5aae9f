//! Non-volatile memory: the second bank of flash, written while the program runs on from the first. Erasing a sector takes
//! up to 2 s, and this driver waits for it in a loop: no task runs meanwhile.

use cortex_m::peripheral::SCB;
use embassy_stm32::flash::{Blocking, Error, Flash, MAX_ERASE_SIZE, WRITE_SIZE};
use embassy_stm32::{Peri, pac, peripherals};
use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};

use super::LAYOUT;
use crate::board::{Mapped, WHOLE, is_writable, mapped};

/// The board's non-volatile memory. The driver below checks bounds and alignment.
pub(crate) struct Storage {
    flash: Flash<'static, Blocking>,
}

impl Storage {
    pub(super) fn new(flash: Peri<'static, peripherals::FLASH>) -> Self {
        Self { flash: Flash::new_blocking(flash) }
    }
}

impl Mapped for Storage {
    fn mapped(&self) -> &[u8] {
        // SAFETY: writing takes `&mut self`.
        unsafe { mapped(WHOLE) }
    }
}

impl ErrorType for Storage {
    type Error = Error;
}

impl ReadNorFlash for Storage {
    const READ_SIZE: usize = 1;

    /// A word that a power cut left half written has a wrong error-correcting code, and reading it is a bus fault. Such
    /// faults are ignored here, and found by the bank's flag (reference manual RM0433, section 4.7).
    fn read(&mut self, offset: u32, octets: &mut [u8]) -> Result<(), Error> {
        let bank = pac::FLASH.bank(1);
        bank.ccr().write(|flags| flags.set_clr_dbeccerr(true));
        ignoring_bus_faults(|| self.flash.blocking_read(START + offset, octets))?;
        if bank.sr().read().dbeccerr() {
            bank.ccr().write(|flags| flags.set_clr_dbeccerr(true));
            return Err(Error::Prog);
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        LAYOUT.capacity as usize
    }
}

impl NorFlash for Storage {
    const WRITE_SIZE: usize = WRITE_SIZE;
    const ERASE_SIZE: usize = MAX_ERASE_SIZE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Error> {
        if !is_writable(from) {
            return Err(Error::Protected);
        }
        self.flash.blocking_erase(START + from, START + to)
    }

    fn write(&mut self, offset: u32, octets: &[u8]) -> Result<(), Error> {
        if !is_writable(offset) {
            return Err(Error::Protected);
        }
        self.flash.blocking_write(START + offset, octets)
    }
}

/// Runs `read` with no interrupt but NMI, and with precise bus faults of data accesses taken for nothing (Armv7-M
/// architecture manual, section B3.2.8, CCR.BFHFNMIGN, which works at the priority that FAULTMASK gives).
fn ignoring_bus_faults<R>(read: impl FnOnce() -> R) -> R {
    const IGNORE: u32 = 1 << 8;
    critical_section::with(|_| {
        // SAFETY: the register is there on each Cortex-M7, and nobody else changes it meanwhile: interrupts are off. The
        // bit and the mask are taken back below; `read` neither panics nor waits.
        unsafe {
            let control = &(*SCB::PTR).ccr;
            control.modify(|bits| bits | IGNORE);
            core::arch::asm!("cpsid f", "dsb", "isb");
            let result = read();
            core::arch::asm!("dsb", "cpsie f", "isb");
            control.modify(|bits| bits & !IGNORE);
            result
        }
    })
}

/// Where the second bank begins in the flash.
const START: u32 = LAYOUT.address - 0x0800_0000;

// Both come from the chip's description.
const _: () = assert!(MAX_ERASE_SIZE == LAYOUT.sector as usize);
