//! The door to a running node or origin: a socket in its state directory that only its own user can reach.
//!
//! One line each way: what is wanted, answered by `ok …` or `refused …` once it is done. What the lines say is for
//! [`crate::node`] and [`crate::origin`].

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Gives `line` to the process whose state directory this is, and waits until it is done; `Err` inside is its refusal.
pub(crate) fn request(directory: &Path, line: &str) -> io::Result<Result<String, String>> {
    use std::io::{Read, Write};
    let mut stream = std::os::unix::net::UnixStream::connect(socket(directory))?;
    writeln!(stream, "{line}")?;
    let mut answer = String::new();
    stream.set_read_timeout(Some(ANSWER_PATIENCE))?;
    stream.read_to_string(&mut answer).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => io::Error::new(
            io::ErrorKind::TimedOut,
            "it has not answered for two minutes; it may still be at work on it",
        ),
        _ => error,
    })?;
    let answer = answer.trim_end();
    Ok(match answer.strip_prefix("ok ") {
        Some(text) => Ok(text.to_owned()),
        None => Err(answer.strip_prefix("refused ").unwrap_or(answer).to_owned()),
    })
}

/// Has `carry_out` answer each line until `stop`. Without the socket the process works all the same: `loss` says what
/// does not, for the log.
pub(crate) fn serve<C, F>(directory: &Path, loss: &'static str, carry_out: C, stop: CancellationToken)
where
    C: Fn(String) -> F + Clone + Send + 'static,
    F: Future<Output = Result<String, String>> + Send + 'static,
{
    let path = socket(directory);
    let bound = clear(&path).and_then(|()| UnixListener::bind(&path)).and_then(|listener| {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    });
    match bound {
        Ok(listener) => drop(tokio::spawn(accept(listener, carry_out, stop))),
        Err(error) => {
            tracing::warn!(
                path = %path.display(), %error,
                remedy = "see that this user may write to state_dir, that its name has less than 100 octets, and that \
                          no node or origin shares it",
                "no control socket: {loss}"
            );
        }
    }
}

/// Removes what an earlier process left behind, but not what another one listens on.
fn clear(path: &Path) -> io::Result<()> {
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there"));
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

async fn accept<C, F>(listener: UnixListener, carry_out: C, stop: CancellationToken)
where
    C: Fn(String) -> F + Clone + Send + 'static,
    F: Future<Output = Result<String, String>> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let carry_out = carry_out.clone();
        tokio::spawn(async move {
            // Who asked may be gone before it is done.
            let _ = converse(stream, carry_out).await;
            drop(place);
        });
    }
}

async fn converse<F>(mut stream: UnixStream, carry_out: impl Fn(String) -> F) -> io::Result<()>
where
    F: Future<Output = Result<String, String>>,
{
    let mut line = String::new();
    timeout(PATIENCE, BufReader::new((&mut stream).take(MAX_LINE)).read_line(&mut line)).await??;
    let answer = match carry_out(line).await {
        Ok(text) => format!("ok {text}\n"),
        Err(text) => format!("refused {text}\n"),
    };
    timeout(PATIENCE, stream.write_all(answer.as_bytes())).await?
}

fn socket(directory: &Path) -> PathBuf {
    directory.join("control.sock")
}

/// A few words and the longest name.
const MAX_LINE: u64 = 2_048;
/// People, at the same time.
const MAX_CONNECTIONS: usize = 8;
/// For a line to come, or to be taken: our own command needs a millisecond.
const PATIENCE: Duration = Duration::from_secs(5);
/// A zone of millions of records is reloaded in a tenth of it.
const ANSWER_PATIENCE: Duration = Duration::from_secs(120);
/// Long enough not to spin, short enough not to be noticed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_socket_that_somebody_listens_on_is_not_taken_away() {
        let directory = std::env::temp_dir().join(format!("fingerpost-control-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        // Left behind.
        drop(UnixListener::bind(socket(&directory)).unwrap());
        let stop = CancellationToken::new();
        serve(&directory, "", |line| async move { Ok(format!("first {}", line.trim())) }, stop.clone());
        serve(&directory, "", |_| async { Ok("second".to_owned()) }, stop.clone());
        let asked = directory.clone();
        let answer = tokio::task::spawn_blocking(move || request(&asked, "hello")).await.unwrap();
        assert_eq!(answer.unwrap(), Ok("first hello".to_owned()));
        stop.cancel();
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
