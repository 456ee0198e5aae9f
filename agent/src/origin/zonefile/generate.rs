//! `$GENERATE` of BIND: `$GENERATE start-stop[/step] owner [TTL] [class] type data`, with `$` or
//! `${offset,width,base}` where the number goes.

use super::Fault;
use super::entries::Word;

/// The lines that the words after `$GENERATE` stand for, at most `room` octets.
pub(super) fn expand(words: &[Word<'_>], room: usize) -> Result<Vec<u8>, Fault> {
    let [range, words @ ..] = words else { return Err(Fault::generate("no range")) };
    let range = Range::parse(range.plain()?)?;
    if words.len() < 3 {
        return Err(Fault::generate("owner, type or data is missing"));
    }
    let template = template(words);
    let mut text = Vec::new();
    for number in (range.start..=range.stop).step_by(range.step as usize) {
        substitute(&template, i64::from(number), &mut text)?;
        text.push(b'\n');
        if text.len() > room {
            return Err(Fault::generate("more than a zone may have"));
        }
    }
    Ok(text)
}

/// The words in one line. Data in quotes is one word to BIND, which then reads what stands in it.
fn template(words: &[Word<'_>]) -> Vec<u8> {
    let mut line = Vec::new();
    let data = words.len() - 1;
    let is_one = words[..data].iter().all(|word| !word.is_quoted);
    for (index, word) in words.iter().enumerate() {
        let quote: &[u8] = if word.is_quoted && !(index == data && is_one) { b"\"" } else { b"" };
        for part in [quote, word.text, quote, b" "] {
            line.extend_from_slice(part);
        }
    }
    line
}

struct Range {
    start: u32,
    stop: u32,
    step: u32,
}

impl Range {
    fn parse(text: &str) -> Result<Self, Fault> {
        let number = |text: &str| text.parse::<u32>().ok().filter(|&number| number <= i32::MAX as u32);
        let parse = || {
            let (range, step) = text.split_once('/').unwrap_or((text, "1"));
            let (start, stop) = range.split_once('-')?;
            let range = Self { start: number(start)?, stop: number(stop)?, step: number(step)? };
            (range.start <= range.stop && range.step > 0).then_some(range)
        };
        parse().ok_or_else(|| Fault::generate(format!("the range {text:?}")))
    }
}

/// Writes `template` with `number` in its places.
fn substitute(template: &[u8], number: i64, out: &mut Vec<u8>) -> Result<(), Fault> {
    let mut rest = template;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        match (first, after) {
            (b'\\', [escaped, after @ ..]) => {
                out.extend_from_slice(&[b'\\', *escaped]);
                rest = after;
            }
            (b'$', [b'$', after @ ..]) => {
                out.extend_from_slice(b"\\$");
                rest = after;
            }
            (b'$', [b'{', after @ ..]) => {
                let end = after.iter().position(|&octet| octet == b'}');
                let end = end.ok_or_else(|| Fault::generate("a brace that is not closed"))?;
                let form = std::str::from_utf8(&after[..end]).ok().and_then(Form::parse);
                let form = form.ok_or_else(|| {
                    Fault::generate(format!("{{{}}}", String::from_utf8_lossy(&after[..end])))
                })?;
                out.extend_from_slice(form.write(number)?.as_bytes());
                rest = &after[end + 1..];
            }
            (b'$', _) => out.extend_from_slice(number.to_string().as_bytes()),
            _ => out.push(first),
        }
    }
    Ok(())
}

/// How a number is written.
struct Form {
    offset: i32,
    width: usize,
    base: u8,
}

impl Form {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(',');
        let offset = parts.next()?.parse().ok()?;
        let width = parts.next().map_or(Some(0), |width| width.parse().ok())?;
        let base = parts
            .next()
            .map_or(Some(b'd'), |base| <[u8; 1]>::try_from(base.as_bytes()).ok().map(|[base]| base))?;
        let is_known = width <= MAX_WIDTH && b"doxXnN".contains(&base) && parts.next().is_none();
        is_known.then_some(Self { offset, width, base })
    }

    fn write(&self, number: i64) -> Result<String, Fault> {
        let number = number + i64::from(self.offset);
        let width = self.width;
        if self.base == b'd' {
            return Ok(format!("{number:0width$}"));
        }
        let Ok(number) = u64::try_from(number) else {
            return Err(Fault::generate(format!("{number} is negative, and not decimal")));
        };
        Ok(match self.base {
            b'o' => format!("{number:0width$o}"),
            b'x' => format!("{number:0width$x}"),
            b'X' => format!("{number:0width$X}"),
            b'N' => nibbles(number, width).to_ascii_uppercase(),
            _ => nibbles(number, width),
        })
    }
}

/// Hexadecimal digits as labels, the last first; `width` counts dots too.
fn nibbles(mut number: u64, mut width: usize) -> String {
    let mut text = String::new();
    loop {
        text.push(char::from_digit((number & 15) as u32, 16).unwrap_or('0'));
        number >>= 4;
        width = width.saturating_sub(1);
        if number == 0 && width == 0 {
            return text;
        }
        text.push('.');
        width = width.saturating_sub(1);
        if number == 0 && width == 0 {
            return text;
        }
    }
}

/// No name has more octets.
const MAX_WIDTH: usize = 255;
