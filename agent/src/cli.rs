//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use resolver_core::wire::{Name, NameError};

use crate::service::{self, Purpose};
use crate::{keys, node, origin, provision};

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
    /// Publish zones: take zone files and updates, make them durable, feed the nodes
    Origin(Service),
    /// Have a running origin take over changed zone files
    Reload(Reload),
    /// Have a running origin begin a new epoch of a zone: every node takes the whole zone anew
    NewEpoch(NewEpoch),
    /// Make an Ed25519 key pair: FILE for the origin, FILE.pub for its nodes
    Keygen {
        /// Where to write the secret key (mode 0600); FILE.pub gets the public one
        file: PathBuf,
    },
    /// Make the configuration block of a board, or show one
    Provision(Provision),
    /// Run broker, origin and node on loopback, with a sample zone, and say what to try
    Demo(Demo),
    /// Run the broker alone, on loopback and in memory, to try things out; it is not meant to serve a fleet
    Broker {
        /// Port to listen on
        #[arg(long, default_value_t = 1883)]
        port: u16,
    },
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
struct Reload {
    /// The origin's configuration file
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,
    /// Take a file without SOA or NS records too: these stay, all else goes
    #[arg(long)]
    force: bool,
    /// The zone; all of them without it
    zone: Option<String>,
}

#[derive(Debug, Args)]
struct NewEpoch {
    /// The origin's configuration file
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,
    /// The zone
    zone: String,
    /// The epoch's number, higher than all before: where nodes have a higher one than the time in seconds, which is taken else
    #[arg(long, value_name = "NUMBER")]
    epoch: Option<u32>,
}

#[derive(Debug, Args)]
struct Provision {
    /// The board's configuration file (TOML)
    #[arg(long, short, value_name = "FILE", required_unless_present = "show")]
    config: Option<PathBuf>,
    /// Write the block to this file (mode 0600)
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write the block to its place in this image of the board's flash, which is made if need be
    #[arg(long, value_name = "FILE", requires = "board")]
    into: Option<PathBuf>,
    /// Which board: mps2-an386, nucleo-h743zi or w5500-evb-pico2
    #[arg(long, value_name = "NAME")]
    board: Option<String>,
    /// Write over the block of another node, or over what is no block
    #[arg(long)]
    force: bool,
    /// Show a block, or with --board the one in an image of its flash; secrets are left out
    #[arg(long, value_name = "FILE", conflicts_with_all = ["config", "output", "into", "force"])]
    show: Option<PathBuf>,
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
        Command::Origin(service) => service::run(&service.config, service.purpose(), origin::run),
        Command::Reload(Reload { config, force, zone }) => {
            let zone = zone.as_deref().map(str::parse).transpose();
            order(&config, zone.map(|zone| origin::Request::Reload { zone, forced: force }))
        }
        Command::NewEpoch(NewEpoch { config, zone, epoch }) => {
            order(&config, zone.parse().map(|zone| origin::Request::BeginEpoch { zone, epoch }))
        }
        Command::Keygen { file } => keygen(&file),
        Command::Provision(order) => provision(&order),
        Command::Demo(demo) => run_demo(&demo),
        Command::Broker { port } => run_broker(port),
    }
}

/// Gives an order to the origin that runs with the configuration file `path`.
fn order(path: &std::path::Path, order: Result<origin::Request, NameError>) -> ExitCode {
    let outcome = order.map_err(|error| format!("ZONE: {error}")).and_then(|order| {
        let outline = origin::Outline::load(path).map_err(|error| error.to_string())?;
        let directory = outline.state_dir().unwrap_or_default();
        let outcome = origin::request(&directory, &order).map_err(|error| {
            let path = directory.display();
            format!(
                "no origin listens in {path}: {error}\n  remedy: start it, run this command as its user, or set state_dir to the directory that it uses"
            )
        })?;
        let unknown = unknown(outline.zones(), &order, &outcome);
        outcome.map(|text| text + &unknown).map_err(|text| text + &unknown)
    });
    match outcome {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(text) => {
            eprintln!("fingerpost: {text}");
            ExitCode::FAILURE
        }
    }
}

/// What to say of zones that the file has and the running origin, which answered a reload, has not.
fn unknown(
    zones: impl Iterator<Item = Name>,
    order: &origin::Request,
    outcome: &Result<String, String>,
) -> String {
    let origin::Request::Reload { zone: asked, .. } = order else { return String::new() };
    let (Ok(answer) | Err(answer)) = outcome;
    let is_told = |apex: &Name| answer.lines().any(|line| line.starts_with(&format!("{apex}: ")));
    zones
        .filter(|apex| asked.as_ref().is_none_or(|asked| asked == apex) && !is_told(apex))
        .map(|apex| format!("\n{apex}: the running origin does not have it; restart the origin to add it"))
        .collect()
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

fn provision(order: &Provision) -> ExitCode {
    let Provision { config, output, into, board, force, show } = order;
    let outcome = provision::board(board.as_deref()).and_then(|board| match (show, config) {
        (Some(file), _) => provision::show(file, board),
        (None, Some(config)) => {
            let existing = if *force { provision::Existing::Replace } else { provision::Existing::Keep };
            provision::write(config, output.as_deref(), into.as_deref(), board, existing)
        }
        (None, None) => Ok(String::new()),
    });
    match outcome {
        Ok(text) => {
            print!("{text}");
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

#[cfg(feature = "broker")]
fn run_broker(port: u16) -> ExitCode {
    crate::broker::run(port)
}

#[cfg(not(feature = "broker"))]
fn run_demo(_: &Demo) -> ExitCode {
    without_broker("demo")
}

#[cfg(not(feature = "broker"))]
fn run_broker(_: u16) -> ExitCode {
    without_broker("broker")
}

#[cfg(not(feature = "broker"))]
fn without_broker(command: &str) -> ExitCode {
    eprintln!(
        "fingerpost: this build has no broker inside.\n  \
         remedy: cargo run --release --features broker -p fingerpost -- {command}"
    );
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_zone_that_only_the_file_has_is_told() {
        let zones = || ["old.example", "new.example"].map(|name| name.parse::<Name>().unwrap()).into_iter();
        let order = |zone: Option<&str>| origin::Request::Reload {
            zone: zone.map(|zone| zone.parse().unwrap()),
            forced: false,
        };
        let done = Ok("old.example.: 2 RRsets changed".to_owned());
        let told = unknown(zones(), &order(None), &done);
        assert!(told.starts_with("\nnew.example.: ") && told.contains("restart"), "{told}");
        assert_eq!(unknown(zones(), &order(Some("old.example")), &done), "");
        let refused = Err("no zone new.example. here".to_owned());
        assert!(unknown(zones(), &order(Some("new.example")), &refused).contains("restart"));
    }
}
