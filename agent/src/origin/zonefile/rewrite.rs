//! What an entry means where the reader needs help: most entries pass as they are, a few are written anew in words that
//! it knows.
//!
//! That is: TTLs and SOA numbers with units (`1h30m`), types of [`super::fields`] (as RFC 3597 writes unknown ones),
//! octets that it takes only as `\DDD`, a zone whose SOA record alone says a TTL.

use super::entries::{Word, Words, is_odd};
use super::fields::{TypeForm, algorithm as algorithm_number};
use super::{Fault, Origin};

/// How an entry is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// No record and no directive.
    Blank,
    /// A record that the reader takes as it is.
    AsItIs,
    /// A record that is written anew.
    Anew,
    /// It starts with a dollar sign.
    Directive,
}

/// What the entries before say about the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Before {
    /// Some TTL was stated, by a record or `$TTL`.
    pub(super) has_ttl: bool,
    /// The owner of records that name none, where the reader would take another.
    pub(super) owner: Option<String>,
}

/// Looks at the entry that starts at `at`; tells how to take it and where the next one starts.
pub(super) fn look(text: &[u8], at: usize, before: &mut Before) -> (Way, usize) {
    let mut words = Words::new(text, at);
    let Some(first) = words.next() else {
        return (if words.unbalanced.is_some() { Way::Anew } else { Way::Blank }, words.at);
    };
    let names_owner = names_owner(text, at, &first);
    let way = if names_owner && first.text.starts_with(b"$") {
        Way::Directive
    } else {
        let mut next = if names_owner { words.next() } else { Some(first) };
        let mut way = Way::AsItIs;
        let mut has_ttl = false;
        // What is missing is told by the reader.
        while let Some(word) = next {
            match Head::of(word.text) {
                Head::Ttl => has_ttl = true,
                Head::TtlWithUnits => {
                    has_ttl = true;
                    way = Way::Anew;
                }
                Head::Class => {}
                Head::CommonType => {
                    let mnemonic = algorithm_at(word.text).and_then(|index| words.nth(index));
                    if mnemonic.is_some_and(|word| !word.text.first().is_some_and(u8::is_ascii_digit)) {
                        way = Way::Anew;
                    }
                    break;
                }
                Head::Type => {
                    let is_soa = word.text.eq_ignore_ascii_case(b"SOA");
                    if is_soa || algorithm_at(word.text).is_some() || TypeForm::find(word.text).is_some() {
                        way = Way::Anew;
                    }
                    break;
                }
            }
            next = words.next();
        }
        if has_ttl {
            before.has_ttl = true;
        }
        if names_owner {
            before.owner = None;
        }
        if !before.has_ttl || before.owner.is_some() {
            way = Way::Anew;
        }
        way
    };
    while words.next().is_some() {}
    let is_bad = words.is_odd || words.unbalanced.is_some();
    (if is_bad && way == Way::AsItIs { Way::Anew } else { way }, words.at)
}

/// A word stands first on its line: it is the owner.
fn names_owner(text: &[u8], at: usize, first: &Word<'_>) -> bool {
    first.start == at || !text[at..first.start].iter().any(|octet| matches!(octet, b' ' | b'\t' | b'\r'))
}

/// What a word between owner and data is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Head {
    Ttl,
    TtlWithUnits,
    Class,
    /// A type that the reader surely knows.
    CommonType,
    Type,
}

impl Head {
    fn of(word: &[u8]) -> Self {
        match word {
            b"A" | b"AAAA" | b"NS" | b"CNAME" | b"MX" | b"TXT" | b"PTR" | b"SRV" | b"DS" | b"RRSIG"
            | b"NSEC" | b"NSEC3" | b"DNSKEY" | b"CAA" | b"TLSA" => Self::CommonType,
            b"IN" => Self::Class,
            [b'0'..=b'9', ..] if word.iter().all(u8::is_ascii_digit) => Self::Ttl,
            [b'0'..=b'9', ..] => Self::TtlWithUnits,
            _ => {
                let is_class = CLASSES.iter().any(|class| word.eq_ignore_ascii_case(class.as_bytes()))
                    || word.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"CLASS"));
                if is_class { Self::Class } else { Self::Type }
            }
        }
    }
}

/// Writes a record's entry, `entry` from its first octet to its last, in words that the reader knows.
pub(super) fn record(entry: &[u8], origin: &Origin, before: &Before) -> Result<Vec<u8>, Fault> {
    let mut source = Words::new(entry, 0);
    let words: Vec<Word<'_>> = source.by_ref().collect();
    if let Some(what) = source.unbalanced {
        return Err(Fault::syntax(what));
    }
    let Some(first) = words.first() else { return Ok(Vec::new()) };
    let owners = usize::from(names_owner(entry, 0, first));
    let mut head = Vec::new();
    match &before.owner {
        Some(owner) if owners == 0 => head.extend_from_slice(owner.as_bytes()),
        _ if owners == 0 => {}
        _ => head.extend_from_slice(&entry[first.start..first.end]),
    }
    let mut at = owners;
    let mut ttl = None;
    while let Some(word) = words.get(at) {
        match Head::of(word.text) {
            Head::Ttl | Head::TtlWithUnits => {
                let seconds = seconds(word)?;
                ttl = Some(seconds);
                head.extend_from_slice(format!(" {seconds}").as_bytes());
            }
            Head::Class => {
                head.push(b' ');
                head.extend_from_slice(word.text);
            }
            Head::CommonType | Head::Type => break,
        }
        at += 1;
    }
    let Some(rtype) = words.get(at) else { return Err(Fault::syntax("no type")) };
    let data = &words[at + 1..];
    let is_unknown_form = data.first().is_some_and(|word| word.text == b"\\#");
    let is_soa = rtype.text.eq_ignore_ascii_case(b"SOA") && !is_unknown_form;
    let mut out = Vec::new();
    if ttl.is_none() && !before.has_ttl {
        // RFC 2308 section 4 took the meaning of a default from this field, and files from before it say no other.
        let minimum = data.get(6).filter(|_| is_soa).ok_or_else(Fault::no_ttl)?;
        out.extend_from_slice(format!("$TTL {}\n", seconds(minimum)?).as_bytes());
    }
    out.extend_from_slice(&head);
    out.push(b' ');
    let form = TypeForm::find(rtype.text).filter(|_| !is_unknown_form);
    if let Some(form) = form {
        let rdata = form.rdata(data, origin)?;
        out.extend_from_slice(format!("TYPE{} \\# {} ", form.number, rdata.len()).as_bytes());
        out.extend_from_slice(data_encoding::HEXUPPER.encode(&rdata).as_bytes());
    } else {
        out.extend_from_slice(rtype.text);
        let algorithm = algorithm_at(rtype.text).filter(|_| !is_unknown_form);
        let mut end = rtype.end;
        for (index, word) in data.iter().enumerate() {
            // Words without space between them belong together (`key="value"`, RFC 9460 appendix A).
            if word.start != end {
                out.push(b' ');
            }
            end = word.end;
            if algorithm == Some(index) {
                out.extend_from_slice(algorithm_number(word)?.to_string().as_bytes());
            } else if is_soa && index > 2 {
                out.extend_from_slice(seconds(word)?.to_string().as_bytes());
            } else {
                escape(&entry[word.start..word.end], &mut out);
            }
        }
    }
    out.push(b'\n');
    Ok(out)
}

/// Which word of the data is an algorithm, of which the reader takes only the number.
fn algorithm_at(rtype: &[u8]) -> Option<usize> {
    let known = WITH_ALGORITHM.iter().find(|(name, _)| rtype.eq_ignore_ascii_case(name.as_bytes()));
    known.map(|(_, index)| *index)
}

fn escape(word: &[u8], out: &mut Vec<u8>) {
    for &octet in word {
        if is_odd(octet) {
            out.extend_from_slice(format!("\\{octet:03}").as_bytes());
        } else {
            out.push(octet);
        }
    }
}

/// A TTL: seconds, or numbers with units as BIND, NSD and Knot read them, in any order (`1W2D`, `1h30m`, `90`).
pub(super) fn seconds(word: &Word<'_>) -> Result<u32, Fault> {
    let fault = || Fault::syntax(format!("{:?} is not a time such as 3600 or 1h30m", word.shown()));
    let (mut sum, mut number) = (0_u64, None);
    for &octet in word.text {
        if octet.is_ascii_digit() {
            let digits = number.unwrap_or(0_u64) * 10 + u64::from(octet - b'0');
            number = Some(digits).filter(|&digits| digits <= u32::MAX.into());
            number.ok_or_else(fault)?;
            continue;
        }
        let unit = match octet.to_ascii_lowercase() {
            b'w' => 604_800,
            b'd' => 86_400,
            b'h' => 3_600,
            b'm' => 60,
            b's' => 1,
            _ => return Err(fault()),
        };
        let part = number.take().ok_or_else(fault)? * unit;
        sum = sum.checked_add(part).ok_or_else(fault)?;
    }
    // What has units needs them all: `1h30` would be read in two ways; but not `0h30`, which is 30 to BIND too.
    match (number, sum) {
        (Some(number), 0) => sum = number,
        (None, _) if !word.text.is_empty() => {}
        _ => return Err(fault()),
    }
    u32::try_from(sum).map_err(|_| fault())
}

const CLASSES: [&str; 4] = ["IN", "CH", "HS", "CS"];
const WITH_ALGORITHM: [(&str, usize); 5] =
    [("DS", 1), ("CDS", 1), ("RRSIG", 1), ("DNSKEY", 2), ("CDNSKEY", 2)];
