//! An operator, who enrols nodes: the program's own commands, as a person would give them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ed25519_dalek::SigningKey;
use fingerpost::{enrolment, keys};

use crate::{Scratch, binary};

/// What a node is given when it is enrolled.
#[derive(Clone, Debug)]
pub struct Enrolment {
    /// Where it will be.
    pub region: String,
    /// The file of its secret key.
    pub key: PathBuf,
    /// The file of its certificate.
    pub certificate: PathBuf,
    /// The files of public keys of the operators that it believes.
    pub operators: Vec<PathBuf>,
}

impl Enrolment {
    /// The same for a node that believes the nodes and orders of this operator.
    pub fn believing(mut self, operator: &Operator) -> Self {
        self.operators.push(operator.public_key());
        self
    }

    /// Lines for the section `[enrolment]` of a node of either kind.
    pub fn lines(&self) -> String {
        let lines = format!("key = {:?}\ncertificate = {:?}\n", self.key, self.certificate);
        if self.operators.is_empty() { lines } else { lines + &format!("operators = {:?}\n", self.operators) }
    }
}

/// An operator with a key of their own.
pub struct Operator {
    directory: PathBuf,
}

impl Operator {
    /// Makes the key.
    #[track_caller]
    pub fn new(scratch: &Scratch, name: &str) -> Self {
        let operator = Self { directory: scratch.directory(name) };
        run(binary::command(&["keygen"]).arg(operator.key()));
        operator
    }

    /// The public key's file.
    pub fn public_key(&self) -> PathBuf {
        self.directory.join("operator.key.pub")
    }

    /// Makes a key and a certificate for `node` in `region`; `more` are further arguments of `enroll`.
    #[track_caller]
    pub fn enrol(&self, node: &str, region: &str, more: &[&str]) -> Enrolment {
        let file = |end: &str| self.directory.join(format!("{node}-{region}.{end}"));
        let (key, public, certificate) = (file("key"), file("key.pub"), file("cert"));
        run(binary::command(&["keygen"]).arg(&key));
        let mut enrol = binary::command(&["enroll", "--name", node, "--region", region]);
        enrol.args(more).arg("--operator-key").arg(self.key());
        run(enrol.arg(public).arg("--output").arg(&certificate));
        Enrolment { region: region.to_owned(), key, certificate, operators: Vec::new() }
    }

    /// A line for the section `[enrolment]` of a gateway that follows this operator's orders.
    pub fn trust(&self) -> String {
        format!("operators = [{:?}]\n", self.public_key())
    }

    /// A command in this operator's name, such as `["drain", "n1"]`, at the broker of `config`.
    pub fn orders(&self, config: &Path, arguments: &[&str]) -> Command {
        let mut command = binary::command(arguments);
        command.arg("--config").arg(config).arg("--operator-key").arg(self.key());
        command
    }

    /// Likewise; what it says. Panics if it fails.
    #[track_caller]
    pub fn order(&self, config: &Path, arguments: &[&str]) -> String {
        String::from_utf8_lossy(&run(&mut self.orders(config, arguments)).stdout).into_owned()
    }

    /// The secret key and the certificate of a node that was enrolled here.
    #[track_caller]
    pub fn enrolled(&self, node: &str, region: &str) -> (SigningKey, Vec<u8>) {
        let file = |end: &str| self.directory.join(format!("{node}-{region}.{end}"));
        let key = keys::load_secret(&file("key")).unwrap_or_else(|error| panic!("{error}"));
        let certificate = enrolment::load(&file("cert")).unwrap_or_else(|error| panic!("{error}"));
        (key, certificate)
    }

    /// The secret key.
    #[track_caller]
    pub fn secret(&self) -> SigningKey {
        keys::load_secret(&self.key()).unwrap_or_else(|error| panic!("{error}"))
    }

    fn key(&self) -> PathBuf {
        self.directory.join("operator.key")
    }
}

/// `fingerpost status`, for those who believe `operator`.
pub fn status(config: &Path, operator: &Operator, arguments: &[&str]) -> Command {
    let mut command = binary::command(&["status", "--config"]);
    command.arg(config).arg("--operator").arg(operator.public_key()).args(arguments);
    command
}

#[track_caller]
fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}
