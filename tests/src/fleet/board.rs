//! A node as the firmware on an emulated board, provisioned as anybody would.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};

use resolver_core::provision::layout::Region;
use sha2::{Digest, Sha256};

use super::NodeBuilder;
use super::node::Machine;
use super::witness::Witness;
use crate::board::{HOST, LAYOUT};
use crate::gdb::Gdb;
use crate::process::Process;
use crate::{Board, wire};

/// A board. It keeps its port and its non-volatile memory over restarts.
pub(super) struct ProvisionedBoard {
    board: Board,
    /// What it was provisioned with.
    config: PathBuf,
    /// The same broker and zones as this machine reaches them.
    status_config: PathBuf,
    /// Attached while the board stands still.
    debugger: Option<Gdb>,
}

impl ProvisionedBoard {
    /// Makes its block, provisions it and boots it.
    #[track_caller]
    pub(super) fn launch(plan: &NodeBuilder) -> Self {
        let [has_no_memory, has_no_broker] = [plan.memory.is_none(), plan.broker_options.is_empty()];
        assert!(has_no_memory && has_no_broker, "an option that a board does not have");
        let write = |name: &str, text: String| {
            let path = plan.scratch.join(format!("node-{}-{name}.toml", plan.number));
            fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            path
        };
        let text = text(plan, HOST);
        let config = write("board", text.clone());
        let status_config = write("status", self::text(plan, &plan.broker.ip().to_string()));
        let board = Board::build_in(&plan.scratch).provisioned(&text).start();
        Self { board, config, status_config, debugger: None }
    }

    /// Reads its non-volatile memory, and writes it back as `edit` leaves it.
    fn edit_storage<R>(&self, edit: impl FnOnce(&mut [u8]) -> R) -> R {
        let path = self.board.storage();
        let told = |error| -> ! { panic!("{}: {error}", path.display()) };
        let mut octets = fs::read(path).unwrap_or_else(|error| told(error));
        let result = edit(&mut octets);
        fs::write(path, octets).unwrap_or_else(|error| told(error));
        result
    }
}

impl Machine for ProvisionedBoard {
    fn address(&self) -> SocketAddr {
        self.board.address()
    }

    fn own_address(&self) -> SocketAddr {
        (wire::BOARD, 53).into()
    }

    fn status_config(&self) -> &Path {
        &self.status_config
    }

    fn witness(&self) -> Witness {
        Witness::Log(self.board.log_file().to_owned())
    }

    fn assert_well(&mut self) {
        self.board.assert_never_reset();
    }

    fn is_ready(&mut self) -> bool {
        self.board.process().assert_running();
        true
    }

    fn start(&mut self) {
        self.board.boot_again();
    }

    fn start_unheard(&mut self) {
        panic!("a board does not know who hears it");
    }

    fn edit_config(&self, from: &str, to: &str) {
        super::edit(&self.config, from, to);
        self.board.provision(&self.config);
    }

    fn edit_kept(&self, edit: &mut dyn FnMut(&mut Vec<u8>)) -> usize {
        self.edit_storage(|storage| {
            let states = &mut storage[range(LAYOUT.state.region())];
            let states = states.chunks_exact_mut(LAYOUT.state.slot as usize);
            let mut used = states.filter(|slot| slot.starts_with(SLOT_MARK)).collect::<Vec<_>>();
            for slot in &mut used {
                // Mark, sequence, length of the image; the image follows the head.
                let length = slot.get(16..20).and_then(|octets| octets.try_into().ok());
                let end = SLOT_HEAD + length.map_or(0, u32::from_be_bytes) as usize;
                let mut octets = slot.get(..end).unwrap_or_else(|| panic!("a slot of {end} octets")).to_vec();
                edit(&mut octets);
                // What is cut off is as erased.
                octets.resize(end, 0xFF);
                slot[..end].copy_from_slice(&octets);
            }
            used.len()
        })
    }

    fn set_starts(&self, starts: Option<u64>) {
        self.edit_storage(|storage| {
            let counters = &mut storage[range(LAYOUT.counters)];
            counters.fill(0xFF);
            if let Some(starts) = starts {
                let mut record = [COUNT_MARK, &starts.to_be_bytes(), &[0; 8]].concat();
                record.extend_from_slice(&Sha256::digest(&record)[..8]);
                counters[..record.len()].copy_from_slice(&record);
            }
        });
    }

    fn suspend(&mut self) {
        self.debugger = Some(self.board.debug());
    }

    fn resume(&mut self) {
        self.debugger.take().unwrap_or_else(|| panic!("it does not stand still")).detach();
    }

    fn log(&self) -> String {
        self.board.log()
    }

    fn process(&mut self) -> &mut Process {
        self.board.process()
    }

    fn metrics(&self) -> Option<SocketAddr> {
        None
    }
}

fn range(region: Region) -> Range<usize> {
    region.offset as usize..region.end() as usize
}

/// Its configuration, where the broker is reached at `host`.
fn text(plan: &NodeBuilder, host: &str) -> String {
    let NodeBuilder { name, options, broker, zones, enrolment, sections, .. } = plan;
    let mut text = format!("name = \"{name}\"\n{options}");
    if let Some(enrolment) = enrolment {
        let _ = write!(text, "region = {:?}\n[enrolment]\n{}", enrolment.region, enrolment.lines());
    }
    let _ = write!(text, "[broker]\nhost = \"{host}\"\nport = {}\n", broker.port());
    for (apex, key) in zones {
        let _ = write!(text, "[[zone]]\nname = {apex:?}\nkeys = [\"{key}\"]\n");
    }
    text + sections
}

// What lies in its storage is described in docs/provisioning.md.
const COUNT_MARK: &[u8] = b"fpcount1";
const SLOT_MARK: &[u8] = b"fpslot01";
const SLOT_HEAD: usize = 256;
