//! The node on Linux.
