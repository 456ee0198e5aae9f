//! An HTTP request as a check: the status code decides (RFC 9112, as much of it as that takes).

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{connect, told};

/// A GET request.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) address: SocketAddr,
    /// For the header field Host, and for TLS.
    pub(super) host: String,
    /// With the query, if any.
    pub(super) path: String,
    /// The status code that is expected.
    pub(super) status: u16,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<super::tls::Connector>,
}

impl Request {
    pub(super) async fn run(&self) -> Result<(), String> {
        let stream = connect(self.address).await?;
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return self.ask(tls.connect(&self.host, stream).await?).await;
        }
        self.ask(stream).await
    }

    async fn ask(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<(), String> {
        let Self { address, host, path, status: expected, .. } = self;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: fingerpost/{}\r\nAccept: */*\r\nConnection: close\r\n\r\n",
            env!("CARGO_PKG_VERSION")
        );
        stream.write_all(request.as_bytes()).await.map_err(told(address))?;
        stream.flush().await.map_err(told(address))?;
        let mut line = Vec::new();
        while !line.contains(&b'\n') && line.len() < STATUS_LINE {
            let mut octets = [0; 256];
            match stream.read(&mut octets).await.map_err(told(address))? {
                0 => break,
                count => line.extend_from_slice(&octets[..count]),
            }
        }
        match status(&line) {
            Some(status) if status == *expected => Ok(()),
            Some(status) => Err(format!("{address} answers status {status} for {path}, not {expected}")),
            None => Err(format!("{address} answers no HTTP")),
        }
    }
}

/// The status code of an answer that begins with `octets`.
fn status(octets: &[u8]) -> Option<u16> {
    let line = octets.split(|octet| *octet == b'\n').next()?;
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let (code, after) = rest.get(1..)?.strip_prefix(b" ")?.split_at_checked(3)?;
    let ends = matches!(after.first(), None | Some(b' ' | b'\r'));
    let code =
        core::str::from_utf8(code).ok().filter(|code| code.bytes().all(|octet| octet.is_ascii_digit()));
    code.filter(|_| ends)?.parse().ok()
}

/// Octets within which a status line ends.
const STATUS_LINE: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_line_has_a_code() {
        for (line, code) in [
            ("HTTP/1.1 200 OK\r\nServer: x", Some(200)),
            ("HTTP/1.0 503 \r\n", Some(503)),
            ("HTTP/1.1 204\r\n", Some(204)),
            ("HTTP/1.1 2000\r\n", None),
            ("HTTP/1.1 +20 OK\r\n", None),
            ("HTTP/1.1 20", None),
            ("HTTP/2 200\r\n", None),
            ("SSH-2.0-OpenSSH\r\n", None),
            ("\nHTTP/1.1 200 OK", None),
            ("", None),
        ] {
            assert_eq!(status(line.as_bytes()), code, "{line:?}");
        }
    }
}
