//! Questions to a running node, through a socket in its state directory that only its own user can reach.
//!
//! One line each way: `explain NAME TYPE CLIENT`, answered by `ok JSON` or `refused TEXT`. The same kind of door as an
//! origin's (`origin/control.rs`).

use std::io;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use resolver_core::wire::{Name, Rtype};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::explain::{Question, explain};
use super::steering::Steering;
use super::view::SharedView;

/// Asks the node whose state directory this is; `Err` inside is its refusal.
pub fn request(directory: &Path, question: &Question) -> io::Result<Result<String, String>> {
    use std::io::{Read, Write};
    let mut stream = std::os::unix::net::UnixStream::connect(socket(directory))?;
    let Question { name, rtype, client } = question;
    writeln!(stream, "explain {name} {rtype} {client}")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let answer = answer.trim_end();
    Ok(match answer.strip_prefix("ok ") {
        Some(text) => Ok(text.to_owned()),
        None => Err(answer.strip_prefix("refused ").unwrap_or(answer).to_owned()),
    })
}

/// Takes questions until `stop`. Without the socket a node works all the same.
pub(super) fn serve(
    directory: &Path,
    view: Arc<SharedView>,
    steering: Arc<Steering>,
    stop: CancellationToken,
) {
    let path = socket(directory);
    // One that an earlier process left behind; whoever has the directory's lock has the right to it.
    let _ = std::fs::remove_file(&path);
    let bound = UnixListener::bind(&path).and_then(|listener| {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    });
    match bound {
        Ok(listener) => drop(tokio::spawn(accept(listener, view, steering, stop))),
        Err(error) => {
            tracing::warn!(
                path = %path.display(), %error,
                remedy = "see that this user may write to state_dir, and that its name has less than 100 octets",
                "no control socket: `fingerpost explain` finds nobody"
            );
        }
    }
}

async fn accept(
    listener: UnixListener,
    view: Arc<SharedView>,
    steering: Arc<Steering>,
    stop: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let (view, steering) = (view.clone(), steering.clone());
        tokio::spawn(async move {
            // Who asked may be gone before it is answered.
            let _ = timeout(CONVERSATION, converse(stream, &view, &steering)).await;
            drop(place);
        });
    }
}

async fn converse(mut stream: UnixStream, view: &SharedView, steering: &Steering) -> io::Result<()> {
    let mut line = String::new();
    BufReader::new((&mut stream).take(MAX_LINE)).read_line(&mut line).await?;
    let outcome = match parse(&line) {
        Some(question) => explain(&view.read(), &steering.findings(), &question),
        None => Err("not a question".into()),
    };
    let answer = match outcome {
        Ok(text) => format!("ok {text}\n"),
        Err(text) => format!("refused {text}\n"),
    };
    stream.write_all(answer.as_bytes()).await
}

fn parse(line: &str) -> Option<Question> {
    let mut words = line.trim_end().split(' ');
    if words.next() != Some("explain") {
        return None;
    }
    let name: Name = words.next()?.parse().ok()?;
    let rtype: Rtype = words.next()?.parse().ok()?;
    let client: IpAddr = words.next()?.parse().ok()?;
    words.next().is_none().then_some(Question { name, rtype, client })
}

fn socket(directory: &Path) -> PathBuf {
    directory.join("control.sock")
}

/// A question with the longest name.
const MAX_LINE: u64 = 2_048;
/// People, at the same time.
const MAX_CONNECTIONS: usize = 8;
/// It takes a millisecond.
const CONVERSATION: Duration = Duration::from_secs(5);
/// Long enough not to spin, short enough not to be noticed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_questions_are_taken() {
        assert!(parse("explain www.example.org. A 192.0.2.1\n").is_some());
        for wrong in [
            "",
            "explain",
            "explain www A",
            "explain www A 192.0.2.1 more",
            "explain www A nowhere",
            "explain w..w A 192.0.2.1",
            "reload www A 192.0.2.1",
        ] {
            assert!(parse(wrong).is_none(), "{wrong}");
        }
    }
}
