//! `fingerpost status`: what the broker tells of the whole fleet.
//!
//! It only reads: births and ends (retained), beacons as they come, orders and revocations, and the heads of the zones whose
//! keys it has.
//! What is not authentic is listed apart, with the reason.

mod alerts;
mod fleet;
mod show;
mod watching;

#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration as Time, Instant};

use tokio::time::timeout;

use crate::mqtt::{Client, Events};
use crate::visitor::{self, SETTLE, Setup, Visitor};
pub(crate) use fleet::Fleet;
pub(crate) use show::{NodeRow, Report, state_name};
pub(crate) use watching::{Watching, unix_seconds};

/// What is asked.
pub struct Question<'a> {
    /// The configuration file.
    pub config: &'a Path,
    /// Operators' public keys besides those of the file.
    pub operators: &'a [String],
    /// How to answer.
    pub form: Form,
    /// For how long.
    pub duration: Duration,
}

/// How to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Table,
    /// For machines: one object a line.
    Json,
}

/// For how long to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duration {
    /// Until every node has reported, or for so long; then answer once.
    Once(Time),
    /// For ever; answer whenever something changed.
    Watch,
}

/// Asks and answers. Fails if the configuration cannot be used or the broker is not reached.
pub fn run(question: &Question<'_>) -> ExitCode {
    let Question { config, operators, .. } = *question;
    let visitor = Visitor { purpose: "status", config, operators, operator: None };
    let outcome = visitor::load(&visitor).and_then(|setup| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("no thread to run on: {error}"))?;
        runtime.block_on(look(question, setup))
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fingerpost: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn look(question: &Question<'_>, setup: Setup) -> Result<(), String> {
    let Setup { settings, root, trust, zones, payload_limit } = setup;
    let (client, mut events) = visitor::connect(settings).await?;
    let mut watching = Watching::new(Fleet::new(root, trust, zones, payload_limit));
    watching.subscribe(&client).await?;
    match question.duration {
        Duration::Once(patience) => {
            let waited = timeout(patience, watching.until_complete(&client, &mut events)).await;
            client.close();
            answer(question.form, &watching.fleet, waited.is_ok()).map_err(|error| error.to_string())
        }
        Duration::Watch => watching.go_on(question.form, &client, &mut events).await,
    }
}

impl Watching {
    /// Until what is retained has come and every node that is up has told of all its zones.
    async fn until_complete(&mut self, client: &Client, events: &mut Events) -> Result<(), String> {
        let mut told = false;
        loop {
            let settled = self.is_settled();
            if settled && self.fleet.is_complete(Instant::now()) {
                return Ok(());
            }
            if settled && !told {
                told = true;
                if io::stderr().is_terminal() {
                    eprintln!(
                        "Waiting for reports, which come at least every 80 s (--watch shows what is known so far)"
                    );
                }
            }
            match timeout(SETTLE, events.recv()).await {
                Ok(Some(event)) => self.take(event, client).await?,
                Ok(None) => return Ok(()),
                Err(_) => {}
            }
        }
    }

    async fn go_on(&mut self, form: Form, client: &Client, events: &mut Events) -> Result<(), String> {
        let mut shown_at: Option<Instant> = None;
        loop {
            let is_due = |shown_at: Instant| {
                let age = shown_at.elapsed();
                age >= TICK || age >= REDRAW && shown_at < self.changed_at
            };
            if shown_at.is_none_or(is_due) {
                shown_at = Some(Instant::now());
                if form == Form::Table {
                    // Home, and clear what is below.
                    print!("\x1b[H\x1b[2J");
                }
                answer(form, &self.fleet, true).map_err(|error| error.to_string())?;
            }
            match timeout(REDRAW, events.recv()).await {
                Ok(Some(event)) => self.take(event, client).await?,
                Ok(None) => return Ok(()),
                Err(_) => {}
            }
        }
    }
}

fn answer(form: Form, fleet: &Fleet, complete: bool) -> io::Result<()> {
    let report = Report::of(fleet, Instant::now(), unix_seconds());
    let text = match form {
        Form::Table => show::table(&report, complete),
        Form::Json => show::json(&report, complete),
    };
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// People read no faster.
const REDRAW: Time = Time::from_millis(500);
/// Ages and silence change without messages.
const TICK: Time = Time::from_secs(10);
