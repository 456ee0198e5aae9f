//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::service::{self, Purpose};
use crate::{keys, node};

/// DNS nodes that follow their records over MQTT.
#[derive(Debug, Parser)]
#[command(
    name = "fingerpost",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "Try it: `fingerpost demo` runs a broker, an origin and a node on loopback and prints what to type \
                  next\n(in builds with `--features broker`). Sample configurations with every key explained are in \
                  config/."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Answer DNS queries from zones followed over MQTT
    Node(Service),
    /// Make an Ed25519 key pair: FILE for the origin, FILE.pub for its nodes
    Keygen {
        /// Where to write the secret key (mode 0600); FILE.pub gets the public one
        file: PathBuf,
    },
    /// Run broker, origin and node on loopback, with a sample zone, and say what to try
    Demo(Demo),
}

#[derive(Debug, Args)]
struct Service {
    /// Configuration file (TOML)
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,
    /// Only say whether the configuration is good, with the key and the remedy where it is not
    #[arg(long)]
    check_config: bool,
}

impl Service {
    fn purpose(&self) -> Purpose {
        if self.check_config { Purpose::Check } else { Purpose::Run }
    }
}

#[derive(Debug, Args)]
struct Demo {
    /// Port for DNS queries; another one is taken if it is in use
    #[arg(long, default_value_t = 5300)]
    port: u16,
    /// End after so many seconds instead of on Ctrl-C
    #[arg(long, value_name = "SECONDS")]
    time: Option<u64>,
}

/// Parses the command line and carries it out.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Node(service) => service::run(&service.config, service.purpose(), node::run),
        Command::Keygen { file } => keygen(&file),
        Command::Demo(demo) => run_demo(&demo),
    }
}

fn keygen(file: &std::path::Path) -> ExitCode {
    match keys::generate(file) {
        Ok((public, key)) => {
            println!("secret key: {} (keep it with the origin)", file.display());
            println!("public key: {} (each node needs it)", public.display());
            println!("            {}", data_encoding::BASE64.encode(key.as_bytes()));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("fingerpost: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(feature = "broker")]
fn run_demo(demo: &Demo) -> ExitCode {
    crate::demo::run(demo.port, demo.time.map(std::time::Duration::from_secs))
}

#[cfg(not(feature = "broker"))]
fn run_demo(_: &Demo) -> ExitCode {
    eprintln!(
        "fingerpost: this build has no broker inside.\n  \
         remedy: cargo run --release --features broker -p fingerpost -- demo"
    );
    ExitCode::FAILURE
}
