//! The connection below an association: TCP, and TLS over it where that is wanted.

use std::fmt::Display;
use std::time::Duration;

use tokio::net::{TcpStream, ToSocketAddrs};
use tokio::time::{Instant, timeout_at};

use super::{Error, Tls};
use crate::dimse::stream::Stream;
use crate::tls::words;

/// Connects, in plain or by TLS, within `limit` as a whole.
pub(super) async fn connect(
    address: impl ToSocketAddrs + Display,
    tls: Option<&Tls>,
    limit: Duration,
) -> Result<Stream, Error> {
    let deadline = Instant::now() + limit;
    let text = address.to_string();
    let late = |what| move |_| Error::TimedOut { what, after: limit };
    let stream = timeout_at(deadline, TcpStream::connect(address))
        .await
        .map_err(late("accept the connection"))?
        .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
        .map_err(|source| Error::Connect { address: text.clone(), source })?;
    let Some(tls) = tls else { return Ok(Stream::Plain(stream)) };
    let secured =
        timeout_at(deadline, tls.connect(stream)).await.map_err(late("answer the TLS handshake"))?;
    let stream = secured.map_err(|err| Error::Tls { address: text, reason: words(&err) })?;
    Ok(Stream::Tls(Box::new(stream)))
}
