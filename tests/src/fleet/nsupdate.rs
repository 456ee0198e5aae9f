//! The real `nsupdate`.

use std::io::Write;
use std::process::{Command, Stdio};

use super::{Origin, Zone};
use crate::{Scratch, binary};

/// Runs it with a script for `zone`; `Err` is what it printed.
#[track_caller]
pub fn nsupdate(scratch: &Scratch, origin: &Origin, zone: &Zone, script: &str) -> Result<(), String> {
    let key = zone.tsig();
    let key_file = scratch.file(
        "update.key",
        format!("key \"{}\" {{ algorithm hmac-sha256; secret \"{}\"; }};\n", key.name, key.base64()),
    );
    let mut command = Command::new(binary::required("nsupdate"));
    command.arg("-k").arg(key_file).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let address = origin.update_address();
    let script = format!("server {} {}\nzone {}\n{script}send\n", address.ip(), address.port(), zone.apex());
    let mut run = || {
        let mut child = command.spawn()?;
        if let Some(mut input) = child.stdin.take() {
            input.write_all(script.as_bytes())?;
        }
        child.wait_with_output()
    };
    let output = run().unwrap_or_else(|error| panic!("nsupdate: {error}"));
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}
