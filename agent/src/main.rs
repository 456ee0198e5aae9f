//! The command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    fingerpost::cli::main()
}
