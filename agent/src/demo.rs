//! Everything on loopback, to try.
