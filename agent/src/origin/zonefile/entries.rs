//! Entries of a zone file and their words (RFC 1035 section 5.1): where each starts and ends, and what is written in it.
//!
//! Knows parentheses, quotes, comments and escapes; leaves what words mean to [`super::rewrite`] and [`super::fields`].

use super::Fault;

/// A word of an entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word<'t> {
    /// As written, without the quotes around it.
    pub(super) text: &'t [u8],
    /// Where it starts in the text that it was read from, its quote included.
    pub(super) start: usize,
    /// Where it ends, its quote included.
    pub(super) end: usize,
    /// It stands in quotes.
    pub(super) is_quoted: bool,
}

impl<'t> Word<'t> {
    /// What is written, where no escapes and only printable ASCII make sense.
    pub(super) fn plain(&self) -> Result<&'t str, Fault> {
        match std::str::from_utf8(self.text) {
            Ok(text) if text.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'\\') => Ok(text),
            _ => Err(Fault::syntax(format!("{:?} has octets that do not belong here", self.shown()))),
        }
    }

    /// The octets that it stands for: `\DDD` is an octet, and a backslash takes any other meaning from what follows.
    pub(super) fn octets(&self) -> Result<Vec<u8>, Fault> {
        let mut octets = Vec::with_capacity(self.text.len());
        let mut rest = self.text;
        while let Some((&first, after)) = rest.split_first() {
            rest = after;
            match (first, after) {
                (b'\\', [a, b, c, after @ ..]) if [a, b, c].into_iter().all(u8::is_ascii_digit) => {
                    let number =
                        [a, b, c].iter().fold(0_u16, |sum, &&digit| sum * 10 + u16::from(digit - b'0'));
                    let octet = u8::try_from(number)
                        .map_err(|_| Fault::syntax(format!("\\{number} is no octet: at most \\255")))?;
                    octets.push(octet);
                    rest = after;
                }
                (b'\\', [escaped, after @ ..]) if !escaped.is_ascii_digit() => {
                    octets.push(*escaped);
                    rest = after;
                }
                (b'\\', _) => return Err(Fault::syntax("a backslash with less than three digits behind it")),
                _ => octets.push(first),
            }
        }
        Ok(octets)
    }

    /// For messages.
    pub(super) fn shown(&self) -> String {
        String::from_utf8_lossy(&self.text[..self.text.len().min(MOST_SHOWN)]).into_owned()
    }
}

/// The words of one entry, from its start on.
pub(super) struct Words<'t> {
    text: &'t [u8],
    /// Where the next octet is; after the last word, where the next entry starts.
    pub(super) at: usize,
    depth: usize,
    /// A word has octets that only an escape can bring past the reader.
    pub(super) is_odd: bool,
    /// A quote that is open at the end of its line, a parenthesis that is at the end of the file, or one too many.
    pub(super) unbalanced: Option<&'static str>,
    is_over: bool,
}

impl<'t> Words<'t> {
    pub(super) fn new(text: &'t [u8], at: usize) -> Self {
        Self { text, at, depth: 0, is_odd: false, unbalanced: None, is_over: false }
    }

    fn quoted(&mut self) -> Word<'t> {
        let start = self.at;
        self.at += 1;
        let end = loop {
            match self.text.get(self.at) {
                Some(b'"') => break self.at,
                Some(b'\n') | None => {
                    self.unbalanced = Some("a quote that is not closed on its line");
                    break self.at.min(self.text.len());
                }
                Some(b'\\') => self.escape(),
                Some(&octet) => {
                    self.is_odd |= is_odd(octet);
                    self.at += 1;
                }
            }
        };
        if self.text.get(end) == Some(&b'"') {
            self.at = end + 1;
        }
        Word { text: &self.text[start + 1..end], start, end: self.at, is_quoted: true }
    }

    fn unquoted(&mut self) -> Word<'t> {
        let start = self.at;
        while let Some(&octet) = self.text.get(self.at) {
            match CLASSES[octet as usize] {
                Class::Word => self.at += 1,
                Class::Odd if octet == b'\\' => self.escape(),
                Class::Odd => {
                    self.is_odd = true;
                    self.at += 1;
                }
                Class::Between => break,
            }
        }
        Word { text: &self.text[start..self.at], start, end: self.at, is_quoted: false }
    }

    /// Past a backslash and what it escapes; a line feed cannot be escaped.
    fn escape(&mut self) {
        let escaped = self.text.get(self.at + 1).is_some_and(|&octet| octet != b'\n');
        self.at += 1 + usize::from(escaped);
    }
}

impl<'t> Iterator for Words<'t> {
    type Item = Word<'t>;

    fn next(&mut self) -> Option<Word<'t>> {
        while !self.is_over {
            match self.text.get(self.at) {
                None => {
                    self.is_over = true;
                    // The reader would panic over some of these.
                    if self.depth > 0 {
                        self.unbalanced = Some("a parenthesis that is not closed");
                    }
                }
                Some(b' ' | b'\t' | b'\r') => self.at += 1,
                Some(b'\n') => {
                    self.at += 1;
                    self.is_over = self.depth == 0;
                }
                Some(b'(') => {
                    self.at += 1;
                    self.depth += 1;
                }
                Some(b')') => {
                    self.at += 1;
                    match self.depth.checked_sub(1) {
                        Some(depth) => self.depth = depth,
                        None => self.unbalanced = Some("a parenthesis that was not opened"),
                    }
                }
                Some(b';') => {
                    let rest = &self.text[self.at..];
                    self.at += rest.iter().position(|&octet| octet == b'\n').unwrap_or(rest.len());
                }
                Some(b'"') => return Some(self.quoted()),
                Some(_) => return Some(self.unquoted()),
            }
        }
        None
    }
}

/// What an octet is in a word without quotes.
#[derive(Clone, Copy)]
enum Class {
    Word,
    /// It ends the word.
    Between,
    /// A backslash, or one that [`is_odd`].
    Odd,
}

const CLASSES: [Class; 256] = {
    let mut classes = [Class::Word; 256];
    let mut octet = 0;
    while octet < 256 {
        classes[octet] = match octet as u8 {
            b' ' | b'\t' | b'\r' | b'\n' | b'(' | b')' | b';' | b'"' => Class::Between,
            b'\\' => Class::Odd,
            odd if is_odd(odd) => Class::Odd,
            _ => Class::Word,
        };
        octet += 1;
    }
    classes
};

/// Whether the reader takes it only as `\DDD`: a control character, or not ASCII. Others take it as it is.
pub(super) const fn is_odd(octet: u8) -> bool {
    octet < b' ' || octet > b'~'
}

/// Octets of a word that a message repeats.
const MOST_SHOWN: usize = 64;
