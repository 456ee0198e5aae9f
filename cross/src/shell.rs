//! Starting programs: announced, timed, their output passed on as it comes. The one place where
//! the tool touches other processes.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::workspace;

/// How long a program may say nothing new before we say that it still runs: long enough not to
/// clutter a log, short enough that nobody takes it for hung.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// What became of a program.
pub(crate) struct Finished {
    /// Whether it ended with code 0.
    pub(crate) success: bool,
    /// What it wrote to standard output.
    pub(crate) output: String,
}

/// `cargo` in the repository's root, the same one that started us.
pub(crate) fn cargo<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(workspace::root());
    // What `cargo run` told us about ourselves is not true of what we start, and build scripts that
    // watch these variables would be rerun each time somebody alternates between `cargo` and `cargo x`.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let ours = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
        if ours.iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(name.as_ref());
        }
    }
    command
}

/// Runs `command` to its end: announces it, passes its output on, says now and then that it still
/// runs, and says how long it took.
pub(crate) fn run(command: &mut Command) -> Result<Finished, Error> {
    say(&format!("▶ {}", describe(command)));
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| cannot_start(command, &error))?;

    let (ended, heartbeat_end) = mpsc::channel::<()>();
    let heartbeat = std::thread::spawn(move || {
        while let Err(mpsc::RecvTimeoutError::Timeout) = heartbeat_end.recv_timeout(HEARTBEAT) {
            say(&format!("  … {} so far", seconds(start.elapsed())));
        }
    });
    let mut output = String::new();
    if let Some(stdout) = child.stdout.take() {
        pass_on(BufReader::new(stdout), &mut output);
    }
    let status = child.wait().map_err(|error| cannot_start(command, &error))?;
    drop(ended);
    let _ = heartbeat.join();

    conclude(command, status, start);
    Ok(Finished { success: status.success(), output })
}

/// Runs `command` to its end, announced and timed, and keeps what it says to itself.
pub(crate) fn run_quietly(command: &mut Command) -> Result<Finished, Error> {
    say(&format!("▶ {}", describe(command)));
    let start = Instant::now();
    let output = command.stdin(Stdio::null()).output().map_err(|error| cannot_start(command, &error))?;
    conclude(command, output.status, start);
    let text = [output.stdout, output.stderr].concat();
    Ok(Finished { success: output.status.success(), output: String::from_utf8_lossy(&text).into_owned() })
}

/// Runs `command` silently and returns its standard output, `None` if it failed or does not exist.
pub(crate) fn ask(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Looks `program` up where commands lie, system administration's folders included (Debian leaves
/// them out of a user's PATH).
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

/// A time as people read it.
pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// One line of our own on standard output.
pub(crate) fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    // A reader that went away is no reason to stop working.
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

/// Copies what `from` says to standard output as it comes, and keeps it.
fn pass_on(mut from: impl BufRead, kept: &mut String) {
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        kept.push_str(&String::from_utf8_lossy(&line));
        let mut stdout = std::io::stdout().lock();
        let _ = stdout.write_all(&line).and_then(|()| stdout.flush());
        line.clear();
    }
}

/// Says how a program ended and how long it took.
fn conclude(command: &Command, status: ExitStatus, start: Instant) {
    let verdict = if status.success() { "✔" } else { "✘" };
    say(&format!("{verdict} {}: {status}, {}", describe(command), seconds(start.elapsed())));
}

/// A command line as one would type it.
fn describe(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut words = vec![program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|argument| argument.to_string_lossy().into_owned()));
    words.join(" ")
}

fn cannot_start(command: &Command, error: &std::io::Error) -> Error {
    let program = command.get_program().to_string_lossy().into_owned();
    Error::new(format!("cannot run {program}: {error}"), "`cargo x setup` installs what is missing")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_is_told_from_one_that_works() -> Result<(), Error> {
        let finished = run(Command::new("sh").args(["-c", "echo one; echo two; exit 3"]))?;
        assert!(!finished.success);
        assert_eq!(finished.output, "one\ntwo\n");
        assert!(run(&mut Command::new("true"))?.success);
        Ok(())
    }

    #[test]
    fn a_program_that_does_not_exist_is_an_error_with_a_remedy() {
        let error = run(&mut Command::new("no-such-program-anywhere")).err().map(|error| error.to_string());
        assert!(error.is_some_and(|text| text.contains("cargo x setup")));
        assert!(find("no-such-program-anywhere").is_none());
    }
}
