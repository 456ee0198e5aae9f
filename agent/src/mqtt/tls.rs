//! TLS to the broker.
