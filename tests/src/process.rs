//! Child processes that do not outlive their test.

use std::fs::OpenOptions;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

use crate::wait::eventually;

/// A running program whose output is appended to a log. Killed on drop, and by the kernel if the test
/// process itself is killed.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with standard output and error going to the file `log`.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Self {
        let open = || OpenOptions::new().create(true).append(true).open(log);
        let output = open().unwrap_or_else(|error| panic!("{}: {error}", log.display()));
        let errors = open().unwrap_or_else(|error| panic!("{}: {error}", log.display()));
        command.stdout(output).stderr(errors);
        Self::spawn(name, command, log)
    }

    /// Starts `command` with standard output and error going to pipes whose readers are gone.
    pub fn start_unheard(name: &str, command: &mut Command, log: &Path) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Self::spawn(name, command, log);
        drop((process.child.stdout.take(), process.child.stderr.take()));
        process
    }

    fn spawn(name: &str, command: &mut Command, log: &Path) -> Self {
        command.stdin(Stdio::null());
        // SAFETY: between fork and exec the child makes one system call, which is async-signal-safe.
        // The signal is tied to the thread that started the child; tests start children from threads which
        // outlive them.
        unsafe {
            command.pre_exec(|| {
                set_parent_process_death_signal(Some(Signal::KILL))?;
                Ok(())
            });
        }
        let child =
            command.spawn().unwrap_or_else(|error| panic!("cannot start {name} ({command:?}): {error}"));
        Self { name: name.to_owned(), child, log: log.to_owned() }
    }

    /// Its process number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote so far, over all its lives.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Panics if it ended.
    #[track_caller]
    pub fn assert_running(&mut self) {
        if let Ok(Some(status)) = self.child.try_wait() {
            panic!("{} ended: {status}", self.name);
        }
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// SIGKILL, and waits for its end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }

    /// SIGTERM, and waits for its end.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait_for_end()
    }

    /// Waits until it ends by itself.
    #[track_caller]
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let name = self.name.clone();
        eventually(&format!("{name} ends"), || self.child.try_wait().ok().flatten())
    }

    /// User and system time used so far, in clock ticks of 10 ms.
    pub fn cpu_ticks(&self) -> u64 {
        cpu_ticks(self.id())
    }

    /// The same of all processes that it started, directly or not, and itself.
    pub fn cpu_ticks_with_children(&self) -> u64 {
        let mut ticks = 0;
        let mut family = vec![self.id()];
        while let Some(id) = family.pop() {
            ticks += cpu_ticks(id);
            let children =
                std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
            family.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
        ticks
    }

    /// A line of /proc/PID/status that is in kilobytes, such as `VmRSS`, in octets.
    pub fn memory(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap_or_default();
        status
            .lines()
            .find_map(|line| {
                line.strip_prefix(field)?.strip_prefix(':')?.trim().strip_suffix(" kB")?.parse::<u64>().ok()
            })
            .unwrap_or_default()
            * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn cpu_ticks(id: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    // The second field is the name in parentheses and may hold spaces; utime and stime are fields 14 and 15.
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}
