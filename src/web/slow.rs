//! Clients that take their time, so that connections they hold come back.
//!
//! The HTTP server times the handshake of TLS, the first request of a connection, and silence between two requests.
//! What it does not time stands here: a later request that does not come to an end, and a body that trickles.

use std::any::Any;
use std::error::Error;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::HttpMessage;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Extensions, Payload, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::Method;
use actix_web::middleware::Next;
use actix_web::rt::net::TcpStream as Socket;
use actix_web::web::Bytes;
use futures_util::{Stream, StreamExt, stream};
use tokio::time::{Instant, timeout_at};

/// From the end of an answer to the end of the next request's header, silence included.
const NEXT_REQUEST: Duration = Duration::from_secs(45);

/// How much of an answer is handed over at once, bytes. An answer has ended when its last piece was handed over, so that
/// who takes it slowly is waited for from then on for less than two hundred thousand bytes.
const PIECE: usize = 16 * 1024;

/// For a body to come, to which a second is added for each 16 KiB that have.
const BODY: Duration = Duration::from_secs(30);
const SLOWEST_BODY: u64 = 16 * 1024;

/// The connections that are open. Cheap to clone.
#[derive(Clone, Default)]
pub struct Connections(Arc<Mutex<Vec<Weak<Connection>>>>);

/// One connection, for as long as it is open.
struct Connection {
    socket: TcpStream,
    /// Since when we wait for a request; none while one is served.
    waiting: Mutex<Option<Instant>>,
}

impl Connections {
    /// Notes a new connection; for `HttpServer::on_connect`.
    pub fn opened(&self, connection: &dyn Any, extensions: &mut Extensions) {
        let plain = connection.downcast_ref::<Socket>();
        let socket =
            plain.or_else(|| connection.downcast_ref::<TlsStream<Socket>>().map(|tls| tls.get_ref().0));
        let Some(socket) = socket else { return };
        // Answers go out in pieces: the last would wait for the browser to acknowledge those before, 40 ms.
        if let Err(err) = socket.set_nodelay(true) {
            tracing::debug!(%err, "a connection was gone at once");
        }
        // A second handle on the socket, to close it with. Where there is none, one is not watched.
        let Ok(socket) = socket.as_fd().try_clone_to_owned() else { return };
        let waiting = Mutex::new(Some(Instant::now()));
        let connection = Arc::new(Connection { socket: socket.into(), waiting });
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Arc::downgrade(&connection));
        extensions.insert(connection);
    }

    /// Closes connections whose next request takes too long, until it is dropped.
    pub async fn close_slow(self) {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.close(NEXT_REQUEST);
        }
    }

    fn close(&self, limit: Duration) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|connection| {
            let Some(connection) = connection.upgrade() else { return false };
            let waiting = *connection.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let is_slow = waiting.is_some_and(|since| since.elapsed() > limit);
            if is_slow && let Err(err) = connection.socket.shutdown(Shutdown::Both) {
                tracing::debug!(%err, "a slow connection was gone by itself");
            }
            !is_slow
        });
    }
}

/// A request that is being answered.
struct Serving(Arc<Connection>);

impl Serving {
    fn begin(connection: Arc<Connection>) -> Serving {
        *connection.waiting.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Serving(connection)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        *self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

/// Middleware around everything else: notes that a request is served until the last byte of the answer, and gives its
/// body a time to come.
pub async fn serve(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let serving = request.request().conn_data::<Arc<Connection>>().cloned().map(Serving::begin);
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let body: Pin<Box<dyn Stream<Item = Result<Bytes, PayloadError>>>> =
            Box::pin(timed(request.take_payload()));
        request.set_payload(Payload::Stream { payload: body });
    }
    let response = next.call(request).await?;
    Ok(response.map_body(|_, body| Served { body: body.boxed(), rest: Bytes::new(), _serving: serving }))
}

/// A body that is an error once it takes too long.
fn timed(body: Payload) -> impl Stream<Item = Result<Bytes, PayloadError>> {
    let began = Instant::now();
    stream::unfold(Some((body, 0_u64)), move |state| async move {
        let (mut body, came) = state?;
        let deadline = began + BODY + Duration::from_secs(came / SLOWEST_BODY);
        match timeout_at(deadline, body.next()).await {
            Ok(Some(Ok(bytes))) => {
                let came = came + bytes.len() as u64;
                Some((Ok(bytes), Some((body, came))))
            }
            Ok(Some(Err(err))) => Some((Err(err), None)),
            Ok(None) => None,
            Err(_) => Some((Err(PayloadError::Io(io::ErrorKind::TimedOut.into())), None)),
        }
    })
}

/// The body of an answer, which lasts as long as it is sent.
struct Served {
    body: BoxBody,
    /// Of it, what has come and was not handed over yet.
    rest: Bytes,
    _serving: Option<Serving>,
}

impl MessageBody for Served {
    type Error = Box<dyn Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = self.get_mut();
        if this.rest.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_next(cx)) {
                Some(Ok(bytes)) => this.rest = bytes,
                ended => return Poll::Ready(ended),
            }
        }
        let length = this.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(this.rest.split_to(length))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpListener;

    fn connection() -> (Arc<Connection>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).expect("a connection");
        let (socket, _) = listener.accept().expect("a connection");
        (Arc::new(Connection { socket, waiting: Mutex::new(Some(Instant::now())) }), client)
    }

    fn is_open(client: &mut TcpStream) -> bool {
        client.set_nonblocking(true).expect("a socket");
        client.read(&mut [0]).is_err_and(|err| err.kind() == io::ErrorKind::WouldBlock)
    }

    #[actix_web::test]
    async fn an_answer_is_handed_over_in_pieces_and_lasts_until_the_last() {
        let whole = Bytes::from((0..100_000_u32).map(|at| (at % 251) as u8).collect::<Vec<u8>>());
        let (connection, _client) = connection();
        let serving = Some(Serving::begin(connection.clone()));
        let body = whole.clone().boxed();
        let mut served = Box::pin(Served { body, rest: Bytes::new(), _serving: serving });

        assert_eq!(served.size(), BodySize::Sized(100_000));
        let mut came = Vec::new();
        while let Some(piece) = std::future::poll_fn(|cx| served.as_mut().poll_next(cx)).await {
            let piece = piece.expect("a piece");
            assert!(piece.len() <= PIECE, "{}", piece.len());
            came.extend_from_slice(&piece);
        }
        assert_eq!(came, whole);
        assert!(connection.waiting.lock().expect("a lock").is_none(), "it is being served");
        drop(served);
        assert!(connection.waiting.lock().expect("a lock").is_some(), "it is waited for");
    }

    #[test]
    fn who_is_waited_for_too_long_is_closed_and_who_is_served_is_not() {
        let connections = Connections::default();
        let (slow, mut slow_client) = connection();
        let (served, mut served_client) = connection();
        for connection in [&slow, &served] {
            connections.0.lock().expect("a lock").push(Arc::downgrade(connection));
        }
        let serving = Serving::begin(served.clone());
        std::thread::sleep(Duration::from_millis(20));

        connections.close(Duration::from_secs(5));
        assert!(is_open(&mut slow_client) && is_open(&mut served_client));
        connections.close(Duration::from_millis(10));
        assert!(!is_open(&mut slow_client) && is_open(&mut served_client));

        drop(serving);
        connections.close(Duration::from_millis(10));
        assert!(is_open(&mut served_client), "its time began with the end of the answer");
        drop(served);
        connections.close(Duration::from_secs(5));
        assert!(connections.0.lock().expect("a lock").is_empty(), "what has ended is forgotten");
    }
}
