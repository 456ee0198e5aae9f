//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::{ArgGroup, Args, Parser, Subcommand};
use resolver_core::life::Order;
use resolver_core::wire::{Name, NameError};

use crate::enrolment::{self, Allowed};
use crate::service::{self, Purpose};
use crate::{explain, home_assistant, keys, node, orders, origin, provision, status};

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
    /// Make an Ed25519 key pair, for a zone's origin, a node or an operator: FILE for its owner, FILE.pub for all others
    Keygen {
        /// Where to write the secret key (mode 0600); FILE.pub gets the public one
        file: PathBuf,
    },
    /// Sign a node's certificate with an operator's key
    Enroll(Enroll),
    /// Give a node's services no new clients, and keep those that they have
    #[command(after_help = ORDERS_HELP)]
    Drain(Timed),
    /// End a drain
    #[command(after_help = ORDERS_HELP)]
    Undrain(Ordered),
    /// Use a node's services no more, whatever their checks find
    #[command(after_help = ORDERS_HELP)]
    Disable(Timed),
    /// End what `disable` or `force-up` ordered: checks decide again
    #[command(after_help = ORDERS_HELP)]
    Enable(Ordered),
    /// Use a node's services whatever their checks find
    #[command(after_help = ORDERS_HELP)]
    ForceUp(Timed),
    /// Revoke a node's certificate: whatever it signs is believed no more
    Revoke(Revoke),
    /// Show every node of the fleet: whether it is up, and how far each zone lags behind
    Status(Status),
    /// Have the fleet show up in Home Assistant by itself (MQTT discovery)
    HomeAssistant(HomeAssistant),
    /// Say why a running node answers a query for a steered name as it does
    Explain(Explain),
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
    /// Take a number too that is more than ten years ahead of the clock: no later one can be lower
    #[arg(long, requires = "epoch")]
    force: bool,
}

#[derive(Debug, Args)]
struct Provision {
    /// The board's configuration file (TOML)
    #[arg(long, short, value_name = "FILE", required_unless_present = "show")]
    config: Option<PathBuf>,
    /// Write the block to this file (mode 0600)
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write the block to its place in this image of the board's storage, which is made if need be
    #[arg(long, value_name = "FILE", requires = "board")]
    into: Option<PathBuf>,
    /// Which board: mps2-an386, mps2-an385, stm32h743-nucleo or w5500-evb-pico2
    #[arg(long, value_name = "NAME")]
    board: Option<String>,
    /// Write over the block of another node, or over what is no block
    #[arg(long)]
    force: bool,
    /// Show a block, or with --board the one in an image of its storage; secrets are left out
    #[arg(long, value_name = "FILE", conflicts_with_all = ["config", "output", "into", "force"])]
    show: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("place").required(true))]
struct Enroll {
    /// The node's public key: the .pub file that `fingerpost keygen` wrote
    #[arg(value_name = "NODE.key.pub")]
    key: PathBuf,
    /// The operator's secret key
    #[arg(long, value_name = "FILE")]
    operator_key: PathBuf,
    /// The node's name
    #[arg(long)]
    name: String,
    /// A region that it may be in; may be given several times
    #[arg(long = "region", value_name = "REGION", group = "place")]
    regions: Vec<String>,
    /// It may be in any region
    #[arg(long, group = "place")]
    any_region: bool,
    /// A service that it may offer; may be given several times
    #[arg(long = "service", value_name = "SERVICE")]
    services: Vec<String>,
    /// It may offer any service
    #[arg(long, conflicts_with = "services")]
    any_service: bool,
    /// Days until the certificate expires; never without it
    #[arg(long, value_name = "DAYS")]
    expires: Option<u32>,
    /// Where to write the certificate
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

#[derive(Debug, Args)]
struct Ordered {
    /// The node's name
    node: String,
    /// Only this service; may be given several times
    #[arg(long = "service", value_name = "SERVICE")]
    services: Vec<String>,
    #[command(flatten)]
    authority: Authority,
    /// Give the order although the node or service is not known, or what stands at the broker cannot be believed
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
struct Timed {
    #[command(flatten)]
    ordered: Ordered,
    /// Until then: a time in UTC such as 2030-12-24T18:00Z, or a span such as 90m, 2h or 3d; for good without it
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

#[derive(Debug, Args)]
struct Authority {
    /// A configuration file with a [broker] section: a node's or an origin's
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,
    /// The operator's secret key
    #[arg(long, value_name = "FILE")]
    operator_key: PathBuf,
    /// Another operator's public key (.pub file or its base64), besides those of [enrolment]; may be given several times
    #[arg(long = "operator", value_name = "KEY")]
    operators: Vec<String>,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true))]
struct Revoke {
    /// The node, whose last certificate at the broker is revoked
    #[arg(group = "which")]
    node: Option<String>,
    /// The certificate in this file
    #[arg(long, value_name = "FILE", group = "which")]
    certificate: Option<PathBuf>,
    /// The certificate with this serial number
    #[arg(long, value_name = "NUMBER", group = "which")]
    serial: Option<u64>,
    #[command(flatten)]
    authority: Authority,
    /// Publish a new list although the one at the broker cannot be believed
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
struct Status {
    /// A configuration file with a [broker] section and the zones' keys: a node's or an origin's
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,
    /// An operator's public key (.pub file or its base64), besides those of [enrolment]; may be given several times
    #[arg(long = "operator", value_name = "KEY")]
    operators: Vec<String>,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// Draw it again whenever something changed, until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// Wait at most so many seconds for reports that the broker does not have yet; they come at least every 80 s
    #[arg(long, value_name = "SECONDS", default_value_t = 10, conflicts_with = "watch")]
    wait: u32,
}

#[derive(Debug, Args)]
struct HomeAssistant {
    /// A configuration file with a [broker] section and the zones' keys: a node's or an origin's
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,
    /// An operator's public key (.pub file or its base64), besides those of [enrolment]; may be given several times
    #[arg(long = "operator", value_name = "KEY")]
    operators: Vec<String>,
    /// What discovery topics begin with, as Home Assistant's MQTT integration has it
    #[arg(long, value_name = "TOPIC", default_value = "homeassistant")]
    prefix: String,
}

#[derive(Debug, Args)]
struct Explain {
    /// The node's configuration file
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,
    /// The name that is asked for
    name: String,
    /// The type: A, AAAA, SRV, SVCB or HTTPS
    #[arg(value_name = "TYPE")]
    rtype: String,
    /// Where the query would come from, or the network of its EDNS Client Subnet (192.0.2.0/24); the node's own machine
    /// without it
    #[arg(long, value_name = "ADDRESS[/PREFIX]")]
    client: Option<node::Asker>,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
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
        Command::NewEpoch(NewEpoch { config, zone, epoch, force }) => {
            let request = |zone| origin::Request::BeginEpoch { zone, epoch, forced: force };
            order(&config, zone.parse().map(request))
        }
        Command::Keygen { file } => keygen(&file),
        Command::Provision(order) => provision(&order),
        Command::Enroll(enroll) => tell(enrol(&enroll)),
        Command::Drain(timed) => set(&timed, Order::Drain),
        Command::Undrain(ordered) => give(&ordered, orders::Wish::End(&[Order::Drain]), None),
        Command::Disable(timed) => set(&timed, Order::Disable),
        Command::Enable(ordered) => {
            give(&ordered, orders::Wish::End(&[Order::Disable, Order::ForceUp]), None)
        }
        Command::ForceUp(timed) => set(&timed, Order::ForceUp),
        Command::Revoke(revoke) => tell(revoked(&revoke)),
        Command::Explain(Explain { config, name, rtype, client, json }) => {
            let question = explain::Question { config: &config, name: &name, rtype: &rtype, client, json };
            tell(explain::run(&question))
        }
        Command::Status(Status { config, operators, json, watch, wait }) => status::run(&status::Question {
            config: &config,
            operators: &operators,
            form: if json { status::Form::Json } else { status::Form::Table },
            duration: if watch {
                status::Duration::Watch
            } else {
                status::Duration::Once(std::time::Duration::from_secs(wait.into()))
            },
        }),
        Command::HomeAssistant(HomeAssistant { config, operators, prefix }) => {
            let question =
                home_assistant::Question { config: &config, operators: &operators, prefix: &prefix };
            home_assistant::run(&question)
        }
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
    tell(outcome)
}

fn set(timed: &Timed, order: Order) -> ExitCode {
    give(&timed.ordered, orders::Wish::Set { order, until: 0 }, timed.until.as_deref())
}

fn give(ordered: &Ordered, wish: orders::Wish, until: Option<&str>) -> ExitCode {
    let Ordered { node, services, authority, force } = ordered;
    tell(orders::give(&orders::Command {
        authority: authority.as_given(),
        node,
        services,
        wish,
        until,
        doubts: doubts(*force),
    }))
}

fn revoked(revoke: &Revoke) -> Result<String, String> {
    let Revoke { node, certificate, serial, authority, force } = revoke;
    let certificate = match (node, certificate, serial) {
        (Some(node), _, _) => orders::Which::Of(node),
        (_, Some(file), _) => orders::Which::File(file),
        (_, _, serial) => orders::Which::Serial(serial.unwrap_or_default()),
    };
    orders::revoke(&orders::Revoke { authority: authority.as_given(), certificate, doubts: doubts(*force) })
}

fn doubts(force: bool) -> orders::Doubts {
    if force { orders::Doubts::Force } else { orders::Doubts::Stop }
}

impl Authority {
    fn as_given(&self) -> orders::Authority<'_> {
        let Self { config, operator_key, operators } = self;
        orders::Authority { config, operator_key, operators }
    }
}

fn tell(outcome: Result<String, String>) -> ExitCode {
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

fn enrol(enroll: &Enroll) -> Result<String, String> {
    let operator =
        keys::load_secret(&enroll.operator_key).map_err(|error| format!("--operator-key: {error}"))?;
    let key = keys::load_public(&enroll.key).map_err(|error| error.to_string())?;
    if key == operator.verifying_key() {
        return Err(format!(
            "{} is the operator's own key\n  remedy: make another one for the node with `fingerpost keygen`",
            enroll.key.display()
        ));
    }
    if enroll.expires == Some(0) {
        return Err("--expires 0: the certificate would never hold\n  remedy: give at least one day, or leave it out for one that never expires".into());
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let allowed = Allowed {
        node: &enroll.name,
        key: &key,
        regions: (!enroll.any_region).then_some(&enroll.regions),
        services: (!enroll.any_service).then_some(&enroll.services),
        serial: now.as_millis() as u64,
        not_before: now.as_secs().saturating_sub(CLOCK_GRACE),
        expiry: enroll.expires.map_or(0, |days| now.as_secs() + u64::from(days) * 86_400),
    };
    let certificate = enrolment::issue(&operator, &allowed).map_err(|error| error.to_string())?;
    enrolment::write(&enroll.output, &certificate).map_err(|error| error.to_string())?;
    Ok(format!(
        "certificate: {} (serial {}, {}; the node's [enrolment] names it, beside the node's key)",
        enroll.output.display(),
        allowed.serial,
        enrolment::expiry(allowed.expiry)
    ))
}

fn keygen(file: &std::path::Path) -> ExitCode {
    match keys::generate(file) {
        Ok((public, key)) => {
            println!("secret key: {} (keep it where it is used, and nowhere else)", file.display());
            println!("public key: {} (for those who check what the other one signs)", public.display());
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

/// Of what orders have in common.
const ORDERS_HELP: &str = "An order is retained at the broker, signed, and all nodes go by it, also while the node itself is gone.\n\
    It takes the place of an earlier one for the same service; what is said of a service goes before what is said of \
    all.\nExample: fingerpost drain gateway-1 --service web --until 2h --config node.toml --operator-key operator.key";

/// A certificate holds from a little before it was made: clocks differ, by seconds as a rule.
const CLOCK_GRACE: u64 = 3_600;

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
