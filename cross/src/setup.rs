//! `cargo x setup`: what the suites need of the machine, what of it is missing, and its installation.
//!
//! A need is checked by the program or file that is used, not by a package's name, so that a
//! machine which is no Debian passes too if it has them. Nothing is installed before it is said.

use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use crate::error::Error;
use crate::shell::{self, say};
use crate::suites::Suite::{self, Arm, Boards, E2e, E2eBoard, Fuzz, Qemu, Real};

pub(crate) const HELP: &str = "\
Says what the test suites need and this machine lacks, then installs it: Debian packages with
apt-get (through sudo unless run as root), Rust targets and components with rustup. Servers that come with
the packages are neither started nor enabled: the tests start their own. Run it as often as you like.

Usage: cargo x setup [--dry-run]

  --dry-run   only say what is missing; fails if anything is
";

/// Something that suites need.
struct Need {
    /// A program to be found in PATH, or a file if it starts with a slash.
    provides: &'static str,
    /// The Debian package it comes in.
    package: &'static str,
    suites: &'static [Suite],
}

/// A Rust target that suites build for.
struct TargetNeed {
    target: &'static str,
    suites: &'static [Suite],
}

/// A component of the Rust toolchain.
struct ComponentNeed {
    /// A file of it, below the toolchain's libraries.
    provides: &'static str,
    component: &'static str,
    suites: &'static [Suite],
}

/// Runs the command.
pub(crate) fn run(arguments: &[String]) -> Result<ExitCode, Error> {
    let mut dry = false;
    for argument in arguments {
        match argument.as_str() {
            "--dry-run" => dry = true,
            other => return Err(Error::argument("setup", other)),
        }
    }
    let missing = Missing::of(&Suite::ALL);
    missing.say();
    if missing.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    if dry {
        say("Nothing was installed (--dry-run).");
        return Ok(ExitCode::FAILURE);
    }
    missing.install()?;
    Ok(ExitCode::SUCCESS)
}

/// Installs what `suites` need and the machine lacks.
pub(crate) fn ensure(suites: &[Suite]) -> Result<(), Error> {
    let missing = Missing::of(suites);
    if missing.is_empty() {
        return Ok(());
    }
    missing.say();
    missing.install()
}

/// What is missing.
struct Missing {
    packages: Vec<&'static str>,
    targets: Vec<&'static str>,
    components: Vec<&'static str>,
}

impl Missing {
    fn of(suites: &[Suite]) -> Self {
        let wanted = |by: &[Suite]| by.iter().any(|suite| suites.contains(suite));
        let mut packages: Vec<_> = NEEDS
            .iter()
            .filter(|need| wanted(need.suites) && !is_there(need.provides))
            .map(|need| need.package)
            .collect();
        packages.dedup();
        let library = sysroot_library();
        let targets = TARGETS
            .iter()
            .filter(|need| wanted(need.suites) && !Path::new(&library).join(need.target).join("lib").is_dir())
            .map(|need| need.target)
            .collect();
        let components = COMPONENTS
            .iter()
            .filter(|need| wanted(need.suites) && !Path::new(&library).join(need.provides).exists())
            .map(|need| need.component)
            .collect();
        Self { packages, targets, components }
    }

    fn is_empty(&self) -> bool {
        self.packages.is_empty() && self.targets.is_empty() && self.components.is_empty()
    }

    fn say(&self) {
        if self.is_empty() {
            say("Everything the suites need is here.");
        }
        if !self.packages.is_empty() {
            say(&format!("Missing Debian packages: {}", self.packages.join(" ")));
        }
        if !self.targets.is_empty() {
            say(&format!("Missing Rust targets: {}", self.targets.join(" ")));
        }
        if !self.components.is_empty() {
            say(&format!("Missing Rust components: {}", self.components.join(" ")));
        }
    }

    fn install(&self) -> Result<(), Error> {
        if !self.packages.is_empty() {
            install_packages(&self.packages)?;
        }
        for (what, missing) in [("target", &self.targets), ("component", &self.components)] {
            if missing.is_empty() {
                continue;
            }
            if !shell::run(Command::new("rustup").args([what, "add"]).args(missing))?.success {
                return Err(Error::new(
                    format!("rustup could not add {}", missing.join(" ")),
                    format!("its message above says why; `rustup {what} add` may need the network"),
                ));
            }
        }
        let left = Self::of(&Suite::ALL);
        let left: Vec<_> = self
            .packages
            .iter()
            .filter(|package| left.packages.contains(package))
            .chain(self.targets.iter().filter(|target| left.targets.contains(target)))
            .chain(self.components.iter().filter(|component| left.components.contains(component)))
            .copied()
            .collect();
        if left.is_empty() {
            return Ok(());
        }
        Err(Error::new(
            format!("still missing after installing: {}", left.join(" ")),
            "install these by hand, so that their programs are in PATH",
        ))
    }
}

fn install_packages(packages: &[&str]) -> Result<(), Error> {
    if shell::find("apt-get").is_none() {
        return Err(Error::new(
            format!("this machine has no apt-get to install {}", packages.join(" ")),
            "install what corresponds to these Debian packages by your system's own means",
        ));
    }
    let _quiet = ServicesStayOff::new()?;
    if !shell::run(privileged("apt-get").args(["-q", "update"]))?.success {
        say("! apt-get update failed; trying with the package lists that are here");
    }
    let install = ["-q", "-y", "--no-install-recommends", "install"];
    let finished = shell::run(privileged("apt-get").args(install).args(packages))?;
    if !finished.success {
        return Err(Error::new(
            format!("apt-get could not install {}", packages.join(" ")),
            "its message above says why; install them by hand, then run this again",
        ));
    }
    // Debian enables a server it installs, so the next boot would start it.
    let servers: Vec<_> = SERVERS.iter().filter(|server| packages.contains(server)).collect();
    if !servers.is_empty() && shell::find("systemctl").is_some() {
        let disabled = shell::run(privileged("systemctl").arg("disable").args(&servers));
        if !disabled.is_ok_and(|finished| finished.success) {
            say("! could not disable the servers' units: if this machine runs systemd, disable them by hand");
        }
    }
    Ok(())
}

/// While this lives, Debian's packages do not start the servers they bring: the documented way is
/// a `policy-rc.d` that answers 101, "forbidden". One that stands already is left as it is.
struct ServicesStayOff {
    ours: bool,
}

impl ServicesStayOff {
    fn new() -> Result<Self, Error> {
        if Path::new(POLICY).exists() {
            return Ok(Self { ours: false });
        }
        let failed = |why: &str| {
            Error::new(
                format!("cannot write {POLICY}: {why}"),
                "run `cargo x setup` as root, or install sudo",
            )
        };
        let mut command = privileged("tee");
        let mut child = command
            .arg(POLICY)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| failed(&error.to_string()))?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(b"#!/bin/sh\nexit 101\n").map_err(|error| failed(&error.to_string()))?;
        }
        let written = child.wait().is_ok_and(|status| status.success());
        let executable = || shell::ask(privileged("chmod").args(["755", POLICY])).is_some();
        if written && executable() { Ok(Self { ours: true }) } else { Err(failed("see above")) }
    }
}

impl Drop for ServicesStayOff {
    fn drop(&mut self) {
        if self.ours && shell::ask(privileged("rm").arg(POLICY)).is_none() {
            say(&format!("! could not remove {POLICY}: delete it, or no package will start its server"));
        }
    }
}

/// `program` as root, without questions.
fn privileged(program: &str) -> Command {
    let root = shell::ask(Command::new("id").arg("-u")).is_some_and(|id| id.trim() == "0");
    let mut command = if root { Command::new("env") } else { Command::new("sudo") };
    if !root {
        command.arg("env");
    }
    command.args(["DEBIAN_FRONTEND=noninteractive", program]);
    command
}

fn is_there(provides: &str) -> bool {
    if provides.starts_with('/') { Path::new(provides).exists() } else { shell::find(provides).is_some() }
}

/// The folder in which the toolchain keeps a folder per target.
fn sysroot_library() -> String {
    let sysroot = shell::ask(Command::new("rustc").args(["--print", "sysroot"])).unwrap_or_default();
    format!("{}/lib/rustlib", sysroot.trim())
}

/// Asked by Debian's packages before they start a service.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Packages whose unit of the same name must stay off.
const SERVERS: [&str; 3] = ["mosquitto", "nsd", "knot"];

/// Needs of one package stand side by side.
const NEEDS: [Need; 20] = [
    Need { provides: "mosquitto", package: "mosquitto", suites: &[E2e, E2eBoard, Qemu, Real] },
    Need { provides: "openssl", package: "openssl", suites: &[E2e] },
    Need { provides: "mosquitto_sub", package: "mosquitto-clients", suites: &[E2e, Real] },
    Need { provides: "dig", package: "bind9-dnsutils", suites: &[E2e, Real] },
    Need { provides: "nsupdate", package: "bind9-dnsutils", suites: &[E2e, E2eBoard, Real] },
    Need { provides: "dnssec-signzone", package: "bind9-utils", suites: &[E2e, Qemu, Real] },
    Need { provides: "nsd", package: "nsd", suites: &[E2e, Qemu, Real] },
    Need { provides: "knotd", package: "knot", suites: &[E2e, Real] },
    Need { provides: "xz", package: "xz-utils", suites: &[Real] },
    Need { provides: "ip", package: "iproute2", suites: &[E2e] },
    Need { provides: "valgrind", package: "valgrind", suites: &[E2e] },
    Need { provides: "qemu-aarch64", package: "qemu-user", suites: &[Arm] },
    Need { provides: "qemu-aarch64-static", package: "qemu-user-static", suites: &[Arm] },
    Need { provides: "aarch64-linux-gnu-gcc", package: "gcc-aarch64-linux-gnu", suites: &[Arm] },
    Need { provides: "arm-linux-gnueabihf-gcc", package: "gcc-arm-linux-gnueabihf", suites: &[Arm] },
    Need {
        provides: "/usr/aarch64-linux-gnu/include/stdio.h",
        package: "libc6-dev-arm64-cross",
        suites: &[Arm],
    },
    Need {
        provides: "/usr/arm-linux-gnueabihf/include/stdio.h",
        package: "libc6-dev-armhf-cross",
        suites: &[Arm],
    },
    Need { provides: "qemu-system-arm", package: "qemu-system-arm", suites: &[E2eBoard, Qemu] },
    Need { provides: "addr2line", package: "binutils", suites: &[Qemu] },
    Need { provides: "c++", package: "g++", suites: &[Fuzz] },
];

const TARGETS: [TargetNeed; 6] = [
    TargetNeed { target: "aarch64-unknown-linux-musl", suites: &[Arm] },
    TargetNeed { target: "armv7-unknown-linux-gnueabihf", suites: &[Arm] },
    TargetNeed { target: "thumbv6m-none-eabi", suites: &[Boards] },
    TargetNeed { target: "thumbv7em-none-eabihf", suites: &[Boards, E2eBoard, Qemu] },
    TargetNeed { target: "thumbv7m-none-eabi", suites: &[Boards, Qemu] },
    TargetNeed { target: "thumbv8m.main-none-eabihf", suites: &[Boards] },
];

const COMPONENTS: [ComponentNeed; 1] =
    [ComponentNeed { provides: "src/rust/library/core", component: "rust-src", suites: &[Boards, Qemu] }];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_programs_are_found_by_what_they_are() {
        assert!(is_there("sh") && is_there("/"));
        assert!(!is_there("no-such-program-anywhere") && !is_there("/no/such/file"));
    }

    #[test]
    fn needs_of_other_suites_do_not_count() {
        assert!(Missing::of(&[Suite::Lint]).is_empty());
    }

    #[test]
    fn the_toolchain_is_where_targets_are_looked_for() {
        assert!(Path::new(&sysroot_library()).is_dir());
    }
}
