//! Domain names between text and wire (RFC 1035 sections 3.1 and 5.1).

/// The wire form of a name in presentation format; panics if it is none.
#[track_caller]
pub fn to_wire(text: &str) -> Vec<u8> {
    parse(text).unwrap_or_else(|| panic!("not a domain name: {text}"))
}

/// The wire form of a name in presentation format, if it is one.
pub fn parse(text: &str) -> Option<Vec<u8>> {
    let mut wire = Vec::new();
    let mut label = Vec::new();
    let mut octets = text.bytes();
    let mut finish = |label: &mut Vec<u8>| {
        wire.push(label.len() as u8);
        let fits = (1..=63).contains(&label.len());
        wire.append(label);
        fits.then_some(())
    };
    if text == "." {
        return Some(vec![0]);
    }
    while let Some(octet) = octets.next() {
        match octet {
            b'.' => finish(&mut label)?,
            b'\\' => {
                let first = octets.next()?;
                if !first.is_ascii_digit() {
                    label.push(first);
                    continue;
                }
                let digits = [first, octets.next()?, octets.next()?];
                label.push(std::str::from_utf8(&digits).ok()?.parse().ok()?);
            }
            _ => label.push(octet),
        }
    }
    if !label.is_empty() {
        finish(&mut label)?;
    }
    wire.push(0);
    (wire.len() <= 255).then_some(wire)
}

/// Presentation format with the final dot, letters in lower case.
pub fn to_text(wire: &[u8]) -> String {
    let mut text = String::new();
    let mut rest = wire;
    while let Some((&length, tail)) = rest.split_first() {
        if length == 0 {
            break;
        }
        let (label, tail) = tail.split_at(length as usize);
        for &octet in label {
            match octet.to_ascii_lowercase() {
                plain @ (b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'*' | b'=' | b'/' | b'+') => {
                    text.push(plain as char)
                }
                special @ 0x21..=0x7E => text.extend(['\\', special as char]),
                other => text.push_str(&format!("\\{other:03}")),
            }
        }
        text.push('.');
        rest = tail;
    }
    if text.is_empty() { ".".to_owned() } else { text }
}

/// Reads a name, following compression pointers: its uncompressed wire form and the position after it.
pub fn read(message: &[u8], start: usize) -> Option<(Vec<u8>, usize)> {
    let mut wire = Vec::new();
    let mut at = start;
    let mut end = None;
    loop {
        let length = *message.get(at)?;
        match length {
            0 => {
                wire.push(0);
                return Some((wire, end.unwrap_or(at + 1)));
            }
            1..=63 => {
                wire.extend_from_slice(message.get(at..=at + length as usize)?);
                at += 1 + length as usize;
                if wire.len() > 254 {
                    return None;
                }
            }
            0xC0..=0xFF => {
                let target = usize::from(length & 0x3F) << 8 | usize::from(*message.get(at + 1)?);
                end.get_or_insert(at + 2);
                if target >= at {
                    return None;
                }
                at = target;
            }
            _ => return None,
        }
    }
}
