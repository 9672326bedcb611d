//! What an association runs over: TCP, or TLS over TCP. Plain TCP costs nothing for it but a comparison.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::ConnectionCommon;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

/// A connection, whichever end of it we are.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Plain(TcpStream),
    /// TLS, its handshake done.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Sends these last bytes where the system takes them at once, without waiting.
    pub fn try_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Stream::Plain(socket) => socket.try_write(bytes).map(|_| ()),
            Stream::Tls(stream) => match &mut **stream {
                TlsStream::Client(stream) => {
                    let (socket, session) = stream.get_mut();
                    try_write_tls(socket, session, bytes)
                }
                TlsStream::Server(stream) => {
                    let (socket, session) = stream.get_mut();
                    try_write_tls(socket, session, bytes)
                }
            },
        }
    }
}

fn try_write_tls<D>(socket: &TcpStream, session: &mut ConnectionCommon<D>, bytes: &[u8]) -> io::Result<()> {
    session.writer().write_all(bytes)?;
    session.send_close_notify();
    while session.wants_write() {
        session.write_tls(&mut AtOnce(socket))?;
    }
    Ok(())
}

/// Writes what the system takes at once.
struct AtOnce<'a>(&'a TcpStream);

impl Write for AtOnce<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => match Pin::new(stream).poll_read(cx, buffer) {
                // Closed without a goodbye of TLS. Every PDU says how long it is, so nothing can be cut off unseen.
                Poll::Ready(Err(err)) if err.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
                polled => polled,
            },
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
