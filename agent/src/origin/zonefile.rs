//! Zone files (RFC 1035 section 5; unknown types per RFC 3597): from text to RRsets, or to an error that says where.
//!
//! Owns reading, `$INCLUDE`, grouping into RRsets, and what makes a zone a zone (RFC 1034 section 4.2.1, RFC 2181). Leaves
//! to [`super::diff`] what a new version changes. Nothing of a file with an error is used.

use std::cmp::Ordering;
use std::fmt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use domain::base::iana::Class;
use domain::base::name::ToName;
use domain::base::rdata::ComposeRecordData;
use domain::zonefile::inplace::{Entry, ScannedRecord, Zonefile};
use resolver_core::wire::{Name, RelativeName, Rtype};

use super::publisher::{ChangeBuf, lower};

/// A zone as its file gives it.
#[derive(Clone, Debug)]
pub struct ZoneFile {
    /// Every RRset, ordered by owner (lower-case wire form) and type.
    pub rrsets: Vec<ChangeBuf>,
    /// What was put right, for the log.
    pub warnings: Vec<String>,
    /// It cannot be a zone of its own: SOA or NS records are missing. Never to be taken over unless forced.
    pub incomplete: Option<ZoneFileError>,
}

/// A zone file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneFileError {
    /// The file, which may be an included one.
    pub file: PathBuf,
    /// The line, where one is at fault.
    pub line: Option<usize>,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub remedy: &'static str,
}

impl fmt::Display for ZoneFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        write!(f, ": {}\n  remedy: {}", self.what, self.remedy)
    }
}

impl std::error::Error for ZoneFileError {}

/// Reads the file of the zone `apex`. What comes may be [`ZoneFile::incomplete`].
pub fn load(apex: &Name, path: &Path) -> Result<ZoneFile, ZoneFileError> {
    let mut reader = Reader::new(apex);
    reader.read(path)?;
    reader.finish(path)
}

/// Reads a zone from text; `path` is for errors and for what `$INCLUDE` is relative to.
pub fn parse(apex: &Name, text: &[u8], path: &Path) -> Result<ZoneFile, ZoneFileError> {
    let mut reader = Reader::new(apex);
    reader.read_text(text.to_vec(), path.into(), None)?;
    reader.finish(path)
}

/// One record, with where it came from.
struct Record {
    /// Relative to the zone, case as written.
    owner: Box<[u8]>,
    rtype: Rtype,
    ttl: u32,
    rdata: Box<[u8]>,
    file: u32,
    /// Where the entry before it ended in the file's text.
    offset: u32,
}

struct Reader<'z> {
    apex: &'z Name,
    records: Vec<Record>,
    /// Files read, with their text, so that an offset becomes a line only when there is something to say.
    files: Vec<(PathBuf, Vec<u8>)>,
}

/// A file being read.
struct Open {
    zonefile: Zonefile,
    file: u32,
}

impl<'z> Reader<'z> {
    fn new(apex: &'z Name) -> Self {
        Self { apex, records: Vec::new(), files: Vec::new() }
    }

    fn read(&mut self, path: &Path) -> Result<(), ZoneFileError> {
        let text = read_file(path)?;
        self.read_text(text, path.into(), None)
    }

    fn read_text(
        &mut self,
        text: Vec<u8>,
        path: PathBuf,
        origin: Option<domain::base::Name<Bytes>>,
    ) -> Result<(), ZoneFileError> {
        let mut open = vec![self.open(text, path, origin)?];
        while let Some(current) = open.last_mut() {
            let (file, offset) = (current.file, current.zonefile.current_offset() as u32);
            match current.zonefile.next_entry() {
                Ok(None) => drop(open.pop()),
                Ok(Some(Entry::Record(record))) => self.take(&record, file, offset)?,
                Ok(Some(Entry::Include { path, origin })) => {
                    let origin = origin.or_else(|| current.zonefile.origin().ok());
                    let depth = open.len();
                    let (parent, _) = &self.files[file as usize];
                    let path = parent.parent().unwrap_or(Path::new(".")).join(&*path);
                    if depth >= MAX_INCLUDES {
                        return Err(self.error(
                            file,
                            offset,
                            "too many files that include each other",
                            REMEDY_INCLUDE,
                        ));
                    }
                    let text = read_file(&path).map_err(|error| {
                        self.error(
                            file,
                            offset,
                            &format!("$INCLUDE {}: {}", path.display(), error.what),
                            REMEDY_INCLUDE,
                        )
                    })?;
                    open.push(self.open(text, path, origin)?);
                }
                Err(error) => {
                    // The reader's own text begins with line and column.
                    let text = error.to_string();
                    let mut parts = text.splitn(3, ':');
                    let line = parts.next().and_then(|line| line.parse().ok());
                    let what = parts.nth(1).unwrap_or(&text).trim().to_owned();
                    let file = self.files[file as usize].0.clone();
                    return Err(ZoneFileError { file, line, what, remedy: REMEDY_SYNTAX });
                }
            }
        }
        Ok(())
    }

    fn open(
        &mut self,
        text: Vec<u8>,
        path: PathBuf,
        origin: Option<domain::base::Name<Bytes>>,
    ) -> Result<Open, ZoneFileError> {
        if u32::try_from(text.len()).is_err() {
            let what = "over 4 GiB".into();
            return Err(ZoneFileError { file: path, line: None, what, remedy: "split it with $INCLUDE" });
        }
        let mut zonefile = Zonefile::from(&text[..]);
        if text.last().is_some_and(|&last| last != b'\n') {
            zonefile.extend_from_slice(b"\n");
        }
        let apex = domain::base::Name::from_octets(Bytes::copy_from_slice(self.apex.as_wire()));
        if let Some(origin) = origin.or(apex.ok()) {
            zonefile.set_origin(origin);
        }
        zonefile.set_default_class(Class::IN);
        self.files.push((path, text));
        Ok(Open { zonefile, file: self.files.len() as u32 - 1 })
    }

    fn take(&mut self, record: &ScannedRecord, file: u32, offset: u32) -> Result<(), ZoneFileError> {
        let mut owner = Vec::with_capacity(64);
        let mut rdata = Vec::with_capacity(64);
        // Writing to a Vec cannot fail.
        let _ = record.owner().compose(&mut owner);
        let _ = record.data().compose_rdata(&mut rdata);
        let rtype = Rtype(record.rtype().to_int());
        let name = Name::from_wire(&owner)
            .map_err(|error| self.error(file, offset, &error.to_string(), REMEDY_SYNTAX))?;
        let Some(owner) = name.relative_to(self.apex) else {
            let what = format!("{name} is outside the zone {}", self.apex);
            return Err(self.error(
                file,
                offset,
                &what,
                "remove the record, or put it into its own zone's file",
            ));
        };
        let ttl = record.ttl().as_secs();
        if ttl > i32::MAX as u32 {
            let what = format!("a TTL of {ttl} seconds (RFC 2181 allows 2147483647)");
            return Err(self.error(file, offset, &what, "give a smaller TTL"));
        }
        let (owner, rdata) = (owner.as_wire().into(), rdata.into());
        self.records.push(Record { owner, rtype, ttl, rdata, file, offset });
        Ok(())
    }

    /// Groups the records into RRsets and checks the zone as a whole.
    fn finish(mut self, path: &Path) -> Result<ZoneFile, ZoneFileError> {
        let mut records = std::mem::take(&mut self.records);
        records.sort_by(order);
        let mut rrsets = Vec::with_capacity(records.len());
        let mut warnings = Vec::new();
        for owner in records.chunk_by(|a, b| a.owner.eq_ignore_ascii_case(&b.owner)) {
            self.check_owner(owner)?;
            for group in owner.chunk_by(|a, b| a.rtype == b.rtype) {
                rrsets.push(self.rrset(group, &mut warnings)?);
            }
        }
        let missing = |rtype: &Rtype| {
            !rrsets.iter().any(|rrset: &ChangeBuf| rrset.owner().is_apex() && rrset.rtype() == *rtype)
        };
        let incomplete = [Rtype::SOA, Rtype::NS].into_iter().find(missing).map(|rtype| ZoneFileError {
            file: path.into(),
            line: None,
            what: format!("{} has no {rtype} record", self.apex),
            remedy: "give the zone's own name an SOA and an NS record; a file emptied by accident is not taken over",
        });
        Ok(ZoneFile { rrsets, warnings, incomplete })
    }

    fn rrset(&self, group: &[Record], warnings: &mut Vec<String>) -> Result<ChangeBuf, ZoneFileError> {
        let first = &group[0];
        let shown = || self.describe(first);
        let ttl = group.iter().map(|record| record.ttl).min().unwrap_or(first.ttl);
        // Signatures at one owner rightly have as many TTLs as there are RRsets (RFC 4034 section 3).
        if first.rtype != Rtype::RRSIG
            && let Some(other) = group.iter().find(|record| record.ttl != ttl)
        {
            let at = self.error(other.file, other.offset, "", "");
            warnings.push(format!(
                "{}, line {}: {} has several TTLs; the least, {ttl}, is taken for all (RFC 2181 section 5.2)",
                at.file.display(),
                at.line.unwrap_or(0),
                shown(),
            ));
        }
        let rdatas = group.iter().map(|record| &*record.rdata).collect();
        let owner = RelativeName::from_wire(&first.owner).unwrap_or(RelativeName::APEX);
        ChangeBuf::rrset(owner, first.rtype, ttl, rdatas).ok_or_else(|| {
            let what = format!("{} has malformed data, or over 65,535 octets", shown());
            self.error(first.file, first.offset, &what, REMEDY_SYNTAX)
        })
    }

    fn check_owner(&self, records: &[Record]) -> Result<(), ZoneFileError> {
        let alias = records.iter().find(|record| record.rtype == Rtype::CNAME);
        let beside = |record: &&Record| record.rtype != Rtype::CNAME && !may_stand_beside_cname(record.rtype);
        if let (Some(_), Some(other)) = (alias, records.iter().find(beside)) {
            let what = format!("{} beside a CNAME record of the same name", self.describe(other));
            return Err(self.error(
                other.file,
                other.offset,
                &what,
                "keep the CNAME record or the others (RFC 2181 section 10.1)",
            ));
        }
        for rtype in [Rtype::CNAME, Rtype::DNAME, Rtype::SOA] {
            let mut several = records.iter().filter(|record| record.rtype == rtype);
            if let (Some(first), Some(second)) = (several.next(), several.next())
                && first.rdata != second.rdata
            {
                let what = format!("a second {}", self.describe(second));
                return Err(self.error(second.file, second.offset, &what, "keep one of them"));
            }
        }
        let misplaced = |record: &&Record| record.rtype == Rtype::SOA && !record.owner.is_empty();
        if let Some(soa) = records.iter().find(misplaced) {
            let what = format!("{} below the zone's own name", self.describe(soa));
            return Err(self.error(
                soa.file,
                soa.offset,
                &what,
                "an SOA record belongs to the zone's own name",
            ));
        }
        Ok(())
    }

    fn describe(&self, record: &Record) -> String {
        let owner = RelativeName::from_wire(&record.owner).unwrap_or(RelativeName::APEX);
        super::publisher::describe(owner, record.rtype, self.apex)
    }

    fn error(&self, file: u32, offset: u32, what: &str, remedy: &'static str) -> ZoneFileError {
        let (path, text) = &self.files[file as usize];
        ZoneFileError {
            file: path.clone(),
            line: Some(line_after(text, offset as usize)),
            what: what.into(),
            remedy,
        }
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, ZoneFileError> {
    std::fs::read(path).map_err(|error| ZoneFileError {
        file: path.into(),
        line: None,
        what: error.to_string(),
        remedy: "give the name of a readable zone file",
    })
}

/// By owner in lower-case wire form, type, RDATA.
fn order(a: &Record, b: &Record) -> Ordering {
    let folded = |owner: &[u8]| -> Option<Box<[u8]>> {
        owner.iter().any(u8::is_ascii_uppercase).then(|| lower(owner))
    };
    let owners = match (folded(&a.owner), folded(&b.owner)) {
        (None, None) => a.owner.cmp(&b.owner),
        (x, y) => x.as_ref().unwrap_or(&a.owner).cmp(y.as_ref().unwrap_or(&b.owner)),
    };
    owners.then_with(|| a.rtype.cmp(&b.rtype)).then_with(|| a.rdata.cmp(&b.rdata))
}

/// Types that may share an owner with a CNAME record (RFC 4034 sections 2.5 and 4.1, RFC 2535 section 2.3.5).
pub(super) fn may_stand_beside_cname(rtype: Rtype) -> bool {
    const KEY: Rtype = Rtype(25);
    matches!(rtype, Rtype::RRSIG | Rtype::NSEC | KEY)
}

/// The line (from 1) of the first entry after `offset`: blank lines, comments and directives are skipped.
fn line_after(text: &[u8], offset: usize) -> usize {
    let (before, rest) = text.split_at(offset.min(text.len()));
    // An entry ends with its line feed, or just before it.
    let rest_of_line = if before.is_empty() || before.ends_with(b"\n") { 0 } else { line_end(rest) };
    let mut line = 1 + before.iter().chain(&rest[..rest_of_line]).filter(|&&octet| octet == b'\n').count();
    for candidate in rest[rest_of_line..].split(|&octet| octet == b'\n') {
        match candidate.trim_ascii_start().first() {
            None | Some(b';' | b'$') => line += 1,
            Some(_) => break,
        }
    }
    line
}

fn line_end(rest: &[u8]) -> usize {
    rest.iter().position(|&octet| octet == b'\n').map_or(rest.len(), |at| at + 1)
}

const REMEDY_SYNTAX: &str =
    "correct the line; types that are not known by name can be written as in RFC 3597";
const REMEDY_INCLUDE: &str = "correct the $INCLUDE; its path is relative to the file that it stands in";
/// Files open at once: enough for every sane layout, and it ends loops.
const MAX_INCLUDES: usize = 8;
