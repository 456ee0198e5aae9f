//! Fingerpost on Linux.
