//! Finding the programs under test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The `fingerpost` program: the one that `FINGERPOST_BIN` names, or else a build of this workspace in the same
/// target directory and profile as the running test, made once per process (a moment when it is up to date).
pub fn fingerpost() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| match std::env::var_os("FINGERPOST_BIN") {
        Some(path) => path.into(),
        None => build(),
    })
}

/// A command that runs it.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(fingerpost());
    command.args(arguments);
    command
}

fn build() -> PathBuf {
    let test = std::env::current_exe().unwrap_or_else(|error| panic!("own path: {error}"));
    // target/<profile>/deps/<test> or target/<profile>/<program>
    let mut directory = test.parent().unwrap_or(Path::new("/"));
    if directory.ends_with("deps") {
        directory = directory.parent().unwrap_or(Path::new("/"));
    }
    let profile = match directory.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--quiet", "--package", "fingerpost", "--features", "broker", "--profile", profile])
        .arg("--target-dir")
        .arg(directory.parent().unwrap_or(Path::new("/")))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap_or_else(|error| panic!("cannot run cargo: {error}"));
    assert!(output.status.success(), "building fingerpost:\n{}", String::from_utf8_lossy(&output.stderr));
    directory.join("fingerpost")
}

/// The firmware for the board that QEMU emulates: the image that `FINGERPOST_FIRMWARE` names, or else a build of it as it
/// is shipped, made once per process.
pub fn firmware() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| match std::env::var_os("FINGERPOST_FIRMWARE") {
        Some(path) => path.into(),
        None => build_firmware(),
    })
}

fn build_firmware() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../firmware");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // In its own folder, so that cargo takes the firmware's configuration with the target.
    let output = Command::new(cargo)
        .args(["--config", "shipped.toml", "build", "--quiet", "--profile", "shipped", "--locked"])
        // What that file says is not stable yet.
        .env("RUSTC_BOOTSTRAP", "1")
        .current_dir(&folder)
        .output()
        .unwrap_or_else(|error| panic!("cannot run cargo: {error}"));
    assert!(output.status.success(), "building the firmware:\n{}", String::from_utf8_lossy(&output.stderr));
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(folder.join("target"), |path| folder.join(path));
    target.join("thumbv7em-none-eabihf/shipped/fingerpost-firmware")
}

/// A program of the system, or `None` if it is not installed (also looked for where Debian keeps servers).
pub fn system(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
}

/// A program of the system that the tests cannot do without.
#[track_caller]
pub fn required(name: &str) -> PathBuf {
    system(name)
        .unwrap_or_else(|| panic!("{name} is not installed: `cargo x setup` installs what the tests need"))
}
