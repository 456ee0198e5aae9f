//! A program as a check: exit status 0 means that the service is up.

use std::io;
use std::process::Stdio;

use resolver_core::life::Service;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use super::told;

/// Runs `program` (its path, and arguments) without a shell, in a process group of its own, which does not outlive the check.
/// Its environment is `PATH` and what says which service is meant: ours may hold a password.
pub(super) async fn run(program: &[String], service: &Service<'_>) -> Result<(), String> {
    let [path, arguments @ ..] = program else { return Err("no program".into()) };
    let mut child = Command::new(path)
        .args(arguments)
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .env("FINGERPOST_SERVICE", service.name.as_str())
        .env("FINGERPOST_PORT", service.port.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(told(format_args!("{path} cannot be started")))?;
    // However this ends: what the program started ends with it.
    let group = Group::of(&child);
    let mut said = Said::default();
    let status = wait(&mut child, &mut said).await.map_err(told(path))?;
    drop(group);
    if status.success() { Ok(()) } else { Err(format!("{path}: {status}{}", said.shown())) }
}

/// Until it ends. What it says meanwhile is read, so that it never waits for us.
async fn wait(child: &mut Child, said: &mut Said) -> io::Result<std::process::ExitStatus> {
    let Some(mut stderr) = child.stderr.take() else { return child.wait().await };
    let mut is_open = true;
    loop {
        tokio::select! {
            biased;
            more = said.read(&mut stderr), if is_open => is_open = more,
            status = child.wait() => return status,
        }
    }
}

/// The beginning of what a program says.
#[derive(Default)]
struct Said(Vec<u8>);

impl Said {
    /// False once there is no more.
    async fn read(&mut self, from: &mut (impl AsyncRead + Unpin)) -> bool {
        let mut octets = [0; 512];
        match from.read(&mut octets).await {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                let room = SAID - self.0.len();
                self.0.extend_from_slice(&octets[..count.min(room)]);
                true
            }
        }
    }

    /// Its first line, safe to show.
    fn shown(&self) -> String {
        let text = String::from_utf8_lossy(&self.0);
        match text.lines().next() {
            Some(line) if !line.is_empty() => format!(" ({})", line.escape_debug()),
            _ => String::new(),
        }
    }
}

/// A process group, which ends with this. Its number is not another's as long as something of it is left; where nothing is,
/// the system gave numbers to tens of thousands of processes before it comes to this one again.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        let number = child.id().and_then(|number| i32::try_from(number).ok());
        Self(number.and_then(Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It is gone already, as a rule.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Octets of what a program says that are kept for the log.
const SAID: usize = 200;
