//! Domain names in wire form (RFC 1035 sections 3.1 and 4.1.4; case per RFC 4343).
//!
//! [`Name`] is absolute and owned, [`RelativeName`] borrows the labels below a zone's apex. Both are
//! validated once, where bytes or text become a name; nothing further inward checks again.

use core::cmp::Ordering;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::str::FromStr;

use super::Header;

/// Longest name in wire form, root label included (RFC 1035 section 2.3.4).
pub const MAX_NAME: usize = 255;
/// Longest label (RFC 1035 section 2.3.4).
pub const MAX_LABEL: usize = 63;
/// Most labels a name can have, root label not counted.
pub const MAX_LABELS: usize = 127;
/// Most pointers followed within one name. A compressor has no use for more than one a label; without
/// a bound a chain of pointers to pointers would make every record of a 64 KiB message cost 8,192 steps.
pub const MAX_POINTERS: usize = MAX_LABELS;

/// Why bytes or text are not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// The bytes end within the name.
    Truncated,
    /// A label type other than a plain label or a backward pointer.
    BadLabel,
    /// Over 255 octets.
    TooLong,
    /// A pointer that does not point strictly backwards, that points into the header, or one too many.
    BadPointer,
    /// Text that is not a name in presentation format.
    BadText,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the name is cut off",
            Self::BadLabel => "a label is malformed or over 63 octets",
            Self::TooLong => "the name is over 255 octets",
            Self::BadPointer => "a compression pointer does not point backwards to a name",
            Self::BadText => "not a domain name in presentation format",
        })
    }
}

impl core::error::Error for NameError {}

/// An absolute name, uncompressed, case preserved. Equality, order and hash ignore ASCII case.
#[derive(Clone)]
pub struct Name {
    octets: [u8; MAX_NAME],
    /// Octets in use, final root label included: 1 to 255.
    len: u8,
    /// Labels, root not counted: 0 to 127.
    labels: u8,
}

impl Name {
    /// The root name.
    pub const ROOT: Self = Self { octets: [0; MAX_NAME], len: 1, labels: 0 };

    /// Reads a possibly compressed name at `offset` of `message`; returns it and the offset after it.
    ///
    /// Every pointer must point before the part it continues, and not into the header. Work is bounded
    /// by 255 octets and [`MAX_POINTERS`] jumps.
    pub fn read(message: &[u8], offset: usize) -> Result<(Self, usize), NameError> {
        let mut name = Self::ROOT;
        let end = name.read_over(message, offset)?;
        Ok((name, end))
    }

    /// [`Self::read`] in place, for whoever cannot afford to move 255 octets about: `self` must be the root,
    /// and is of no use after an error. Returns the offset after the name.
    #[inline]
    pub(crate) fn read_over(&mut self, message: &[u8], offset: usize) -> Result<usize, NameError> {
        let mut used = 0;
        let end = walk(message, offset, |part, labels| {
            // `walk` hands out at most 254 octets and 127 labels in all.
            self.octets[used..used + part.len()].copy_from_slice(part);
            used += part.len();
            self.labels += labels;
        })?;
        // Nothing was written behind the last label: the root label is there already.
        self.len = used as u8 + 1;
        Ok(end)
    }

    /// Checks the name that [`Self::read`] would read; returns the offset after it.
    pub fn skip(message: &[u8], offset: usize) -> Result<usize, NameError> {
        walk(message, offset, |_, _| {})
    }

    /// Octets of the uncompressed name at the start of `wire`, which may go on after it.
    pub fn plain_len(wire: &[u8]) -> Result<usize, NameError> {
        let mut at = 0;
        loop {
            match wire.get(at) {
                Some(0) if at < MAX_NAME => return Ok(at + 1),
                Some(&length @ 1..=63) if at < MAX_NAME => at += 1 + length as usize,
                Some(0..=63) => return Err(NameError::TooLong),
                Some(_) => return Err(NameError::BadLabel),
                None => return Err(NameError::Truncated),
            }
        }
    }

    /// The name which exactly fills `wire` (no compression).
    pub fn from_wire(wire: &[u8]) -> Result<Self, NameError> {
        match wire.split_last() {
            Some((0, labels)) => Self::join(RelativeName::from_wire(labels)?, &Self::ROOT),
            _ => Err(NameError::Truncated),
        }
    }

    /// The wire form, root label included.
    pub fn as_wire(&self) -> &[u8] {
        &self.octets[..self.len as usize]
    }

    /// Number of labels, root not counted.
    pub fn label_count(&self) -> usize {
        self.labels as usize
    }

    /// Labels from the leftmost to the topmost, root not included.
    pub fn labels(&self) -> Labels<'_> {
        Labels { rest: &self.octets[..self.len as usize - 1] }
    }

    /// The part of `self` that is left of its ancestor with `count` labels; all of it for 0.
    ///
    /// `count` over [`Self::label_count`] gives the empty (apex) name.
    pub fn below(&self, count: usize) -> RelativeName<'_> {
        let end = self.len as usize - self.ancestor_wire(count).len();
        RelativeName(&self.octets[..end])
    }

    /// The wire form (root included) of the ancestor with `count` labels; `self` if it has no more.
    pub fn ancestor_wire(&self, count: usize) -> &[u8] {
        let mut labels = self.labels();
        for _ in count..self.label_count() {
            labels.next();
        }
        let start = self.len as usize - 1 - labels.rest.len();
        &self.octets[start..self.len as usize]
    }

    /// The ancestor with `count` labels; `self` if it has no more.
    pub fn ancestor(&self, count: usize) -> Self {
        let wire = self.ancestor_wire(count);
        let mut name = Self::ROOT;
        name.octets[..wire.len()].copy_from_slice(wire);
        name.len = wire.len() as u8;
        name.labels = count.min(self.label_count()) as u8;
        name
    }

    /// Whether `self` is `ancestor` or below it, ignoring case.
    pub fn is_within(&self, ancestor: &Name) -> bool {
        self.labels >= ancestor.labels
            && self.ancestor_wire(ancestor.label_count()).eq_ignore_ascii_case(ancestor.as_wire())
    }

    /// `self` without the trailing `zone` (empty at the apex); `None` if not within `zone`.
    pub fn relative_to(&self, zone: &Name) -> Option<RelativeName<'_>> {
        self.is_within(zone).then(|| self.below(zone.label_count()))
    }

    /// `relative` followed by `zone`.
    pub fn join(relative: RelativeName<'_>, zone: &Name) -> Result<Self, NameError> {
        let (front, back) = (relative.as_wire(), zone.as_wire());
        let len = front.len() + back.len();
        if len > MAX_NAME {
            return Err(NameError::TooLong);
        }
        let mut name = Self::ROOT;
        name.octets[..front.len()].copy_from_slice(front);
        name.octets[front.len()..len].copy_from_slice(back);
        name.len = len as u8;
        name.labels = zone.labels + relative.labels().count() as u8;
        Ok(name)
    }

    /// `label` (1 to 63 octets) in front of `self`.
    pub fn prepend(&self, label: &[u8]) -> Result<Self, NameError> {
        if label.is_empty() || label.len() > MAX_LABEL {
            return Err(NameError::BadLabel);
        }
        let mut wire = [0; MAX_LABEL + 1];
        wire[0] = label.len() as u8;
        wire[1..=label.len()].copy_from_slice(label);
        Self::join(RelativeName(&wire[..=label.len()]), self)
    }

    /// `self` with its ancestor of `count` labels replaced by `to` (DNAME substitution, RFC 6672 section 2.2).
    pub fn replace_ancestor(&self, count: usize, to: &Name) -> Result<Self, NameError> {
        Self::join(self.below(count), to)
    }

    /// Canonical order: by labels from the top, each as lower-case octets (RFC 4034 section 6.1).
    pub fn canonical_cmp(&self, other: &Name) -> Ordering {
        let (mine, theirs) = (LabelStarts::of(self), LabelStarts::of(other));
        for index in 0..self.label_count().min(other.label_count()) {
            let order = label_cmp(mine.from_top(self, index), theirs.from_top(other, index));
            if order.is_ne() {
                return order;
            }
        }
        self.labels.cmp(&other.labels)
    }
}

/// Walks the labels of the name at `offset`: gives `part` each run of plain labels with their number, without
/// the root label; returns the offset after the name. This is the one judge of names in messages.
fn walk(message: &[u8], offset: usize, mut part: impl FnMut(&[u8], u8)) -> Result<usize, NameError> {
    let mut total = 1;
    let mut end = None;
    let mut start = offset;
    for _ in 0..=MAX_POINTERS {
        let mut at = start;
        let mut labels = 0;
        let length = loop {
            let &length = message.get(at).ok_or(NameError::Truncated)?;
            if length == 0 || length > MAX_LABEL as u8 {
                break length;
            }
            let size = 1 + length as usize;
            total += size;
            if total > MAX_NAME {
                return Err(NameError::TooLong);
            }
            at += size;
            labels += 1;
        };
        // The last label's octets reach up to `at`, where an octet was just read.
        part(&message[start..at], labels);
        if length == 0 {
            return Ok(end.unwrap_or(at + 1));
        }
        if length < 0xC0 {
            return Err(NameError::BadLabel);
        }
        let &low = message.get(at + 1).ok_or(NameError::Truncated)?;
        end.get_or_insert(at + 2);
        let target = usize::from(length & 0x3F) << 8 | usize::from(low);
        if target >= start || target < Header::LEN {
            return Err(NameError::BadPointer);
        }
        start = target;
    }
    Err(NameError::BadPointer)
}

/// Order of two labels as lower-case octets (RFC 4034 section 6.1).
pub fn label_cmp(a: &[u8], b: &[u8]) -> Ordering {
    a.iter().map(u8::to_ascii_lowercase).cmp(b.iter().map(u8::to_ascii_lowercase))
}

/// Where each label of a name starts, so that labels can be taken from the top.
pub struct LabelStarts([u8; MAX_LABELS], u8);

impl LabelStarts {
    /// Finds the starts of `name`'s labels.
    // Inlined, so that they are made where they are used: to move them takes longer.
    #[inline]
    pub fn of(name: &Name) -> Self {
        let mut starts = Self([0; MAX_LABELS], name.labels);
        let mut at = 0;
        for slot in &mut starts.0[..name.label_count()] {
            *slot = at as u8;
            at += 1 + name.octets[at] as usize;
        }
        starts
    }

    /// Label `index` of `name` counted from the top (0 stands next to the root). `name` must be the one
    /// given to [`Self::of`]; panics if `index` is not below its label count.
    pub fn from_top<'n>(&self, name: &'n Name, index: usize) -> &'n [u8] {
        let start = self.0[self.1 as usize - 1 - index] as usize;
        &name.octets[start + 1..start + 1 + name.octets[start] as usize]
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        // Length octets are below 64 and so are never changed by case folding.
        self.as_wire().eq_ignore_ascii_case(other.as_wire())
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for octet in self.as_wire() {
            state.write_u8(octet.to_ascii_lowercase());
        }
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        self.canonical_cmp(other)
    }
}

impl fmt::Display for Name {
    /// Presentation format with a final dot; special octets escaped (RFC 1035 section 5.1).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.labels == 0 {
            return f.write_str(".");
        }
        write_labels(self.labels(), f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Name {
    type Err = NameError;

    /// Presentation format; the final dot may be missing. `.` is the root; empty text is refused, and so
    /// are blanks and control characters that are not escaped.
    fn from_str(text: &str) -> Result<Self, NameError> {
        if text == "." {
            return Ok(Self::ROOT);
        }
        let mut name = Self::ROOT;
        let mut used = 0;
        let mut text = text.bytes();
        // Where the length octet of the label under construction stands.
        let mut label = None;
        while let Some(octet) = text.next() {
            let octet = match octet {
                b'.' => {
                    label.take().ok_or(NameError::BadText)?;
                    continue;
                }
                b'\\' => unescape(&mut text)?,
                0..=b' ' | 0x7F => return Err(NameError::BadText),
                octet => octet,
            };
            let start = *label.get_or_insert_with(|| {
                name.labels += 1;
                used += 1;
                used - 1
            });
            // The last octet is the root label's.
            *name.octets[..MAX_NAME - 1].get_mut(used).ok_or(NameError::TooLong)? = octet;
            used += 1;
            if name.octets[start] as usize == MAX_LABEL {
                return Err(NameError::BadLabel);
            }
            name.octets[start] += 1;
        }
        name.len = used as u8 + 1;
        if name.labels == 0 { Err(NameError::BadText) } else { Ok(name) }
    }
}

/// What follows a backslash: three decimal digits, or one octet that stands for itself.
fn unescape(text: &mut core::str::Bytes<'_>) -> Result<u8, NameError> {
    let first = text.next().ok_or(NameError::BadText)?;
    if !first.is_ascii_digit() {
        return Ok(first);
    }
    let mut value = u16::from(first - b'0');
    for _ in 0..2 {
        let digit = text.next().filter(u8::is_ascii_digit).ok_or(NameError::BadText)?;
        value = value * 10 + u16::from(digit - b'0');
    }
    u8::try_from(value).map_err(|_| NameError::BadText)
}

fn write_labels(labels: Labels<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    use fmt::Write;
    for label in labels {
        for &octet in label {
            match octet {
                b'.' | b'\\' | b'"' | b'(' | b')' | b';' | b'@' | b'$' => write!(f, "\\{}", octet as char)?,
                0x21..=0x7E => f.write_char(octet as char)?,
                _ => write!(f, "\\{octet:03}")?,
            }
        }
        f.write_char('.')?;
    }
    Ok(())
}

/// A name relative to a zone: labels in wire form without the root label; empty is the apex itself.
/// Always valid: at most 254 octets of plain labels.
#[derive(Clone, Copy)]
pub struct RelativeName<'a>(&'a [u8]);

impl<'a> RelativeName<'a> {
    /// The zone's apex.
    pub const APEX: RelativeName<'static> = RelativeName(&[]);

    /// Checks `wire`: plain, non-empty labels that exactly fill it, at most 254 octets.
    pub fn from_wire(wire: &'a [u8]) -> Result<Self, NameError> {
        if wire.len() >= MAX_NAME {
            return Err(NameError::TooLong);
        }
        let mut rest = wire;
        while let Some((&length, tail)) = rest.split_first() {
            if length == 0 || length as usize > MAX_LABEL {
                return Err(NameError::BadLabel);
            }
            rest = tail.get(length as usize..).ok_or(NameError::Truncated)?;
        }
        Ok(Self(wire))
    }

    /// The labels in wire form.
    pub fn as_wire(self) -> &'a [u8] {
        self.0
    }

    /// Whether it is the apex.
    pub fn is_apex(self) -> bool {
        self.0.is_empty()
    }

    /// Labels from the leftmost to the topmost.
    pub fn labels(self) -> Labels<'a> {
        Labels { rest: self.0 }
    }
}

impl PartialEq for RelativeName<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(other.0)
    }
}

impl Eq for RelativeName<'_> {}

impl fmt::Display for RelativeName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { f.write_str("@") } else { write_labels(self.labels(), f) }
    }
}

impl fmt::Debug for RelativeName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Labels from the leftmost to the topmost.
#[derive(Clone)]
pub struct Labels<'a> {
    /// Validated plain labels.
    rest: &'a [u8],
}

impl<'a> Iterator for Labels<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (&length, rest) = self.rest.split_first()?;
        let (label, rest) = rest.split_at(length as usize);
        self.rest = rest;
        Some(label)
    }
}
