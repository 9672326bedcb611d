//! The DICOM ports, plain and TLS: accept connections, decide who may call, and end every association.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dicom_ul::pdu::{
    AssociationRJ, AssociationRJResult, AssociationRJServiceProviderASCEReason,
    AssociationRJServiceProviderPresentationReason, AssociationRJServiceUserReason, AssociationRJSource,
    AssociationRQ,
};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::{TlsAcceptor, TlsStream};
use tracing::Instrument;

use super::access::{self, Channel, Known, UnknownPeers};
use super::association::{Association, Stage};
use super::negotiation::{self, APPLICATION_CONTEXT_NAME, Rights, proposed_services, trim};
use super::scp::{self, Caller, Provider};
use super::scu::Requestor;
use super::stream::Stream;
use super::{Error, Timeouts};
use crate::archive::Archive;
use crate::archive::activity;
use crate::db::peer::Refused;
use crate::db::{self, Pool};
use crate::dicom::ae_title::AeTitle;
use crate::tls::{self, Fingerprint};

/// Where peers connect.
pub struct Listeners {
    /// In plain.
    pub plain: TcpListener,
    /// By TLS, where there is such a port, and with what.
    pub tls: Option<(TcpListener, TlsAcceptor)>,
}

impl Listeners {
    /// The next connection, and how to make it secure if it came to the port for that. Cancel-safe, as `accept` is.
    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr, Option<TlsAcceptor>)> {
        let tls = async {
            match &self.tls {
                Some((listener, acceptor)) => (listener.accept().await, acceptor.clone()),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            accepted = self.plain.accept() => accepted.map(|(stream, address)| (stream, address, None)),
            (accepted, acceptor) = tls => accepted.map(|(stream, address)| (stream, address, Some(acceptor))),
        }
    }
}

/// What the ports need to know.
#[derive(Clone)]
pub struct Settings {
    /// Our AE title.
    pub ae_title: AeTitle,
    /// As whom, and how, others are called.
    pub requestor: Requestor,
    /// What happens to callers that are not peers.
    pub unknown_peers: UnknownPeers,
    /// Associations at a time; beyond, they are rejected as a passing congestion.
    pub max_associations: usize,
    /// How long peers may take.
    pub timeouts: Timeouts,
    /// How long associations that are busy get when the server is being stopped.
    pub grace: Duration,
}

/// Connections beyond the limit that are told so. Beyond these too, a connection is closed without a word.
const MAXIMUM_REJECTIONS: usize = 64;
/// One address gets half of the associations, and at least so many.
const LEAST_SHARE: usize = 8;

struct Port {
    settings: Settings,
    provider: Provider,
    stage: watch::Receiver<Stage>,
    /// How many connections each address has.
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// Serves the ports until `stopping` turns true, and then until what is in flight is finished, or the grace is over.
pub async fn serve(
    listeners: Listeners,
    settings: Settings,
    archive: Archive,
    pool: Pool,
    mut stopping: watch::Receiver<bool>,
) {
    let grace = settings.grace;
    let provider = Provider { archive, pool, requestor: settings.requestor.clone() };
    let (stage, on_stage) = watch::channel(Stage::Running);
    let port = Arc::new(Port { settings, provider, stage: on_stage, open: Mutex::default() });
    let mut associations = JoinSet::new();
    let mut next_stage = Instant::now();
    loop {
        let now = *stage.borrow();
        tokio::select! {
            // While the server is being stopped new callers still get an answer: a rejection as congested.
            accepted = listeners.accept() => match accepted {
                Ok((stream, address, acceptor)) => {
                    let open = Open::enter(&port, address.ip().to_canonical());
                    if open.is_far_too_many {
                        tracing::warn!(address = %address.ip(), "closed a connection: far too many are open");
                    } else {
                        associations.spawn(on_a_thread(port.clone(), open, (stream, address, acceptor)));
                    }
                }
                Err(err) => {
                    // Out of file descriptors, most likely; connections that end give them back.
                    tracing::error!(%err, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(ended) = associations.join_next() => {
                if let Ok(Err(err)) = ended {
                    tracing::error!(%err, "an association did not end as it should");
                }
            }
            () = stopped(&mut stopping), if now == Stage::Running => {
                stage.send_replace(Stage::Finishing);
                next_stage = Instant::now() + grace;
            }
            () = tokio::time::sleep_until(next_stage), if now != Stage::Running => {
                if now == Stage::Ending {
                    break;
                }
                tracing::warn!(associations = associations.len(), "aborting associations that took too long to finish");
                stage.send_replace(Stage::Ending);
                next_stage = Instant::now() + Duration::from_secs(3);
            }
        }
        if *stage.borrow() != Stage::Running && associations.is_empty() {
            break;
        }
    }
    associations.shutdown().await;
}

/// Completes when the server is being stopped; a sender that is gone says so too.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    if let Err(err) = stopping.wait_for(|stop| *stop).await {
        tracing::debug!(%err, "nobody is left who could stop the server, so it stops");
    }
}

/// Serves a connection on a thread of its own with a small runtime, so that what an association has to do and to wait
/// for (the socket, hashing, the disk) needs no hand-over between threads, and holds up nobody else.
async fn on_a_thread(
    port: Arc<Port>,
    open: Open,
    (stream, address, acceptor): (TcpStream, SocketAddr, Option<TlsAcceptor>),
) -> io::Result<()> {
    let stream = stream.into_std()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (ending, ended) = oneshot::channel();
    std::thread::Builder::new().name("association".into()).spawn(move || {
        yield_to_others();
        let result = runtime.block_on(async {
            port.connection(open.is_too_many, TcpStream::from_std(stream)?, address, acceptor).await;
            Ok(())
        });
        drop(open);
        // Nobody listens any more where the server could not wait for the end.
        drop(ending.send(result));
    })?;
    ended.await.unwrap_or_else(|_| Err(io::Error::other("it panicked")))
}

/// Lets every other thread go first, the committer before all: whoever waits for it cannot go on, while what is received
/// waits in the socket. Where the system refuses, nothing is lost but time.
fn yield_to_others() {
    #[cfg(target_os = "linux")]
    // SAFETY: changes the scheduling of the calling thread (0) and nothing else.
    unsafe {
        libc::setpriority(libc::PRIO_PROCESS, 0, 5);
    }
}

impl Port {
    async fn connection(
        &self,
        congested: bool,
        stream: TcpStream,
        address: SocketAddr,
        acceptor: Option<TlsAcceptor>,
    ) {
        let ip = address.ip().to_canonical();
        let tls = acceptor.is_some();
        let span = tracing::info_span!("association", address = %ip, tls, calling = tracing::field::Empty);
        async {
            // DCMTK-like peers wait 40 ms for each of our answers with Nagle's algorithm on.
            if let Err(err) = stream.set_nodelay(true) {
                tracing::debug!(%err, "the connection was gone at once");
                return;
            }
            // The handshake is part of the time for the request.
            let deadline = Instant::now() + self.settings.timeouts.association;
            let Some((stream, channel)) = secured(stream, acceptor, deadline).await else { return };
            let mut association = Association::new(stream, self.settings.timeouts, self.stage.clone());
            let caller = (ip, channel);
            match self.association(&mut association, caller, congested, deadline).await {
                Ok(End::Released) => {
                    if let Err(err) = association.released().await {
                        tracing::debug!(
                            err = &err as &dyn std::error::Error,
                            "the peer did not wait for our release"
                        );
                    }
                }
                Ok(End::Rejected(rj, why)) => {
                    tracing::warn!("rejected an association: {why}");
                    if let Err(err) = association.reject(rj).await {
                        tracing::debug!(
                            err = &err as &dyn std::error::Error,
                            "the peer did not wait for the rejection"
                        );
                    }
                }
                Err(Error::Closed) => tracing::debug!("the peer closed the connection"),
                Err(err) => {
                    tracing::warn!(
                        err = &err as &dyn std::error::Error,
                        "an association ended before its release"
                    );
                    association.abort(&err).await;
                }
            }
        }
        .instrument(span)
        .await;
    }

    async fn association(
        &self,
        association: &mut Association,
        (ip, channel): (IpAddr, Channel),
        congested: bool,
        deadline: Instant,
    ) -> Result<End, Error> {
        let rq = association.requested(deadline).await?;
        let calling = rq.calling_ae_title.trim().to_owned();
        tracing::Span::current().record("calling", printable(&calling));
        if rq.protocol_version & 1 == 0 {
            let reason = AssociationRJServiceProviderASCEReason::ProtocolVersionNotSupported;
            return Ok(permanent(
                AssociationRJSource::ServiceProviderASCE(reason),
                "another protocol version",
            ));
        }
        if trim(&rq.application_context_name) != APPLICATION_CONTEXT_NAME {
            let reason = AssociationRJServiceUserReason::ApplicationContextNameNotSupported;
            return Ok(permanent(AssociationRJSource::ServiceUser(reason), "another application context"));
        }
        if congested {
            return Ok(transient(
                AssociationRJServiceProviderPresentationReason::LocalLimitExceeded,
                "too many are open",
            ));
        }
        if *self.stage.borrow() != Stage::Running {
            let reason = AssociationRJServiceProviderPresentationReason::TemporaryCongestion;
            return Ok(transient(reason, "the server is stopping"));
        }
        let rights = match self.decide(&rq, &calling, ip, channel).await {
            Ok(Ok(rights)) => rights,
            Ok(Err((reason, why))) => return Ok(permanent(AssociationRJSource::ServiceUser(reason), &why)),
            Err(err) => {
                tracing::error!(err = &err as &dyn std::error::Error, "cannot look up the caller");
                let reason = AssociationRJServiceProviderPresentationReason::TemporaryCongestion;
                return Ok(transient(reason, "the database does not answer"));
            }
        };
        let (ac, contexts) = negotiation::accept(&rq, rights);
        tracing::info!(
            contexts = contexts.len(),
            proposed = rq.presentation_contexts.len(),
            "accepted an association"
        );
        association.accept(&rq, ac, contexts).await?;
        let caller = Caller {
            called_ae_title: self.settings.ae_title.clone(),
            ae_title: calling,
            address: ip.to_string(),
            audited: Default::default(),
        };
        let presence = self.provider.archive.activity().begin(activity::Requestor {
            ae_title: caller.ae_title.clone(),
            address: caller.address.clone(),
            is_tls: matches!(channel, Channel::Tls(_)),
        });
        tokio::select! {
            served = scp::serve(association, &self.provider, &caller, &presence) => served.map(|()| End::Released),
            // Dropped wherever it waits: what must not be given up half-way is guarded.
            () = presence.aborted() => Err(Error::Ended),
        }
    }

    /// Looks the caller up, decides, and notes it where an administrator should see it. A refusal has its reason for
    /// the caller, and its reason for the log.
    async fn decide(
        &self,
        rq: &AssociationRQ,
        calling: &str,
        ip: IpAddr,
        channel: Channel,
    ) -> Result<Result<Rights, (AssociationRJServiceUserReason, String)>, db::Error> {
        let Ok(title) = calling.parse::<AeTitle>() else {
            let reason = AssociationRJServiceUserReason::CallingAETitleNotRecognized;
            let why = reason.to_string();
            return Ok(Err((reason, why)));
        };
        let mut conn = db::acquire(&self.provider.pool).await?;
        let peer = db::peer::by_ae_title(&mut conn, &title).await?;
        drop(conn); // a look-up of a host name may take its time
        let known = match &peer {
            None => Known::No,
            Some(peer) if access::calls_from(&peer.host, ip).await => match channel.check(peer) {
                Ok(()) => Known::Yes(peer.services),
                Err(exposed) => Known::Exposed(exposed),
            },
            Some(_) => Known::Elsewhere,
        };
        let decision =
            access::decide(rq, self.settings.ae_title.as_str(), known, self.settings.unknown_peers);
        let mut conn = db::acquire(&self.provider.pool).await?;
        if let (Some(peer), Known::Yes(_)) = (&peer, known) {
            db::peer::seen(&mut conn, peer.peer_key).await?;
        }
        if let Some(refusal) = &decision.refusal {
            let refused = Refused {
                ae_title: &title,
                address: &ip.to_string(),
                called: rq.called_ae_title.trim(),
                asked_for: &access::asked_for(rq),
                services: proposed_services(rq),
                refusal,
            };
            db::peer::note_refused(&mut conn, &refused).await?;
            self.provider.archive.activity().refused();
        }
        let offers_commitment =
            peer.is_some_and(|peer| matches!(known, Known::Yes(_)) && peer.offers_commitment);
        let rights = decision.access.map(|services| Rights { services, offers_commitment });
        Ok(rights.map_err(|reason| {
            let why = decision.refusal.unwrap_or_else(|| reason.to_string());
            (reason, why)
        }))
    }
}

/// The connection as an association runs over it, after the handshake of TLS where there is one. None where that
/// failed, which has been logged.
async fn secured(
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    deadline: Instant,
) -> Option<(Stream, Channel)> {
    let Some(acceptor) = acceptor else { return Some((Stream::Plain(stream), Channel::Plain)) };
    match timeout_at(deadline, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).map(Fingerprint::of);
            Some((Stream::Tls(Box::new(TlsStream::Server(stream))), Channel::Tls(shown)))
        }
        Ok(Err(err)) if err.kind() == io::ErrorKind::UnexpectedEof => {
            tracing::debug!("the peer closed the connection before it was secure");
            None
        }
        Ok(Err(err)) => {
            tracing::warn!("no TLS with the peer: {}", tls::words(&err));
            None
        }
        Err(_) => {
            tracing::warn!("no TLS with the peer: it took too long");
            None
        }
    }
}

/// How an association ends in good order.
enum End {
    Released,
    Rejected(AssociationRJ, String),
}

fn permanent(source: AssociationRJSource, why: &str) -> End {
    End::Rejected(AssociationRJ { result: AssociationRJResult::Permanent, source }, why.to_owned())
}

fn transient(reason: AssociationRJServiceProviderPresentationReason, why: &str) -> End {
    let source = AssociationRJSource::ServiceProviderPresentation(reason);
    End::Rejected(AssociationRJ { result: AssociationRJResult::Transient, source }, why.to_owned())
}

/// Counts an open connection while it lives.
struct Open {
    port: Arc<Port>,
    address: IpAddr,
    /// It is beyond the limit, and told so.
    is_too_many: bool,
    /// It is so far beyond that nobody is told.
    is_far_too_many: bool,
}

impl Open {
    fn enter(port: &Arc<Port>, address: IpAddr) -> Open {
        let most = port.settings.max_associations;
        // Nobody takes all places from everybody else, by silence or by mistake.
        let share = (most / 2).max(LEAST_SHARE);
        let mut open = port.open.lock().unwrap_or_else(PoisonError::into_inner);
        let of_address = open.entry(address).or_default();
        *of_address += 1;
        let of_address = *of_address;
        // What an address has beyond its share takes nobody's place.
        let all: usize = open.values().map(|count| (*count).min(share)).sum();
        let of_all: usize = open.values().sum();
        drop(open);
        Open {
            port: port.clone(),
            address,
            is_too_many: all > most || of_address > share,
            is_far_too_many: of_all > most + MAXIMUM_REJECTIONS
                || of_address > share + MAXIMUM_REJECTIONS / 2,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut open = self.port.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_address) = open.get_mut(&self.address) {
            *of_address -= 1;
            if *of_address == 0 {
                open.remove(&self.address);
            }
        }
    }
}

/// An AE title as it may go into a log line.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect()
}
