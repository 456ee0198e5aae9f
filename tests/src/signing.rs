//! Signing a zone with BIND's tools, for zones whose signatures have to be fresh.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::{Scratch, binary};

/// How the absence of names is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// NSEC (RFC 4034).
    Nsec,
    /// NSEC3 without salt or iterations (RFC 9276).
    Nsec3,
    /// NSEC3 that leaves insecure delegations out.
    Nsec3OptOut,
}

/// Signs the zone in `file`; returns the signed copy.
#[track_caller]
pub fn sign(scratch: &Scratch, apex: &str, file: &Path, denial: Denial) -> PathBuf {
    let directory = scratch.directory(&format!("signed-{denial:?}"));
    for flag in [&["-f", "KSK"][..], &[]] {
        let mut command = Command::new(binary::required("dnssec-keygen"));
        command.args(["-q", "-a", "ECDSAP256SHA256", "-K"]).arg(&directory).args(flag).arg(apex);
        run(&mut command);
    }
    let signed = directory.join("signed.zone");
    let mut command = Command::new(binary::required("dnssec-signzone"));
    command.args(["-q", "-S", "-P", "-x", "-O", "full", "-o", apex, "-K"]).arg(&directory);
    command.arg("-d").arg(&directory).arg("-f").arg(&signed);
    match denial {
        Denial::Nsec => {}
        Denial::Nsec3 => _ = command.args(["-3", "-", "-H", "0"]),
        Denial::Nsec3OptOut => _ = command.args(["-3", "-", "-H", "0", "-A"]),
    }
    run(command.arg(file));
    signed
}

#[track_caller]
fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}
