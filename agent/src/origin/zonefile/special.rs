//! Types whose text is not a plain row of fields: LOC, APL, HIP, AMTRELAY, STEER, NEAR.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use resolver_core::steer::near::{MAX_NEAR, Near};
use resolver_core::steer::rdata::MAX_STEERING;
use resolver_core::steer::text;

use super::Fault;
use super::entries::Word;
use super::fields::{Fields, bad, base64, hex};

/// RFC 1876 section 3: `51 30 12.748 N 0 7 39.611 W 0.00m 1m 10000m 10m`, all after the first hemisphere's but one optional.
pub(super) fn location(fields: &mut Fields<'_, '_>, rdata: &mut Vec<u8>) -> Result<(), Fault> {
    let latitude = angle(fields, 90, "N", "S")?;
    let longitude = angle(fields, 180, "E", "W")?;
    let word = fields.next()?;
    let altitude = centimetres(&word)?.checked_add(BELOW).and_then(|altitude| u32::try_from(altitude).ok());
    let altitude = altitude.ok_or_else(|| bad(&word, "an altitude from -100000m to 42849672.95m"))?;
    let mut sizes = [0x12, 0x16, 0x13];
    for size in &mut sizes {
        if let Some(word) = fields.next_if(|_| true) {
            *size = precision(&word)?;
        }
    }
    rdata.push(0);
    rdata.extend(sizes);
    for number in [latitude, longitude, altitude] {
        rdata.extend(number.to_be_bytes());
    }
    Ok(())
}

/// A steered name: the core's own form.
pub(super) fn steering(fields: &mut Fields<'_, '_>, rdata: &mut Vec<u8>) -> Result<(), Fault> {
    let (words, origin) = fields.rest()?;
    let mut octets = [0; MAX_STEERING];
    let length = text::parse(words.into_iter(), &origin, &mut octets)
        .map_err(|error| Fault::syntax(error.to_string()))?;
    rdata.extend_from_slice(&octets[..length]);
    Ok(())
}

/// An entry of a map of clients: the core's own form.
pub(super) fn near(fields: &mut Fields<'_, '_>, rdata: &mut Vec<u8>) -> Result<(), Fault> {
    let (words, _) = fields.rest()?;
    let near = Near::parse(words.into_iter()).map_err(|error| Fault::syntax(error.to_string()))?;
    let mut octets = [0; MAX_NEAR];
    let length = near.write(&mut octets).unwrap_or_default();
    rdata.extend_from_slice(&octets[..length]);
    Ok(())
}

/// Degrees, minutes, seconds and hemisphere, as thousandths of a second of arc around 2^31.
fn angle(fields: &mut Fields<'_, '_>, most: u32, plus: &str, minus: &str) -> Result<u32, Fault> {
    let mut sum = i64::from(fields.number(most)?) * 3_600_000;
    let mut parts = [(59, 60_000, 0), (59_999, 1, 3)].into_iter();
    loop {
        let word = fields.next()?;
        let text = word.plain()?;
        let is_plus = text.eq_ignore_ascii_case(plus);
        if is_plus || text.eq_ignore_ascii_case(minus) {
            let is_small = sum <= i64::from(most) * 3_600_000;
            let sum = if is_plus { MIDDLE + sum } else { MIDDLE - sum };
            let angle = u32::try_from(sum).ok().filter(|_| is_small);
            return angle.ok_or_else(|| bad(&word, &format!("right: over {most} degrees")));
        }
        let expected = || bad(&word, &format!("minutes, seconds, {plus} or {minus}"));
        let (limit, unit, places) = parts.next().ok_or_else(expected)?;
        sum += unit * decimal(text, places).filter(|&number| number <= limit).ok_or_else(expected)?;
    }
}

/// Metres, with or without `m`, in centimetres.
fn centimetres(word: &Word<'_>) -> Result<i64, Fault> {
    let text = word.plain()?;
    let number = text.strip_suffix(['m', 'M']).unwrap_or(text);
    let (sign, number) = number.strip_prefix('-').map_or((1, number), |number| (-1, number));
    decimal(number, 2).map(|number| sign * number).ok_or_else(|| bad(word, "a length in metres"))
}

/// A length as one digit and a power of ten, in centimetres.
fn precision(word: &Word<'_>) -> Result<u8, Fault> {
    let mut mantissa = centimetres(word)?;
    let mut exponent = 0;
    while mantissa > 9 {
        mantissa /= 10;
        exponent += 1;
    }
    if mantissa < 0 || exponent > 9 {
        return Err(bad(word, "a length of at most 90000000m"));
    }
    Ok((mantissa as u8) << 4 | exponent)
}

/// A number with at most `places` digits after its point, times ten to the `places`.
fn decimal(text: &str, places: u32) -> Option<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|octet| octet.is_ascii_digit()) && text.len() <= MOST_DIGITS;
    if whole.is_empty() || !digits(whole) || !digits(part) || part.len() > places as usize {
        return None;
    }
    let whole: i64 = whole.parse().ok()?;
    let part: i64 = format!("{part:0<width$}", width = places.max(1) as usize).parse().ok()?;
    Some(whole * 10_i64.pow(places) + part)
}

/// RFC 3123 section 5: `[!]afi:address/prefix`, any number of them.
pub(super) fn prefixes(fields: &mut Fields<'_, '_>, rdata: &mut Vec<u8>) -> Result<(), Fault> {
    while let Some(word) = fields.next_if(|_| true) {
        let text = word.plain()?;
        let (negation, item) = text.strip_prefix('!').map_or((0, text), |item| (0x80, item));
        let parse = || {
            let (family, rest) = item.split_once(':')?;
            let (address, prefix) = rest.split_once('/')?;
            let prefix: u8 = prefix.parse().ok()?;
            let (most, octets) = match family {
                "1" => (32, address.parse::<Ipv4Addr>().ok()?.octets().to_vec()),
                "2" => (128, address.parse::<Ipv6Addr>().ok()?.octets().to_vec()),
                _ => return None,
            };
            (prefix <= most).then(|| (family.as_bytes()[0] - b'0', prefix, octets))
        };
        let (family, prefix, octets) =
            parse().ok_or_else(|| bad(&word, "a prefix such as 1:192.0.2.0/24"))?;
        let used = octets.iter().rposition(|&octet| octet != 0).map_or(0, |last| last + 1);
        rdata.extend([0, family, prefix, negation | used as u8]);
        rdata.extend(&octets[..used]);
    }
    Ok(())
}

/// RFC 8005 section 5: algorithm, tag in hexadecimal, key in base64, servers.
pub(super) fn host_identity(fields: &mut Fields<'_, '_>, rdata: &mut Vec<u8>) -> Result<(), Fault> {
    let algorithm = fields.number(u8::MAX.into())? as u8;
    let tag = fields.next()?;
    let key = fields.next()?;
    let (tag_octets, key_octets) = (hex(tag.plain()?)?, base64(key.plain()?)?);
    let tag_length = u8::try_from(tag_octets.len()).map_err(|_| bad(&tag, "a tag of at most 255 octets"))?;
    let key_length =
        u16::try_from(key_octets.len()).map_err(|_| bad(&key, "a key of at most 65,535 octets"))?;
    rdata.extend([tag_length, algorithm]);
    rdata.extend(key_length.to_be_bytes());
    rdata.extend(tag_octets);
    rdata.extend(key_octets);
    while !fields.is_empty() {
        fields.name(rdata)?;
    }
    Ok(())
}

/// RFC 8777 section 4.3: precedence, discovery bit, type of relay, relay.
pub(super) fn relay(fields: &mut Fields<'_, '_>, rdata: &mut Vec<u8>) -> Result<(), Fault> {
    rdata.push(fields.number(u8::MAX.into())? as u8);
    let discovery = fields.number(1)? as u8;
    let kind = fields.number(3)? as u8;
    rdata.push(discovery << 7 | kind);
    match kind {
        0 => {
            let word = fields.next()?;
            if word.text != b"." {
                return Err(bad(&word, "a dot, as no relay has"));
            }
        }
        3 => fields.name(rdata)?,
        _ => match fields.parse("an address")? {
            IpAddr::V4(address) if kind == 1 => rdata.extend(address.octets()),
            IpAddr::V6(address) if kind == 2 => rdata.extend(address.octets()),
            address => return Err(Fault::syntax(format!("{address} is not of the type {kind}"))),
        },
    }
    Ok(())
}

/// The equator, and the meridian of Greenwich.
const MIDDLE: i64 = 1 << 31;
/// Altitudes count from here, in centimetres.
const BELOW: i64 = 10_000_000;
/// More than any of the numbers needs, and far from overflow.
const MOST_DIGITS: usize = 12;
