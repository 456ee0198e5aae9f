//! Signed requests with their answers, so that one which comes again after a restart is still known.

use redb::ReadableTable;
use resolver_core::wire::Rcode;

use super::{ANSWERS, Batch, Journal, JournalError};

/// What a repetition of a signed request is answered, for as long as its signature is not too old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The last second (Unix time) in which its signature is accepted.
    pub until: u64,
    /// The first octets of its MAC.
    pub mac: [u8; MAC_LEN],
    /// Response code.
    pub rcode: Rcode,
}

/// Enough of a MAC to know a request by.
pub const MAC_LEN: usize = 16;
const KEY_LEN: usize = 8 + MAC_LEN;

impl Answer {
    fn key(&self) -> [u8; KEY_LEN] {
        let mut key = [0; KEY_LEN];
        key[..8].copy_from_slice(&self.until.to_be_bytes());
        key[8..].copy_from_slice(&self.mac);
        key
    }

    fn read(key: &[u8], value: &[u8]) -> Option<Self> {
        let (until, mac) = key.split_first_chunk()?;
        Some(Self {
            until: u64::from_be_bytes(*until),
            mac: mac.try_into().ok()?,
            rcode: Rcode(u16::from_be_bytes(value.try_into().ok()?)),
        })
    }
}

impl Journal {
    /// All answers kept, those whose signatures age first in front.
    pub fn answers(&self) -> Result<Vec<Answer>, JournalError> {
        let table = self.read()?.open_table(ANSWERS).map_err(|error| self.disk(error))?;
        let mut answers = Vec::new();
        for entry in table.iter().map_err(|error| self.disk(error))? {
            let (key, value) = entry.map_err(|error| self.disk(error))?;
            let answer = Answer::read(key.value(), value.value());
            answers.push(answer.ok_or_else(|| self.damaged("an answer"))?);
        }
        Ok(answers)
    }
}

impl Batch<'_> {
    /// Keeps these answers, and drops those whose signatures are too old at `unix`, and then the oldest over `most`.
    /// Bounded by what it keeps and drops.
    pub fn keep_answers(
        &self,
        answers: impl Iterator<Item = Answer>,
        unix: u64,
        most: usize,
    ) -> Result<(), JournalError> {
        let mut table = self.open(ANSWERS)?;
        let disk = |error| self.journal.disk(error);
        for answer in answers {
            table.insert(&answer.key()[..], &answer.rcode.0.to_be_bytes()[..]).map_err(disk)?;
        }
        let aged = unix.to_be_bytes();
        table.retain_in::<&[u8], _>(..&aged[..], |_, _| false).map_err(disk)?;
        while redb::ReadableTableMetadata::len(&table).map_err(disk)? > most as u64 {
            table.pop_first().map_err(disk)?;
        }
        Ok(())
    }
}
