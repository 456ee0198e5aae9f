//! The fuzz suite. The targets are libFuzzer programs; they are built here by plain cargo with the
//! compiler's coverage instrumentation, so neither a nightly compiler nor cargo-fuzz is needed (both
//! work too: `cargo +nightly fuzz run TARGET`, which adds AddressSanitizer).
//!
//! Each target first runs over its seeds (`resolver-core/fuzz/corpus/TARGET`), which are never
//! written to, then for a bounded time on its own. What it finds on the way is kept in the target
//! directory and used the next time; what makes it fail lands there too and is named.

use std::process::Command;

use crate::error::Error;
use crate::shell::{self, say};
use crate::test::Run;
use crate::workspace;

/// The fuzz targets' manifest: a workspace of its own.
pub(crate) const MANIFEST: &str = "resolver-core/fuzz/Cargo.toml";

/// Builds and runs every target.
pub(crate) fn run_all(run: &mut Run) -> Result<(), Error> {
    let folder = workspace::root().join("resolver-core/fuzz");
    let targets = workspace::stems(&folder.join("fuzz_targets"), "rs");
    if targets.is_empty() {
        run.skip("fuzz targets", "there are none in resolver-core/fuzz/fuzz_targets");
        return Ok(());
    }
    let built = workspace::target_dir().join("fuzz");
    let host = host()?;
    let mut build = shell::cargo(["build", "--release", "--locked", "--manifest-path", MANIFEST]);
    // Naming the target keeps the instrumentation out of build scripts.
    build.args(["--target", &host]).arg("--target-dir").arg(&built);
    build.env("RUSTFLAGS", INSTRUMENTATION.join(" "));
    // A broken assertion or an overflow is what we look for.
    build.env("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "true");
    build.env("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "true");
    if !run.check(&mut build)? {
        return Ok(());
    }
    let seconds = run.fuzz_seconds();
    for target in targets {
        let found = built.join("found").join(&target);
        std::fs::create_dir_all(&found).map_err(|error| {
            Error::new(
                format!("cannot create {}: {error}", found.display()),
                "free some space or correct the folder's rights",
            )
        })?;
        let program = built.join(&host).join("release").join(&target);
        let seeds = folder.join("corpus").join(&target);
        let dictionary = folder.join("dns.dict");
        let mut command = Command::new(&program);
        command.arg(&found);
        if seeds.is_dir() {
            command.arg(&seeds);
        } else {
            run.skip(&format!("seeds of {target}"), "there is no folder of them");
        }
        if dictionary.is_file() {
            command.arg(format!("-dict={}", dictionary.display()));
        }
        // libFuzzer takes 0 for "no limit", and one run for "only the seeds".
        command.arg(if seconds == 0 { "-runs=1".to_owned() } else { format!("-max_total_time={seconds}") });
        command.args([
            "-timeout=10",
            "-rss_limit_mb=2048",
            "-verbosity=0",
            "-print_funcs=0",
            "-print_final_stats=1",
        ]);
        command.arg(format!("-artifact_prefix={}/failed-{target}-", built.display()));
        let output = run.check_quietly(&mut command)?;
        for figure in output.lines().filter_map(|line| line.strip_prefix("stat::number_of_executed_units:")) {
            say(&format!("  {target}: {} inputs", figure.trim()));
        }
    }
    Ok(())
}

/// The compiler's own target.
fn host() -> Result<String, Error> {
    let version = shell::ask(Command::new("rustc").arg("-vV")).unwrap_or_default();
    version.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned).ok_or_else(|| {
        Error::new("rustc does not say its host", "`rustc -vV` has to work: is the toolchain installed?")
    })
}

/// What libFuzzer needs of the compiler: counters on every edge, and the operands of comparisons.
/// One codegen unit, because the counters' tables are otherwise torn apart by the linker.
const INSTRUMENTATION: [&str; 7] = [
    "--cfg fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
];
