//! The encoding of message bodies: postcard's (varints, little-endian base 128; byte arrays behind their
//! length), read strictly and without copying.
//!
//! Written out here instead of derived, because a receiver must not take two encodings of one value for
//! the same (postcard's own reader allows over-long varints), and because lists are read lazily from the
//! message's octets. The tests compare it with the `postcard` crate. What the bodies hold is for
//! [`crate::feed`] and [`crate::life`].

use crate::feed::Digest;
use crate::wire::Malformed;

/// Reads a body from its front.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn octet(&mut self) -> Result<u8, Malformed> {
        let (&first, rest) = self.0.split_first().ok_or(Malformed)?;
        self.0 = rest;
        Ok(first)
    }

    pub(crate) fn octets(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (front, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(front)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.octets(N)?.try_into().map_err(|_| Malformed)
    }

    /// At most 10 octets, shortest form only.
    pub(crate) fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let octet = self.octet()?;
            let bits = u64::from(octet & 0x7F);
            // Of the tenth octet only the lowest bit fits.
            if bits << shift >> shift != bits {
                return Err(Malformed);
            }
            value |= bits << shift;
            if octet & 0x80 == 0 {
                let shortest = octet != 0 || shift == 0;
                return if shortest { Ok(value) } else { Err(Malformed) };
            }
        }
        Err(Malformed)
    }

    pub(crate) fn varint_u32(&mut self) -> Result<u32, Malformed> {
        self.varint()?.try_into().map_err(|_| Malformed)
    }

    pub(crate) fn varint_u16(&mut self) -> Result<u16, Malformed> {
        self.varint()?.try_into().map_err(|_| Malformed)
    }

    /// Zigzag: 0, -1, 1, -2, …
    pub(crate) fn varint_i32(&mut self) -> Result<i32, Malformed> {
        let value = self.varint_u32()?;
        Ok((value >> 1) as i32 ^ -((value & 1) as i32))
    }

    pub(crate) fn digest(&mut self) -> Result<Digest, Malformed> {
        self.array().map(Digest::from_bytes)
    }

    pub(crate) fn byte_array(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.varint_u32()?;
        self.octets(length as usize)
    }

    pub(crate) fn end(self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

/// Writes into a slice; overflow ends as `None`.
pub(crate) struct Writer<'o> {
    out: &'o mut [u8],
    len: usize,
}

impl<'o> Writer<'o> {
    pub(crate) fn new(out: &'o mut [u8]) -> Self {
        Self { out, len: 0 }
    }

    pub(crate) fn octets(&mut self, octets: &[u8]) -> Option<()> {
        let end = self.len.checked_add(octets.len())?;
        self.out.get_mut(self.len..end)?.copy_from_slice(octets);
        self.len = end;
        Some(())
    }

    pub(crate) fn varint(&mut self, mut value: u64) -> Option<()> {
        while value >= 0x80 {
            self.octets(&[value as u8 | 0x80])?;
            value >>= 7;
        }
        self.octets(&[value as u8])
    }

    /// Zigzag; see [`Reader::varint_i32`].
    pub(crate) fn varint_i32(&mut self, value: i32) -> Option<()> {
        self.varint(u64::from((value << 1 ^ value >> 31) as u32))
    }

    pub(crate) fn byte_array(&mut self, octets: &[u8]) -> Option<()> {
        self.varint(octets.len() as u64)?;
        self.octets(octets)
    }

    pub(crate) fn written(&self) -> &[u8] {
        &self.out[..self.len]
    }
}

/// Octets of a varint.
pub(crate) fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}
