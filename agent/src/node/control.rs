//! Questions to a running node: `explain NAME TYPE CLIENT`, answered by JSON. The door is [`crate::control`]'s.

use std::io;
use std::path::Path;
use std::sync::Arc;

use resolver_core::wire::{Name, Rtype};
use tokio_util::sync::CancellationToken;

use super::explain::{Asker, Question, explain};
use super::steering::Steering;
use super::view::SharedView;
use crate::control;

/// Asks the node whose state directory this is; `Err` inside is its refusal.
pub fn request(directory: &Path, question: &Question) -> io::Result<Result<String, String>> {
    let Question { name, rtype, from } = question;
    control::request(directory, &format!("explain {name} {rtype} {from}"))
}

/// Takes questions until `stop`.
pub(super) fn serve(
    directory: &Path,
    view: Arc<SharedView>,
    steering: Arc<Steering>,
    stop: CancellationToken,
) {
    let answer = move |line: String| {
        let answer = match parse(&line) {
            Some(question) => explain(&view.read(), &steering.findings(), &question),
            None => Err("not a question".into()),
        };
        std::future::ready(answer)
    };
    control::serve(directory, "`fingerpost explain` finds nobody", answer, stop);
}

fn parse(line: &str) -> Option<Question> {
    let mut words = line.trim_end().split(' ');
    if words.next() != Some("explain") {
        return None;
    }
    let name: Name = words.next()?.parse().ok()?;
    let rtype: Rtype = words.next()?.parse().ok()?;
    let from: Asker = words.next()?.parse().ok()?;
    words.next().is_none().then_some(Question { name, rtype, from })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_questions_are_taken() {
        for good in ["192.0.2.1", "192.0.2.0/24", "::1", "2001:db8::/32", "0.0.0.0/0"] {
            assert!(parse(&format!("explain www.example.org. A {good}\n")).is_some(), "{good}");
        }
        for wrong in [
            "",
            "explain",
            "explain www A",
            "explain www A 192.0.2.1 more",
            "explain www A nowhere",
            "explain www A 192.0.2.1/",
            "explain www A 192.0.2.1/33",
            "explain www A 2001:db8::/129",
            "explain w..w A 192.0.2.1",
            "reload www A 192.0.2.1",
        ] {
            assert!(parse(wrong).is_none(), "{wrong}");
        }
    }
}
