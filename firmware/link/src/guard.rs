//! Looks at TLS records before embedded-tls does (RFC 8446 section 5).
//!
//! embedded-tls 0.19 panics at records that anybody on the path can make up: a handshake message in the clear after the
//! handshake, and a protected record without content. Both are refused here, as are records over the buffer, so that
//! the reason can be told.

use embedded_io_async::{Error, ErrorKind, ErrorType, Read};

/// Passes octets on as long as they are records that are in order.
#[derive(Debug)]
pub(super) struct Guard<R> {
    reader: R,
    /// Octets of the largest protected record that there is room for.
    largest: usize,
    header: [u8; HEADER],
    /// Octets of the header that have come.
    known: usize,
    /// Octets of the record's content yet to come.
    rest: usize,
    is_established: bool,
}

impl<R> Guard<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, largest: usize::MAX, header: [0; HEADER], known: 0, rest: 0, is_established: false }
    }

    /// Sets the bound on records.
    pub(super) fn bound(&mut self, largest: usize) {
        self.largest = largest;
    }

    /// The handshake is over: from here on everything is protected.
    pub(super) fn establish(&mut self) {
        self.is_established = true;
    }

    /// `octets` came. Looks at each header, and over contents.
    fn check<E>(&mut self, mut octets: &[u8]) -> Result<(), Refused<E>> {
        while !octets.is_empty() {
            if self.rest > 0 {
                let passed = self.rest.min(octets.len());
                self.rest -= passed;
                octets = &octets[passed..];
                continue;
            }
            self.header[self.known] = octets[0];
            self.known += 1;
            octets = &octets[1..];
            if self.known == HEADER {
                self.known = 0;
                let [kind, _, _, high, low] = self.header;
                self.rest = u16::from_be_bytes([high, low]).into();
                let in_order = match kind {
                    PROTECTED => self.rest >= LEAST_PROTECTED,
                    CHANGE_CIPHER_SPEC..PROTECTED => !self.is_established,
                    _ => false,
                };
                if !in_order {
                    return Err(Refused::Record);
                }
                if self.rest > self.largest {
                    return Err(Refused::TooLarge);
                }
            }
        }
        Ok(())
    }
}

/// Why nothing is passed on.
#[derive(Debug)]
pub(super) enum Refused<E> {
    /// The transport broke.
    Transport(E),
    /// No record that belongs here.
    Record,
    /// A record without room for it.
    TooLarge,
}

impl<E: Error> core::fmt::Display for Refused<E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:?}", self.kind())
    }
}

impl<E: Error> core::error::Error for Refused<E> {}

impl<E: Error> Error for Refused<E> {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Transport(error) => error.kind(),
            Self::Record => ErrorKind::InvalidData,
            Self::TooLarge => ErrorKind::OutOfMemory,
        }
    }
}

impl<R: Read> ErrorType for Guard<R> {
    type Error = Refused<R::Error>;
}

impl<R: Read> Read for Guard<R> {
    async fn read(&mut self, space: &mut [u8]) -> Result<usize, Self::Error> {
        let count = self.reader.read(space).await.map_err(Refused::Transport)?;
        self.check(&space[..count.min(space.len())])?;
        Ok(count)
    }
}

const HEADER: usize = 5;
const CHANGE_CIPHER_SPEC: u8 = 20;
const PROTECTED: u8 = 23;
/// One octet for the inner type, and the tag of AES-GCM.
const LEAST_PROTECTED: usize = 1 + 16;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use core::convert::Infallible;

    use super::*;

    fn check(guard: &mut Guard<()>, octets: &[u8], piece: usize) -> Result<(), Refused<Infallible>> {
        octets.chunks(piece).try_for_each(|octets| guard.check(octets))
    }

    #[test]
    fn records_are_followed_however_they_are_cut() {
        let mut octets = std::vec![22, 3, 3, 0, 3, 1, 2, 3, 20, 3, 3, 0, 1, 1, 23, 3, 3, 0, 17];
        octets.extend([22; 17]);
        let protected = octets[octets.len() - 22..].to_vec();
        let forged = [&protected[..], &[22, 3, 3, 0, 1, 0]].concat();
        for piece in 1..octets.len() {
            let mut guard = Guard::new(());
            guard.bound(17);
            assert!(check(&mut guard, &octets, piece).is_ok(), "{piece}");
            guard.establish();
            assert!(check(&mut guard, &protected, piece).is_ok(), "{piece}");
            assert!(matches!(check(&mut guard, &forged, piece), Err(Refused::Record)), "{piece}");
        }
        let refused = |octets: &[u8]| {
            let mut guard = Guard::new(());
            guard.bound(100);
            check(&mut guard, octets, 1).unwrap_err()
        };
        assert!(matches!(refused(&[23, 3, 3, 0, 16]), Refused::Record));
        assert!(matches!(refused(&[24, 3, 3, 0, 20]), Refused::Record));
        assert!(matches!(refused(&[23, 3, 3, 0, 101]), Refused::TooLarge));
    }
}
