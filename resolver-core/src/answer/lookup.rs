//! The authoritative algorithm: RFC 1034 section 4.3.2, wildcards per RFC 4592, DNAME per RFC 6672, negative
//! answers per RFC 2308, DNSSEC proofs per RFC 4035 section 3.1 and RFC 5155 section 7.2.
