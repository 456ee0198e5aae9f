//! Lists in a body, checked once and read lazily.

use core::fmt;

use crate::codec::Reader;
use crate::wire::Malformed;

/// A checked list; iterating cannot fail.
pub struct List<'a, T> {
    body: &'a [u8],
    count: u32,
    read: Read<'a, T>,
}

pub(super) type Read<'a, T> = fn(&mut Reader<'a>) -> Result<T, Malformed>;

impl<'a, T> List<'a, T> {
    /// Takes a count and as many items, at most `most`, each of which `follows` the one before.
    pub(super) fn take(
        reader: &mut Reader<'a>,
        most: u32,
        read: Read<'a, T>,
        follows: fn(&T, &T) -> bool,
    ) -> Result<Self, Malformed> {
        let count = reader.varint_u32()?;
        if count > most {
            return Err(Malformed);
        }
        let start = reader.0;
        let mut last = None;
        // Each item takes octets, so a count beyond the body ends in an error soon.
        for _ in 0..count {
            let item = read(reader)?;
            if last.is_some_and(|last| !follows(&last, &item)) {
                return Err(Malformed);
            }
            last = Some(item);
        }
        let body = &start[..start.len() - reader.0.len()];
        Ok(Self { body, count, read })
    }

    /// How many are left.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl<T> Iterator for List<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.count = self.count.checked_sub(1)?;
        let mut reader = Reader(self.body);
        // Checked when the list was made, so this never ends the iteration early.
        let item = (self.read)(&mut reader).ok()?;
        self.body = reader.0;
        Some(item)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}

impl<T> ExactSizeIterator for List<'_, T> {}

impl<T> Clone for List<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for List<'_, T> {}

impl<T: fmt::Debug> fmt::Debug for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(*self).finish()
    }
}
