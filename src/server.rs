//! The whole server: database, archive, DICOM port and pages, built together and stopped in the right order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Data;
use actix_web::{App, HttpServer};
use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::archive::Archive;
use crate::codec::Decoder;
use crate::config::Config;
use crate::db::{self, Pool, ServeLock};
use crate::dimse::listener;
use crate::people::People;
use crate::private_server::{self, PrivateServer};
use crate::storage::Storage;
use crate::web;

/// How long associations and requests that are busy get when the server is being stopped.
const GRACE: Duration = Duration::from_secs(30);

/// Children that decode with C and C++ codecs. Each may take a core.
const DECODE_WORKERS: usize = 2;

/// A port that is held, and where.
type Port = (std::net::TcpListener, SocketAddr);

/// A server that holds its ports and its database and has not begun to serve.
pub struct Server {
    private: Option<PrivateServer>,
    lock: ServeLock,
    pool: Pool,
    archive: Archive,
    dicom: TcpListener,
    dicom_settings: listener::Settings,
    dicom_address: SocketAddr,
    http: std::net::TcpListener,
    http_address: SocketAddr,
    app: Data<web::App>,
    stop: watch::Sender<bool>,
}

impl Server {
    /// Opens everything that can fail. After an error nothing of it is left running.
    pub async fn build(config: Config) -> anyhow::Result<Server> {
        // Ports and folder first: they are quick to tell, and nothing has been made yet.
        let (dicom, dicom_address) = bind("DICOM", config.dicom_listen)?;
        let (http, http_address) = bind("HTTP", config.http_listen)?;
        let private = match &config.database {
            Some(_) => None,
            None => Some(private_server::start(&config.data_dir).await?),
        };
        let url = match (&config.database, &private) {
            (Some(url), _) => url.clone(),
            (None, Some(private)) => private.url(),
            (None, None) => anyhow::bail!("there is no database"),
        };
        let ports = ((dicom, dicom_address), (http, http_address));
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
        ((dicom, dicom_address), (http, http_address)): (Port, Port),
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
        let data_dir = std::fs::canonicalize(&config.data_dir).unwrap_or(config.data_dir);
        let archive = Archive::new(pool.clone(), storage, tokio::runtime::Handle::current())?;
        let people = Arc::new(People::new(pool.clone()).context("cannot make random bytes")?);
        people.prepare().await?;
        tell_how_to_begin(&people, http_address).await?;
        let (stop, stopping) = watch::channel(false);
        let app = Data::new(web::App {
            archive: archive.clone(),
            pool: pool.clone(),
            decoder: Arc::new(Decoder::new(DECODE_WORKERS, config.decode_worker)),
            pictures: web::picture::Pictures::new(
                std::thread::available_parallelism().map_or(2, |n| n.get()),
            ),
            about: web::About {
                ae_title: config.ae_title.to_string(),
                dicom_address,
                http_address,
                database: url.to_string(),
                warnings,
                data_dir,
                started_at: chrono::Utc::now(),
                unknown_peers: config.unknown_peers.as_str(),
            },
            people: people.clone(),
            transport: web::transport::Transport::Loopback,
            stopping,
        });
        let dicom_settings = listener::Settings {
            ae_title: config.ae_title,
            unknown_peers: config.unknown_peers,
            max_associations: config.max_associations,
            timeouts: config.timeouts,
            grace: GRACE,
        };
        let dicom = TcpListener::from_std(dicom).context("cannot serve the DICOM port")?;
        Ok(Server {
            private: None,
            lock,
            pool,
            archive,
            dicom,
            dicom_settings,
            dicom_address,
            http,
            http_address,
            app,
            stop,
        })
    }

    /// Where DICOM is served; the port is the real one also where 0 was asked for.
    pub fn dicom_address(&self) -> SocketAddr {
        self.dicom_address
    }

    /// Who may sign in.
    pub fn people(&self) -> &People {
        &self.app.people
    }

    /// Where the pages are served.
    pub fn http_address(&self) -> SocketAddr {
        self.http_address
    }

    /// Serves until `until` completes; then refuses new associations, finishes what is in flight and closes the
    /// database last.
    pub async fn run(self, until: impl Future<Output = ()> + Send) -> anyhow::Result<()> {
        let Server { private, lock, pool, archive, dicom, dicom_settings, http, app, stop, .. } = self;
        let http = pages(http, app).context("cannot serve the HTTP port")?;
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

/// Where nobody can sign in yet, tells the one address that changes that.
async fn tell_how_to_begin(people: &People, http: SocketAddr) -> anyhow::Result<()> {
    if people.is_anybody_there().await? {
        return Ok(());
    }
    let token = people.set_up.begin(std::time::Instant::now()).context("cannot make random bytes")?;
    let host = match http.ip() {
        ip if ip.is_unspecified() => std::net::IpAddr::from([127, 0, 0, 1]),
        ip => ip,
    };
    let http = SocketAddr::new(host, http.port());
    tracing::warn!(
        "nobody can sign in yet: make the first administrator within an hour at http://{http}/setup?token={token}"
    );
    Ok(())
}

/// The HTTP server. Its workers are threads with a runtime each; what they ask of the archive runs on ours.
fn pages(listener: std::net::TcpListener, app: Data<web::App>) -> std::io::Result<actix_web::dev::Server> {
    let server = HttpServer::new(move || App::new().app_data(app.clone()).configure(web::routes::configure))
        .workers(std::thread::available_parallelism().map_or(2, |n| n.get()).clamp(2, 8))
        .max_connections(1024)
        .client_request_timeout(Duration::from_secs(10))
        .keep_alive(Duration::from_secs(75))
        // A browser that has gone needs no picture.
        .h1_allow_half_closed(false)
        .shutdown_timeout(GRACE.as_secs())
        .disable_signals()
        .listen(listener)?;
    Ok(server.run())
}

fn bind(what: &str, address: SocketAddr) -> anyhow::Result<(std::net::TcpListener, SocketAddr)> {
    let bound = || {
        let listener = std::net::TcpListener::bind(address)?;
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
