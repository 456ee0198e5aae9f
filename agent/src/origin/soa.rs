//! The serial of an SOA record (RFC 1035 section 3.3.13) and its arithmetic (RFC 1982).

use super::publisher::ChangeBuf;

/// The serial; `None` if it is no SOA RRset of one record.
pub(super) fn serial(soa: &ChangeBuf) -> Option<u32> {
    let mut rdatas = soa.rdatas();
    let rdata = rdatas.next()?;
    let fields = rdata.len().checked_sub(FIXED)?;
    let serial = rdata.get(fields..fields + 4)?;
    rdatas.next().is_none().then_some(u32::from_be_bytes(serial.try_into().ok()?))
}

/// The same SOA with another serial.
pub(super) fn with_serial(soa: &ChangeBuf, serial: u32) -> ChangeBuf {
    let changed = soa.rdatas().next().and_then(|rdata| {
        let mut rdata = rdata.to_vec();
        let fields = rdata.len().checked_sub(FIXED)?;
        rdata[fields..fields + 4].copy_from_slice(&serial.to_be_bytes());
        ChangeBuf::rrset(soa.owner(), soa.rtype(), soa.ttl(), vec![&rdata])
    });
    changed.unwrap_or_else(|| soa.clone())
}

/// The serial after `serial`; 0 is left out, since some take it for "none".
pub(super) fn next(serial: u32) -> u32 {
    serial.wrapping_add(1).max(1)
}

/// Whether `a` comes after `b` (RFC 1982 section 3.2).
pub(super) fn is_after(a: u32, b: u32) -> bool {
    a != b && a.wrapping_sub(b) < 1 << 31
}

/// Serial, refresh, retry, expire and minimum stand after the two names.
const FIXED: usize = 20;
