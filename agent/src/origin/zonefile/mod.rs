//! Zone files (RFC 1035 section 5; unknown types per RFC 3597): from text to RRsets, or to an error that says where.
//!
//! Owns reading, directives, grouping into RRsets, and what makes a zone a zone (RFC 1034 section 4.2.1, RFC 2181). Leaves
//! to [`super::diff`] what a new version changes. Nothing of a file with an error is used.
//!
//! A file is looked at entry by entry (`entries`, `rewrite`). Runs of entries go to the reader of the crate `domain` as
//! they are; what it does not know is first written in words that it does.

use std::fmt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use domain::base::iana::Class;
use domain::base::name::ToName;
use domain::base::rdata::ComposeRecordData;
use domain::zonefile::inplace::{Entry, ScannedRecord, Zonefile};
use resolver_core::wire::{Name, Rtype};

use super::publisher::ChangeBuf;

mod checks;
mod directives;
mod entries;
mod fields;
mod generate;
mod read;
mod rewrite;
mod special;
mod steered;
#[cfg(test)]
mod tests;

pub(super) use checks::may_stand_beside_cname;
pub use read::Sources;
use rewrite::{Before, Way};

/// What relative names are relative to.
type Origin = domain::base::Name<Bytes>;

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

/// Reads the file of the zone `apex`, and what it includes. What comes may be [`ZoneFile::incomplete`]. Waits for the file
/// system, and at most a moment for who writes to a file.
pub fn load(apex: &Name, path: &Path) -> Result<ZoneFile, ZoneFileError> {
    load_watched(apex, path).0
}

/// As [`load`], and tells which files were read, so that they can be watched; of a zone with an error, too.
pub fn load_watched(apex: &Name, path: &Path) -> (Result<ZoneFile, ZoneFileError>, Sources) {
    let mut reader = Reader::new(apex);
    let zone = reader.read(path).and_then(|()| reader.finish(path));
    (zone, reader.sources)
}

/// Reads a zone from text; `path` is for errors and for what `$INCLUDE` is relative to.
pub fn parse(apex: &Name, text: &[u8], path: &Path) -> Result<ZoneFile, ZoneFileError> {
    let mut reader = Reader::new(apex);
    reader.read_text(text.to_vec(), path.into())?;
    reader.finish(path)
}

/// What is wrong with an entry; whoever read it knows where it is.
#[derive(Debug)]
struct Fault {
    what: String,
    remedy: &'static str,
}

impl Fault {
    fn syntax(what: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: REMEDY_SYNTAX }
    }

    fn include(path: &Path, what: impl fmt::Display) -> Self {
        Self { what: format!("$INCLUDE {}: {what}", path.display()), remedy: REMEDY_INCLUDE }
    }

    fn generate(what: impl fmt::Display) -> Self {
        let remedy = "write `$GENERATE start-stop[/step] owner [TTL] [class] type data`, with `$` or `${offset,width,base}`";
        Self { what: format!("$GENERATE: {what}"), remedy }
    }

    fn no_ttl() -> Self {
        Self {
            what: "a record without a TTL, and none before it".into(),
            remedy: "begin the file with `$TTL 3600`",
        }
    }
}

/// Where an entry starts: a file by its number, an offset in its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    file: u32,
    offset: u32,
}

/// One record, with where it came from.
struct Record {
    /// Relative to the zone, case as written.
    owner: Box<[u8]>,
    rtype: Rtype,
    ttl: u32,
    rdata: Box<[u8]>,
    place: Place,
}

struct Reader<'z> {
    apex: &'z Name,
    zonefile: Zonefile,
    records: Vec<Record>,
    /// Texts read, so that an offset becomes a line only when there is something to say.
    files: Vec<(PathBuf, Bytes)>,
    sources: Sources,
    warnings: Vec<String>,
    before: Before,
    /// For the record at hand.
    buffers: [Vec<u8>; 2],
    /// Octets that may still be read.
    room: usize,
}

/// A text being read: a file, or what a `$GENERATE` stands for.
struct Open {
    text: Bytes,
    /// Where the next entry starts.
    at: usize,
    file: u32,
    /// Where all its entries are said to be.
    generated_at: Option<u32>,
    /// What comes back at its end.
    outer: Option<Outer>,
}

/// What an `$INCLUDE` leaves as it was (RFC 1035 section 5.1).
struct Outer {
    origin: Origin,
    owner: Option<String>,
}

impl Open {
    fn place(&self, offset: usize) -> Place {
        Place { file: self.file, offset: self.generated_at.unwrap_or(offset as u32) }
    }
}

impl<'z> Reader<'z> {
    fn new(apex: &'z Name) -> Self {
        let mut zonefile = Zonefile::new();
        let origin = Origin::from_octets(Bytes::copy_from_slice(apex.as_wire()));
        zonefile.set_origin(origin.unwrap_or_else(|_| Origin::root_bytes()));
        zonefile.set_default_class(Class::IN);
        Self {
            apex,
            zonefile,
            records: Vec::new(),
            files: Vec::new(),
            sources: Sources::default(),
            warnings: Vec::new(),
            before: Before::default(),
            buffers: [Vec::new(), Vec::new()],
            room: MAX_TEXT,
        }
    }

    fn read(&mut self, path: &Path) -> Result<(), ZoneFileError> {
        let text = self.sources.read(path, self.room as u64).map_err(|error| ZoneFileError {
            file: path.into(),
            line: None,
            what: error.to_string(),
            remedy: "give the name of a readable zone file",
        })?;
        self.read_text(text, path.into())
    }

    fn read_text(&mut self, text: Vec<u8>, path: PathBuf) -> Result<(), ZoneFileError> {
        let mut open = vec![self.open(text, path, None)];
        let mut starts = Vec::new();
        while let Some(current) = open.last_mut() {
            let text = current.text.clone();
            let from = current.at;
            let mut to = from;
            let other = loop {
                if to >= text.len() || to - from > RUN {
                    break None;
                }
                let (way, end) = rewrite::look(&text, to, &mut self.before);
                match way {
                    Way::Blank => {}
                    Way::AsItIs => starts.push(current.place(to)),
                    Way::Anew | Way::Directive => break Some((way, to..end)),
                }
                to = end;
            };
            current.at = other.as_ref().map_or(to, |(_, entry)| entry.end);
            self.feed(&text[from..to], &starts)?;
            starts.clear();
            match other {
                None if to >= text.len() => {
                    if let Some(outer) = open.pop().and_then(|closed| closed.outer) {
                        self.zonefile.set_origin(outer.origin);
                        self.before.owner = outer.owner;
                    }
                }
                None => {}
                Some((way, entry)) => {
                    let place = current.place(entry.start);
                    let done = if way == Way::Directive {
                        self.obey(&mut open, entry)
                    } else {
                        let origin = self.origin();
                        let text = rewrite::record(&text[entry], &origin, &self.before);
                        self.before = Before { has_ttl: true, owner: None };
                        text.map(Some)
                    };
                    let anew = done.map_err(|fault| self.error(place, &fault.what, fault.remedy))?;
                    if let Some(anew) = anew {
                        self.feed(&anew, &[place])?;
                    }
                }
            }
        }
        Ok(())
    }

    fn origin(&self) -> Origin {
        self.zonefile.origin().unwrap_or_else(|_| Origin::root_bytes())
    }

    fn open(&mut self, text: Vec<u8>, path: PathBuf, outer: Option<Outer>) -> Open {
        let text = Bytes::from(text);
        self.room = self.room.saturating_sub(text.len());
        let mut at = 0;
        if text.starts_with(BYTE_ORDER_MARK) {
            at = BYTE_ORDER_MARK.len();
            self.warn(|_| {
                format!(
                    "{}: a byte order mark at its start is ignored: save it as UTF-8 without",
                    path.display()
                )
            });
        }
        self.files.push((path, text.clone()));
        Open { text, at, file: self.files.len() as u32 - 1, generated_at: None, outer }
    }

    /// Has the reader read whole entries; `places` are those of the records in them.
    fn feed(&mut self, text: &[u8], places: &[Place]) -> Result<(), ZoneFileError> {
        let Some(&last) = text.last() else { return Ok(()) };
        self.zonefile.extend_from_slice(text);
        if last != b'\n' {
            self.zonefile.extend_from_slice(b"\n");
        }
        let mut places = places.iter().copied();
        let mut place = Place { file: self.files.len() as u32 - 1, offset: 0 };
        loop {
            let entry = self.zonefile.next_entry();
            if let Ok(None) = entry {
                return Ok(());
            }
            place = places.next().unwrap_or(place);
            match entry {
                Ok(Some(Entry::Record(record))) => self.take(&record, place)?,
                Ok(_) => return Err(self.error(place, "not a record", REMEDY_SYNTAX)),
                Err(error) => {
                    // The reader's own text begins with line and column of what it was fed.
                    let text = error.to_string();
                    let what = text.splitn(3, ':').nth(2).unwrap_or(&text).trim();
                    return Err(self.error(place, what, REMEDY_SYNTAX));
                }
            }
        }
    }

    fn take(&mut self, record: &ScannedRecord, place: Place) -> Result<(), ZoneFileError> {
        let [mut owner, mut rdata] = std::mem::take(&mut self.buffers);
        owner.clear();
        rdata.clear();
        // Writing to a Vec cannot fail.
        let _ = record.owner().compose(&mut owner);
        let _ = record.data().compose_rdata(&mut rdata);
        let rtype = Rtype(record.rtype().to_int());
        let name =
            Name::from_wire(&owner).map_err(|error| self.error(place, &error.to_string(), REMEDY_SYNTAX))?;
        let Some(relative) = name.relative_to(self.apex) else {
            let what = format!("{name} is outside the zone {}", self.apex);
            return Err(self.error(place, &what, "remove the record, or put it into its own zone's file"));
        };
        let ttl = record.ttl().as_secs();
        if ttl > i32::MAX as u32 {
            let what = format!("a TTL of {ttl} seconds (RFC 2181 allows 2147483647)");
            return Err(self.error(place, &what, "give a smaller TTL"));
        }
        self.records.push(Record {
            owner: relative.as_wire().into(),
            rtype,
            ttl,
            rdata: (&*rdata).into(),
            place,
        });
        self.buffers = [owner, rdata];
        Ok(())
    }

    fn error(&self, place: Place, what: &str, remedy: &'static str) -> ZoneFileError {
        let (path, text) = &self.files[place.file as usize];
        let before = &text[..text.len().min(place.offset as usize)];
        let line = 1 + before.iter().filter(|&&octet| octet == b'\n').count();
        ZoneFileError { file: path.clone(), line: Some(line), what: what.into(), remedy }
    }

    fn warn(&mut self, warning: impl FnOnce(&Self) -> String) {
        match self.warnings.len() {
            0..MAX_WARNINGS => self.warnings.push(warning(self)),
            MAX_WARNINGS => self.warnings.push("and more of that kind".into()),
            _ => {}
        }
    }
}

const REMEDY_SYNTAX: &str =
    "correct the line; types that are not known by name can be written as in RFC 3597";
const REMEDY_INCLUDE: &str = "correct the $INCLUDE; its path is relative to the file that it stands in";
/// Octets of a zone's files together, `$GENERATE`d text included: some 25 million records, ten times what a zone has room for by
/// default. What is larger is the wrong file. Reading takes several times as much memory.
const MAX_TEXT: usize = 1 << 30;
/// What the reader is fed at once. It copies it, so memory and caches like it small.
const RUN: usize = 65_536;
/// Each costs a search for its line, and a line in the log.
const MAX_WARNINGS: usize = 100;
/// What some editors put before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
