//! The whole server: database, archive, DICOM port and pages, built together and stopped in the right order.

use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use actix_web::middleware::from_fn;
use actix_web::web::Data;
use actix_web::{App, HttpServer};
use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio_rustls::TlsAcceptor;

use crate::archive::Archive;
use crate::codec::Decoder;
use crate::config::{self, Config};
use crate::db::{self, Pool, ServeLock};
use crate::dimse::listener::{self, Listeners};
use crate::dimse::scu::Requestor;
use crate::jobs::{self, Jobs};
use crate::people::People;
use crate::private_server::{self, PrivateServer};
use crate::storage::Storage;
use crate::tls::Identity;
use crate::web;
use crate::web::slow::Connections;
use crate::web::transport::Transport;
use crate::web::upload::pieces::Uploads;

/// How long associations and requests that are busy get when the server is being stopped.
const GRACE: Duration = Duration::from_secs(30);

/// Children that decode with C and C++ codecs. Each may take a core.
const DECODE_WORKERS: usize = 2;

/// Connections of browsers, for each thread that serves them. Further ones wait until one of these ends.
const HTTP_CONNECTIONS: usize = 1024;

/// Connections that the system keeps until one of our threads takes them, on each port.
const WAITING_CONNECTIONS: libc::c_int = 1024;

/// Files and sockets that may be open: all connections there can be, and what is stored and asked meanwhile.
const OPEN_FILES: libc::rlim_t = 16_384;

/// A server that holds its ports and its database and has not begun to serve.
pub struct Server {
    private: Option<PrivateServer>,
    lock: ServeLock,
    pool: Pool,
    archive: Archive,
    dicom: Listeners,
    dicom_settings: listener::Settings,
    http: std::net::TcpListener,
    addresses: Addresses,
    tls: Option<Identity>,
    jobs: jobs::Schedule,
    app: Data<web::App>,
    stop: watch::Sender<bool>,
}

/// Where we are served. Ports are the real ones also where 0 was asked for.
#[derive(Debug, Clone, Copy)]
struct Addresses {
    dicom: SocketAddr,
    dicom_tls: Option<SocketAddr>,
    http: SocketAddr,
}

/// The ports, taken and not yet served.
struct Ports {
    dicom: std::net::TcpListener,
    dicom_tls: Option<std::net::TcpListener>,
    http: std::net::TcpListener,
    addresses: Addresses,
}

impl Server {
    /// Opens everything that can fail. After an error nothing of it is left running.
    pub async fn build(config: Config) -> anyhow::Result<Server> {
        // Ports and folder first: they are quick to tell, and nothing has been made yet.
        allow_many_files();
        let ports = Ports::bind(&config)?;
        let private = match &config.database {
            Some(_) => None,
            None => Some(private_server::start(&config.data_dir).await?),
        };
        let url = match (&config.database, &private) {
            (Some(url), _) => url.clone(),
            (None, Some(private)) => private.url(),
            (None, None) => anyhow::bail!("there is no database"),
        };
        match Server::with_database(config, url, private.as_ref(), ports).await {
            Ok(mut server) => {
                server.private = private;
                Ok(server)
            }
            Err(err) => {
                if let Some(private) = private {
                    private.stop().await;
                }
                Err(err)
            }
        }
    }

    async fn with_database(
        config: Config,
        url: db::DatabaseUrl,
        private: Option<&PrivateServer>,
        ports: Ports,
    ) -> anyhow::Result<Server> {
        // The database is asked, the folder opened, and only then are tables made: whatever is wrong, nothing is
        // left half-made.
        let pool = db::connect(&url).await?;
        let lock = ServeLock::acquire(&url).await?;
        let (storage, swept) = Storage::open(&config.data_dir)
            .with_context(|| format!("cannot use the data folder {}", config.data_dir.display()))?;
        if swept > 0 {
            tracing::warn!(
                count = swept,
                "removed {swept} instances that were being received when filmroom last ended; they were not acknowledged"
            );
        }
        match private {
            Some(private) => private.prepare().await?,
            None => {
                db::schema::prepare(&url).await?;
            }
        }
        let mut conn = db::acquire(&pool).await?;
        let warnings: Vec<String> = db::durability(&mut conn)
            .await
            .map_err(db::Error::from)?
            .iter()
            .map(ToString::to_string)
            .collect();
        drop(conn);
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        let transport = transport(&config);
        warn_of_listeners(&config, &url, &transport);
        let ohif = config.ohif_dir.as_deref().map(|folder| {
            web::ohif::folder::Folder::open(folder)
                .with_context(|| format!("cannot serve OHIF from {}", folder.display()))
        });
        let ohif = ohif.transpose()?;
        let data_dir = std::fs::canonicalize(&config.data_dir).unwrap_or(config.data_dir.clone());
        let decoder = Decoder::new(DECODE_WORKERS, config.decode_worker);
        let runtime = tokio::runtime::Handle::current();
        let archive = Archive::new(pool.clone(), storage, decoder.clone(), runtime)?;
        let people = Arc::new(People::new(pool.clone()).context("cannot make random bytes")?);
        people.prepare().await?;
        jobs::take_over(&pool).await?;
        let (stop, stopping) = watch::channel(false);
        let requestor = Requestor {
            ae_title: config.ae_title.clone(),
            identity: config.tls.clone(),
            timeouts: config.patience,
        };
        let app = Data::new(web::App {
            archive: archive.clone(),
            pool: pool.clone(),
            decoder: Arc::new(decoder),
            metadata: web::dicomweb::wado::metadata::cache(),
            intakes: web::intake::Intakes::default(),
            pictures: web::picture::Pictures::new(
                std::thread::available_parallelism().map_or(2, |n| n.get()),
            ),
            ohif,
            about: web::About {
                ae_title: config.ae_title.to_string(),
                dicom_address: ports.addresses.dicom,
                dicom_tls_address: ports.addresses.dicom_tls,
                http_address: ports.addresses.http,
                database: url.to_string(),
                warnings,
                data_dir,
                started_at: chrono::Utc::now(),
                unknown_peers: config.unknown_peers.as_str(),
            },
            people: people.clone(),
            transport,
            requestor: requestor.clone(),
            job_patience: config.jobs.patience,
            new_job: Arc::new(Notify::new()),
            stopping,
        });
        let dicom_settings = listener::Settings {
            ae_title: config.ae_title,
            requestor,
            unknown_peers: config.unknown_peers,
            max_associations: config.max_associations,
            timeouts: config.timeouts,
            grace: GRACE,
        };
        let dicom = listeners(ports.dicom, ports.dicom_tls, config.tls.as_ref())
            .context("cannot serve the DICOM ports")?;
        Ok(Server {
            private: None,
            lock,
            pool,
            archive,
            dicom,
            dicom_settings,
            http: ports.http,
            addresses: ports.addresses,
            tls: config.tls,
            jobs: config.jobs,
            app,
            stop,
        })
    }

    /// Where DICOM is served; the port is the real one also where 0 was asked for.
    pub fn dicom_address(&self) -> SocketAddr {
        self.addresses.dicom
    }

    /// Where DICOM is served over TLS, if it is.
    pub fn dicom_tls_address(&self) -> Option<SocketAddr> {
        self.addresses.dicom_tls
    }

    /// Who may sign in.
    pub fn people(&self) -> &People {
        &self.app.people
    }

    /// Where the pages are served.
    pub fn http_address(&self) -> SocketAddr {
        self.addresses.http
    }

    /// How the address of the pages begins, `http` or `https`.
    pub fn http_scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Where nobody can sign in yet, logs the one address that changes that.
    pub async fn tell_how_to_begin(&self) -> anyhow::Result<()> {
        let people = self.people();
        if people.is_anybody_there().await? {
            return Ok(());
        }
        let token = people.set_up.begin(std::time::Instant::now()).context("cannot make random bytes")?;
        let (scheme, http) = (self.http_scheme(), self.addresses.http);
        let site = match (&self.app.transport, http.ip()) {
            (Transport::Proxy(_), _) => "the proxy's https address, ".to_owned(),
            (_, ip) if ip.is_unspecified() => format!("{scheme}://127.0.0.1:{}", http.port()),
            _ => format!("{scheme}://{http}"),
        };
        tracing::warn!(
            "nobody can sign in yet: make the first administrator within an hour at {site}/setup?token={token}"
        );
        Ok(())
    }

    /// Serves until `until` completes; then refuses new associations, finishes what is in flight and closes the
    /// database last.
    pub async fn run(self, until: impl Future<Output = ()> + Send) -> anyhow::Result<()> {
        let Server {
            private,
            lock,
            pool,
            archive,
            dicom,
            dicom_settings,
            http,
            tls,
            jobs: schedule,
            app,
            stop,
            ..
        } = self;
        let jobs = Jobs::start(
            schedule,
            app.requestor.clone(),
            archive.clone(),
            pool.clone(),
            app.new_job.clone(),
            stop.subscribe(),
        )
        .context("cannot start the threads that work on jobs")?;
        let connections = Connections::default();
        let forgotten = app.clone();
        let http =
            pages(http, tls.as_ref(), app, connections.clone()).context("cannot serve the HTTP port")?;
        let slow = tokio::spawn(connections.close_slow());
        let forgetting = tokio::spawn(Uploads::forget(forgotten));
        let certificate = tls.map(|identity| tokio::spawn(identity.keep_current()));
        let http_handle = http.handle();
        let mut http = tokio::spawn(http);
        let dimse = tokio::spawn(listener::serve(
            dicom,
            dicom_settings,
            archive.clone(),
            pool.clone(),
            stop.subscribe(),
        ));
        let mut ended = Ok(());
        tokio::select! {
            () = until => {}
            result = &mut http => {
                ended = Err(anyhow::anyhow!("the HTTP server ended by itself: {result:?}"));
            }
            () = lock.lost() => {
                ended = Err(anyhow::anyhow!("another filmroom serves this database, so this one stops"));
            }
        }
        tracing::info!("stopping: new associations are refused, what is in flight is finished");
        stop.send_replace(true);
        http_handle.stop(true).await;
        if let Err(err) = dimse.await {
            tracing::error!(%err, "the DICOM port ended in a panic");
        }
        jobs.ended().await;
        if let Some(certificate) = certificate {
            certificate.abort();
        }
        slow.abort();
        forgetting.abort();
        drop(archive);
        lock.release().await;
        if let Err(err) = pool.close().await {
            tracing::warn!(
                err = &db::Error::from(err) as &dyn std::error::Error,
                "cannot say goodbye to the database"
            );
        }
        if let Some(private) = private {
            private.stop().await;
        }
        tracing::info!("stopped");
        ended
    }
}

impl Ports {
    fn bind(config: &Config) -> anyhow::Result<Ports> {
        let (dicom, dicom_address) = bind("DICOM", config.dicom_listen)?;
        let (http, http_address) = bind("HTTP", config.http_listen)?;
        let dicom_tls = config.dicom_tls_listen.map(|address| bind("DICOM TLS", address)).transpose()?;
        let (dicom_tls, dicom_tls_address) = dicom_tls.unzip();
        let addresses = Addresses { dicom: dicom_address, dicom_tls: dicom_tls_address, http: http_address };
        Ok(Ports { dicom, dicom_tls, http, addresses })
    }
}

fn listeners(
    plain: std::net::TcpListener,
    tls: Option<std::net::TcpListener>,
    identity: Option<&Identity>,
) -> anyhow::Result<Listeners> {
    let plain = TcpListener::from_std(plain)?;
    let Some(tls) = tls else { return Ok(Listeners { plain, tls: None }) };
    let identity = identity.context("there is no certificate for TLS")?;
    let acceptor = TlsAcceptor::from(identity.dicom()?);
    Ok(Listeners { plain, tls: Some((TcpListener::from_std(tls)?, acceptor)) })
}

/// How addresses of the pages begin.
/// How browsers reach the pages.
fn transport(config: &Config) -> Transport {
    match config {
        Config { tls: Some(_), .. } => Transport::Tls,
        Config { behind_proxy, .. } if !behind_proxy.is_empty() => Transport::Proxy(behind_proxy.clone()),
        Config { http_listen, .. } if config::is_loopback(http_listen.ip()) => Transport::Loopback,
        _ => Transport::Plain,
    }
}

/// Says where somebody could listen, or be somebody else.
fn warn_of_listeners(config: &Config, url: &db::DatabaseUrl, transport: &Transport) {
    if *transport == Transport::Plain {
        tracing::warn!(
            "the pages are served to other machines without encryption (--plain-http-i-know): passwords and images \
             can be read on the way"
        );
    }
    if url.is_exposed() {
        tracing::warn!(
            "the connection to the database on another machine is not encrypted: put ?ssl-mode=VERIFY_IDENTITY&ssl-ca=FILE \
             behind the database URL, or at least ?ssl-mode=REQUIRED"
        );
    }
    if let Some(warning) = config.tls.as_ref().and_then(Identity::warning) {
        tracing::warn!("{warning}");
    }
}

/// The usual limit of 1,024 would let browsers that hold connections open take the files that instances are stored in.
fn allow_many_files() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls read or write the one structure they are given.
    let raised = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 && {
            let wanted = OPEN_FILES.min(limit.rlim_max);
            wanted <= limit.rlim_cur || {
                limit.rlim_cur = wanted;
                libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) == 0
            }
        }
    };
    if !raised {
        let err = std::io::Error::last_os_error();
        tracing::warn!(%err, "cannot raise the number of files that may be open");
    }
}

/// The HTTP server. Its workers are threads with a runtime each; what they ask of the archive runs on ours.
fn pages(
    listener: std::net::TcpListener,
    identity: Option<&Identity>,
    app: Data<web::App>,
    connections: Connections,
) -> anyhow::Result<actix_web::dev::Server> {
    let site = move || {
        let slow = from_fn(web::slow::serve);
        App::new().app_data(app.clone()).configure(web::routes::configure).wrap(slow)
    };
    let server = HttpServer::new(site)
        .on_connect(move |connection, extensions| connections.opened(connection, extensions))
        .workers(std::thread::available_parallelism().map_or(2, |n| n.get()).clamp(2, 8))
        .max_connections(HTTP_CONNECTIONS)
        // Otherwise a few hundred handshakes that do not go on would keep out everybody else.
        .max_connection_rate(HTTP_CONNECTIONS)
        .tls_handshake_timeout(Duration::from_secs(10))
        .client_request_timeout(Duration::from_secs(10))
        // Shorter than the time for the next request, see `web::slow`.
        .keep_alive(Duration::from_secs(30))
        // A browser that has gone needs no picture.
        .h1_allow_half_closed(false)
        .shutdown_timeout(GRACE.as_secs())
        .disable_signals();
    let server = match identity {
        Some(identity) => server.listen_rustls_0_23(listener, identity.https()?)?,
        None => server.listen(listener)?,
    };
    Ok(server.run())
}

fn bind(what: &str, address: SocketAddr) -> anyhow::Result<(std::net::TcpListener, SocketAddr)> {
    let bound = || {
        let listener = std::net::TcpListener::bind(address)?;
        listen_further(&listener)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bound().map_err(|err: std::io::Error| match err.kind() {
        std::io::ErrorKind::AddrInUse => {
            anyhow::anyhow!(
                "the {what} port {address} is taken: another program, or another filmroom, listens there"
            )
        }
        std::io::ErrorKind::PermissionDenied => anyhow::anyhow!(
            "the {what} port {address} needs rights this user does not have: choose a port above 1023"
        ),
        _ => anyhow::anyhow!("cannot listen on {address} for {what}: {err}"),
    })
}

/// The 128 connections that may wait by default are fewer than a few browsers and modalities open in the same instant,
/// and what the queue has no room for the system drops without a word.
fn listen_further(listener: &std::net::TcpListener) -> std::io::Result<()> {
    // SAFETY: the descriptor is an open socket that listens; listening again changes the length of its queue alone.
    match unsafe { libc::listen(listener.as_raw_fd(), WAITING_CONNECTIONS) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}
