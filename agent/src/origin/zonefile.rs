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
                    // The reader's own text begins with line and column, but it may have read ahead.
                    let text = error.to_string();
                    let what = text.splitn(3, ':').nth(2).unwrap_or(&text).trim();
                    return Err(self.error(file, offset, what, REMEDY_SYNTAX));
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
        // The spelling that the file has first is kept.
        let first = group.iter().min_by_key(|record| (record.file, record.offset)).unwrap_or(&group[0]);
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

/// The line (from 1) of the first entry after `offset`: blank lines, comments and directives but `$INCLUDE` are skipped.
fn line_after(text: &[u8], offset: usize) -> usize {
    let (before, rest) = text.split_at(offset.min(text.len()));
    // An entry ends with its line feed, or just before it.
    let rest_of_line = if before.is_empty() || before.ends_with(b"\n") { 0 } else { line_end(rest) };
    let mut line = 1 + before.iter().chain(&rest[..rest_of_line]).filter(|&&octet| octet == b'\n').count();
    for candidate in rest[rest_of_line..].split(|&octet| octet == b'\n') {
        let is_include = candidate.get(..8).is_some_and(|word| word.eq_ignore_ascii_case(b"$INCLUDE"));
        match candidate.trim_ascii_start().first() {
            Some(b';' | b'$') | None if !is_include => line += 1,
            _ => break,
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const START: &str = "$TTL 60\n@ SOA a b 1 2 3 4 5\n@ NS ns\n";

    fn parse_text(text: &str) -> Result<ZoneFile, ZoneFileError> {
        parse(&"example.org".parse().unwrap(), text.as_bytes(), Path::new("zone"))
    }

    fn with(lines: &str) -> Result<ZoneFile, ZoneFileError> {
        parse_text(&format!("{START}{lines}"))
    }

    #[track_caller]
    fn assert_fault(lines: &str, line: usize, what: &str) {
        let error = with(lines).unwrap_err();
        assert_eq!(error.line, Some(line), "{error}");
        assert!(error.what.contains(what), "{error}");
        assert!(!error.remedy.is_empty());
    }

    #[test]
    fn records_become_rrsets_in_canonical_form() {
        let zone = with(
            "www A 192.0.2.2\nWWW 60 IN A 192.0.2.1\nwww A 192.0.2.2\n@ TYPE65280 \\# 2 ABCD\nlast AAAA ::1",
        )
        .unwrap();
        let shown: Vec<String> = zone
            .rrsets
            .iter()
            .map(|rrset| {
                format!("{} {} {:?}", rrset.owner(), rrset.rtype(), rrset.rdatas().collect::<Vec<_>>())
            })
            .collect();
        assert!(shown.contains(&"www. A [[192, 0, 2, 1], [192, 0, 2, 2]]".to_owned()), "{shown:?}");
        assert!(shown.contains(&"@ TYPE65280 [[171, 205]]".to_owned()), "{shown:?}");
        assert_eq!(shown.len(), 5);
        assert!(zone.warnings.is_empty() && zone.incomplete.is_none());
    }

    #[test]
    fn faults_name_line_and_remedy() {
        assert_fault("\n; fine\nwww A 192.0.2.256\n", 6, "");
        assert_fault("other.example. A 192.0.2.1\n", 4, "outside the zone");
        assert_fault("www CNAME a\nb A 192.0.2.1\nwww TXT x\n", 6, "beside a CNAME");
        assert_fault("www CNAME a\nwww CNAME b\n", 5, "a second");
        assert_fault("@ SOA a b 2 2 3 4 5\n", 4, "a second");
        assert_fault("www SOA a b 2 2 3 4 5\n", 4, "below the zone's own name");
        assert_fault("www 3000000000 A 192.0.2.1\n", 4, "TTL");
        assert_fault("www CH A 192.0.2.1\n", 4, "");
        assert_fault("$INCLUDE missing.zone\n", 4, "$INCLUDE");
    }

    #[test]
    fn a_zone_without_soa_or_ns_is_incomplete() {
        assert!(parse_text("").unwrap().incomplete.unwrap().what.contains("SOA"));
        assert!(parse_text("; emptied\n").unwrap().incomplete.is_some());
        assert!(parse_text("@ 60 SOA a b 1 2 3 4 5\n").unwrap().incomplete.unwrap().what.contains("NS"));
    }

    #[test]
    fn several_ttls_are_put_right_and_told() {
        let zone = with("www 60 A 192.0.2.1\nwww 30 A 192.0.2.2\n").unwrap();
        assert_eq!(zone.rrsets.last().unwrap().ttl(), 30);
        assert!(zone.warnings[0].contains("line 4"), "{:?}", zone.warnings);
    }

    #[test]
    fn includes_are_relative_and_keep_their_own_origin() {
        let directory = std::env::temp_dir().join(format!("fingerpost-include-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("zone"), format!("{START}$INCLUDE part sub\nafter A 192.0.2.2\n"))
            .unwrap();
        std::fs::write(directory.join("part"), "in A 192.0.2.1\n$ORIGIN x.example.org.\nin A 192.0.2.1\n")
            .unwrap();
        std::fs::write(directory.join("loop"), "$INCLUDE loop\n").unwrap();
        let apex = "example.org".parse().unwrap();
        let zone = load(&apex, &directory.join("zone")).unwrap();
        let owners: Vec<String> = zone.rrsets.iter().map(|rrset| rrset.owner().to_string()).collect();
        for owner in ["in.sub.", "in.x.", "after."] {
            assert!(owners.contains(&owner.to_owned()), "{owners:?}");
        }
        assert!(load(&apex, &directory.join("loop")).unwrap_err().what.contains("include each other"));
        assert!(load(&apex, &directory.join("missing")).is_err());
        std::fs::remove_dir_all(directory).unwrap();
    }
}
