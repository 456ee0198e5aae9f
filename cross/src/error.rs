//! Errors as a person reads them: what went wrong, and what to do next.

use std::fmt;

/// What stopped a command, with its remedy.
#[derive(Debug)]
pub(crate) struct Error {
    what: String,
    remedy: String,
}

impl Error {
    /// `what` went wrong; `remedy` is what the reader does about it.
    pub(crate) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }

    /// An argument that `command` does not know.
    pub(crate) fn argument(command: &str, argument: &str) -> Self {
        Self::new(
            format!("`cargo x {command}` does not know `{argument}`"),
            format!("`cargo x {command} --help` lists what it takes"),
        )
    }

    /// An argument of `command` that stands without its value.
    pub(crate) fn value(command: &str, argument: &str) -> Self {
        Self::new(format!("`{argument}` wants a value"), format!("`cargo x {command} --help` shows which"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  → {}", self.what, self.remedy)
    }
}

impl std::error::Error for Error {}
