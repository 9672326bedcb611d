//! The command line: `serve`, `demo`, `peer`, `user`, `check`, and `echo`, `find`, `get`, `move`, `send`.
//!
//! Exit codes: 0 done, 1 it did not work, 2 the settings are wrong.

mod check;
mod peer;
mod scu;
mod user;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};

use crate::config::{Config, Settings};
use crate::db::audit::{Actor, ActorKind};
use crate::db::{self, DatabaseUrl};
use crate::dimse::access::UnknownPeers;
use crate::private_server::{self, PrivateServer};
use crate::server::Server;

/// A PACS in one executable.
#[derive(Debug, Parser)]
#[command(name = "filmroom", version, about, max_term_width = 100)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server: DICOM, index, pages.
    Serve(Settings),
    /// Run a server on this machine alone, filled with synthetic studies.
    Demo {
        #[command(flatten)]
        settings: DemoSettings,
    },
    /// Remote AEs that may call.
    Peer {
        #[command(flatten)]
        settings: Settings,
        #[command(subcommand)]
        command: peer::PeerCommand,
    },
    /// People who may sign in.
    User {
        #[command(flatten)]
        settings: Settings,
        #[command(subcommand)]
        command: user::UserCommand,
    },
    #[command(flatten)]
    Scu(scu::ScuCommand),
    /// Follow the audit trail through, and tell whether an entry was changed or taken out.
    Check {
        #[command(flatten)]
        settings: Settings,
    },
}

#[derive(Debug, clap::Args)]
struct DemoSettings {
    /// Folder for the files of the demo.
    #[arg(long, env = "FILMROOM_DATA_DIR", default_value = "demo-data", value_name = "FOLDER")]
    data_dir: PathBuf,
    /// Address and port for DICOM.
    #[arg(
        long,
        env = "FILMROOM_DICOM_LISTEN",
        default_value = "127.0.0.1:11112",
        value_name = "ADDRESS:PORT"
    )]
    dicom_listen: String,
    /// Address and port for the pages.
    #[arg(long, env = "FILMROOM_HTTP_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS:PORT")]
    http_listen: String,
}

/// An argument that means nothing.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct WrongUsage(String);

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let line = Line::parse();
    log_to_stderr();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(std::thread::available_parallelism().map_or(2, |n| n.get()).clamp(2, 16))
        .max_blocking_threads(64)
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(err) => {
            eprintln!("filmroom: cannot start: {err}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        match line.command {
            Command::Serve(settings) => serve(settings.check()?).await,
            Command::Demo { settings } => demo(settings).await,
            Command::Peer { settings, command } => peer::run(&settings, command).await,
            Command::User { settings, command } => user::run(&settings, command).await,
            Command::Scu(command) => scu::run(command).await,
            Command::Check { settings } => check::run(&settings).await,
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(2));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            let wrong_settings = err.is::<crate::config::Mistakes>() || err.is::<WrongUsage>();
            for line in format!("{err:#}").lines() {
                eprintln!("filmroom: {line}");
            }
            ExitCode::from(if wrong_settings { 2 } else { 1 })
        }
    }
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let stop = stop_signal()?;
    let server = Server::build(config).await?;
    server.tell_how_to_begin().await?;
    tracing::info!(
        dicom = %server.dicom_address(),
        dicom_tls = server.dicom_tls_address().map(tracing::field::display),
        http = %server.http_address(),
        "filmroom {} is ready: pages at {}://{}/",
        env!("CARGO_PKG_VERSION"),
        server.http_scheme(),
        server.http_address()
    );
    server.run(stop).await
}

async fn demo(settings: DemoSettings) -> anyhow::Result<()> {
    let line = Line::try_parse_from([
        "filmroom",
        "serve",
        "--dicom-listen",
        &settings.dicom_listen,
        "--http-listen",
        &settings.http_listen,
        "--unknown-peers",
        UnknownPeers::Store.as_str(),
    ])?;
    let Command::Serve(mut serve) = line.command else {
        anyhow::bail!("the demo has no settings to serve with");
    };
    // Whatever the environment says of another database and of other machines, the demo keeps to its own.
    serve.database_url = None;
    serve.database_url_file = None;
    serve.dicom_tls_listen = None;
    serve.tls_certificate = None;
    serve.tls_key = None;
    serve.behind_proxy = None;
    serve.data_dir = settings.data_dir;
    let config = serve.check()?;
    let ae_title = config.ae_title.clone();
    let stop = stop_signal()?;
    let server = Server::build(config).await?;
    let (dicom, http) = (server.dicom_address(), server.http_address());
    let name = "demo".parse().map_err(|err| anyhow::anyhow!("the demo's user: {err}"))?;
    let password = server.people().demo_account(at_terminal(), &name).await?;
    let running = tokio::spawn(server.run(stop));
    let summary =
        crate::demo::fill(dicom, &ae_title).await.context("cannot store the studies of the demo")?;
    println!();
    println!("{summary}");
    println!();
    println!("  pages       http://{http}/");
    println!("  sign in     {name} with the password {password}");
    println!("  DICOM       {ae_title} at {} port {}", dicom.ip(), dicom.port());
    println!("  try         storescu -aec {ae_title} {} {} FILE.dcm", dicom.ip(), dicom.port());
    println!("  stop        Ctrl-C");
    println!();
    running.await?
}

/// Runs a command with the database of the settings, its tables made or brought up to date.
async fn with_database(
    settings: &Settings,
    command: impl AsyncFnOnce(&db::Pool) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let config = settings.check()?;
    let access = DatabaseAccess::open(&config).await?;
    let run = async {
        access.prepare().await?;
        let pool = db::connect(&access.url).await?;
        let result = command(&pool).await;
        pool.close().await.map_err(db::Error::from)?;
        result
    };
    let result = run.await;
    access.close().await;
    result
}

/// Whoever runs a command, for the audit trail.
fn at_terminal() -> Actor {
    let name = ["SUDO_USER", "USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    Actor { kind: ActorKind::Terminal, name: name.unwrap_or_default(), address: String::new() }
}

/// The database of the settings: an existing one, or the private one, started for as long as this lives. Where the
/// server runs already, its private database is used as it is.
struct DatabaseAccess {
    url: DatabaseUrl,
    private: Option<PrivateServer>,
}

impl DatabaseAccess {
    async fn open(config: &Config) -> anyhow::Result<DatabaseAccess> {
        match &config.database {
            Some(url) => Ok(DatabaseAccess { url: url.clone(), private: None }),
            None => match private_server::start(&config.data_dir).await {
                Ok(private) => Ok(DatabaseAccess { url: private.url(), private: Some(private) }),
                Err(private_server::Error::InUse { .. }) => {
                    Ok(DatabaseAccess { url: private_server::running(&config.data_dir)?, private: None })
                }
                Err(err) => Err(err.into()),
            },
        }
    }

    /// Makes the tables, or brings them up to date, as the account that may.
    async fn prepare(&self) -> anyhow::Result<()> {
        match &self.private {
            Some(private) => private.prepare().await?,
            None => {
                db::schema::prepare(&self.url).await?;
            }
        }
        Ok(())
    }

    async fn close(self) {
        if let Some(private) = self.private {
            private.stop().await;
        }
    }
}

/// Completes at SIGTERM or SIGINT.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut term = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut int = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    })
}

/// Logs for an operator: words on a terminal, JSON lines elsewhere. `FILMROOM_LOG` filters them.
fn log_to_stderr() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_env("FILMROOM_LOG")
        .unwrap_or_else(|_| EnvFilter::new("info,dicom_ul=warn,dicom_object=warn,dicom_parser=warn"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        builder.with_target(false).init();
    } else {
        builder.json().init();
    }
}
