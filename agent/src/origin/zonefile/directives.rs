//! `$ORIGIN`, `$TTL` (RFC 2308 section 4), `$INCLUDE` (RFC 1035 section 5.1) and `$GENERATE`.

use std::ffi::OsStr;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::entries::{Word, Words};
use super::{Fault, Open, Outer, Reader, fields, generate, rewrite};

impl Reader<'_> {
    /// Obeys the directive `entry` of the innermost text; returns what of it is for the reader.
    pub(super) fn obey(
        &mut self,
        open: &mut Vec<Open>,
        entry: Range<usize>,
    ) -> Result<Option<Vec<u8>>, Fault> {
        let Some(current) = open.last() else { return Ok(None) };
        let text = current.text.clone();
        let mut source = Words::new(&text[entry.clone()], 0);
        let words: Vec<Word<'_>> = source.by_ref().collect();
        if let Some(what) = source.unbalanced {
            return Err(Fault::syntax(what));
        }
        let [directive, words @ ..] = &*words else { return Ok(None) };
        if directive.is_quoted {
            return Err(Fault::syntax("a directive in quotes"));
        }
        let name = directive.plain()?.to_ascii_uppercase();
        if current.generated_at.is_some() {
            return Err(Fault::generate(format!("it makes a {name}, and not a record")));
        }
        let one = || match words {
            [word] => Ok(word),
            _ => Err(Fault::syntax(format!("{name} takes one word"))),
        };
        match &*name {
            "$ORIGIN" => {
                let origin = fields::name(one()?, &self.origin())?;
                self.zonefile.set_origin(origin);
                Ok(None)
            }
            "$TTL" => {
                let ttl = rewrite::seconds(one()?)?;
                self.before.has_ttl = true;
                Ok(Some(format!("$TTL {ttl}\n").into_bytes()))
            }
            "$INCLUDE" => self.include(open, words).map(|()| None),
            "$GENERATE" => {
                let text = generate::expand(words, self.room.min(MAX_GENERATED))?;
                self.room -= text.len();
                let generated_at = Some(entry.start as u32);
                let file = current.file;
                open.push(Open { text: text.into(), at: 0, file, generated_at, outer: None });
                Ok(None)
            }
            _ => {
                Err(Fault::syntax(format!("{name} is not known: $ORIGIN, $TTL, $INCLUDE and $GENERATE are")))
            }
        }
    }

    fn include(&mut self, open: &mut Vec<Open>, words: &[Word<'_>]) -> Result<(), Fault> {
        let (path, origin) = match words {
            [path] => (path, None),
            [path, origin] => (path, Some(fields::name(origin, &self.origin())?)),
            _ => return Err(Fault::syntax("$INCLUDE takes a file name, and an origin if you like")),
        };
        let parent = open.last().and_then(|current| self.files[current.file as usize].0.parent());
        let path = parent.unwrap_or(Path::new(".")).join(OsStr::from_bytes(&path.octets()?));
        if open.len() >= MAX_DEPTH || self.sources.count() >= MAX_FILES {
            return Err(Fault::include(&path, "too many files that include each other"));
        }
        let text =
            self.sources.read(&path, self.room as u64).map_err(|error| Fault::include(&path, error))?;
        let outer =
            Outer { origin: self.origin(), owner: self.before.owner.clone().or_else(|| self.last_owner()) };
        if let Some(origin) = origin {
            self.zonefile.set_origin(origin);
        }
        let included = self.open(text, path, Some(outer));
        open.push(included);
        Ok(())
    }

    /// The owner of the last record, as the reader takes it wherever it stands.
    fn last_owner(&self) -> Option<String> {
        let mut rest: &[u8] = &[&self.records.last()?.owner, self.apex.as_wire()].concat();
        let mut text = String::new();
        while let Some((&length, after)) = rest.split_first()
            && length > 0
        {
            let (label, after) = after.split_at_checked(length.into())?;
            text.extend(label.iter().map(|octet| format!("\\{octet:03}")));
            text.push('.');
            rest = after;
        }
        Some(if text.is_empty() { ".".into() } else { text })
    }
}

/// Texts open at once: enough for every sane layout, and it ends loops.
const MAX_DEPTH: usize = 8;
/// Files of one zone: what a file that includes itself again and again can cost.
pub(super) const MAX_FILES: usize = 4_096;
/// Octets that one `$GENERATE` may stand for: the reverse names of some ten /16 networks.
const MAX_GENERATED: usize = 1 << 25;
