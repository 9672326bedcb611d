//! The database by TLS: what `ssl-mode` and `ssl-ca` of the URL ask of a server with a certificate, and of one without.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use filmroom::db::{self, DatabaseUrl, Error};
use filmroom::private_server::Options;
use mysql_async::prelude::Queryable;
use tokio::net::TcpStream;

use crate::support::database::statement;
use crate::support::tls::Pair;
use crate::support::{FILMROOM, eventually};

/// A database server that listens on 127.0.0.1, with an account `film` and a database `archive`. Stopped when dropped.
struct Server {
    process: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Server {
    async fn start(certificate: &Pair) -> Server {
        let folder = tempfile::tempdir().expect("a folder");
        let private = Options::new(folder.path()).start().await.expect("a private server");
        let administrator = private.administrator_url();
        for sql in [
            "CREATE DATABASE archive CHARACTER SET utf8mb4",
            "CREATE USER 'film'@'127.0.0.1' IDENTIFIED BY 'geheim'",
            "GRANT ALL PRIVILEGES ON archive.* TO 'film'@'127.0.0.1'",
        ] {
            statement(&administrator, sql).await;
        }
        let pid = private.pid().expect("a process");
        let program = std::fs::read_link(format!("/proc/{pid}/exe")).expect("a program");
        let data = data_folder(pid);
        private.stop().await;

        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        drop(listener);
        let mut command = Command::new(program);
        command.args(["--no-defaults", "--skip-name-resolve", "--bind-address=127.0.0.1"]);
        command.arg(format!("--port={}", address.port())).arg(format!("--datadir={}", data.display()));
        command.arg(format!("--socket={}", folder.path().join("s").display()));
        command.arg(format!("--pid-file={}", folder.path().join("pid").display()));
        command.arg(format!("--ssl-cert={}", certificate.certificate().display()));
        command.arg(format!("--ssl-key={}", certificate.key().display()));
        // SAFETY: geteuid has no preconditions and cannot fail.
        if unsafe { libc::geteuid() } == 0 {
            command.arg("--user=root");
        }
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a database server");
        eventually("the database server listens", async || TcpStream::connect(address).await.is_ok()).await;
        Server { process, address, _folder: folder }
    }

    fn url(&self, host: &str, options: &str) -> DatabaseUrl {
        let text = format!("mysql://film:geheim@{host}:{}/archive{options}", self.address.port());
        text.parse().expect("a URL")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().expect("it runs until it is killed");
        self.process.wait().expect("it ends");
    }
}

/// The data folder a running server was given.
fn data_folder(pid: u32) -> PathBuf {
    let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).expect("its command line");
    let folder = command.split('\0').find_map(|argument| argument.strip_prefix("--datadir="));
    let working = std::fs::read_link(format!("/proc/{pid}/cwd")).expect("its folder");
    working.join(folder.expect("a data folder"))
}

/// The cipher of a connection from the pool; empty where it is plain.
async fn cipher(url: &DatabaseUrl) -> String {
    let pool = db::connect(url).await.unwrap_or_else(|err| panic!("{url}: {err}"));
    let mut conn = db::acquire(&pool).await.expect("a connection");
    let row: Option<(String, String)> =
        conn.query_first("SHOW SESSION STATUS LIKE 'Ssl_cipher'").await.expect("an answer");
    drop(conn);
    pool.close().await.expect("closed");
    row.expect("a row").1
}

async fn refusal(url: &DatabaseUrl) -> String {
    let err = match db::connect(url).await {
        Ok(_) => panic!("connected to {url}"),
        Err(err) => err,
    };
    assert!(matches!(err, Error::Tls { .. } | Error::NoTls { .. }), "{err:?}");
    let text = err.to_string();
    assert!(!text.contains("geheim"), "{text}");
    text
}

fn believing(mode: &str, file: &Path) -> String {
    format!("?ssl-mode={mode}&ssl-ca={}", file.display())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_is_as_the_mode_says() {
    let (own, other) = (Pair::named("db.local"), Pair::named("db.local"));
    let server = Server::start(&own).await;

    assert_eq!(cipher(&server.url("127.0.0.1", "")).await, "");
    assert_eq!(cipher(&server.url("127.0.0.1", "?ssl-mode=DISABLED")).await, "");
    assert_ne!(cipher(&server.url("127.0.0.1", "?ssl-mode=required")).await, "");
    for mode in ["VERIFY_CA", "VERIFY_IDENTITY"] {
        assert_ne!(
            cipher(&server.url("127.0.0.1", &believing(mode, &own.certificate()))).await,
            "",
            "{mode}"
        );

        let refused = refusal(&server.url("127.0.0.1", &believing(mode, &other.certificate()))).await;
        assert!(
            refused.contains("its certificate is from no authority that is trusted"),
            "{mode}: {refused}"
        );
        let refused = refusal(&server.url("localhost", &believing(mode, &own.certificate()))).await;
        assert!(refused.contains("its certificate is not for localhost, but for "), "{mode}: {refused}");
        let refused = refusal(&server.url("127.0.0.1", &believing(mode, Path::new("/nowhere/ca.pem")))).await;
        assert!(refused.contains("ssl-ca) /nowhere/ca.pem cannot be read"), "{mode}: {refused}");
        let refused = refusal(&server.url("127.0.0.1", &believing(mode, &own.key()))).await;
        assert!(refused.contains("the authorities in "), "{mode}: {refused}");
    }
    let refused = refusal(&server.url("127.0.0.1", "?ssl-mode=VERIFY_IDENTITY")).await;
    assert!(refused.contains("no authority that is trusted"), "{refused}");

    // The lock and the tables are made on connections outside the pool; these are no others.
    db::schema::prepare(&server.url("127.0.0.1", "?ssl-mode=REQUIRED")).await.expect("tables");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_certificate_is_not_spoken_to_in_plain_instead() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let server = std::thread::spawn(move || {
        let (mut caller, _) = listener.accept().expect("a caller");
        caller.write_all(&greeting()).expect("greeted");
        let mut said = Vec::new();
        caller.read_to_end(&mut said).expect("the end of the connection");
        said
    });

    let url = format!("mysql://film:geheim@127.0.0.1:{port}/archive?ssl-mode=REQUIRED");
    let refused = refusal(&url.parse().expect("a URL")).await;

    assert!(refused.contains("offers no TLS") && refused.contains("ssl-cert"), "{refused}");
    let said = server.join().expect("it ended");
    assert!(said.is_empty(), "not a word to it, and no password: {said:?}");
}

/// The first packet of a server that can everything needed but TLS (CLIENT_SSL, 0800H).
fn greeting() -> Vec<u8> {
    const CAPABILITIES: u32 = 0x0008_8208; // protocol 4.1, a database, passwords, their kinds by name
    let [low, middle, high, top] = CAPABILITIES.to_le_bytes();
    let mut payload = b"\x0a10.11.0-MariaDB\0\x01\0\0\0".to_vec();
    payload.extend_from_slice(b"12345678\0");
    payload.extend_from_slice(&[low, middle, 45, 2, 0, high, top, 21]);
    payload.extend_from_slice(&[0; 10]);
    payload.extend_from_slice(b"123456789012\0mysql_native_password\0");
    let length = u8::try_from(payload.len()).expect("a short packet");
    [&[length, 0, 0, 0][..], &payload].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mode_that_does_not_exist_is_a_mistake_of_the_settings() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = tokio::process::Command::new(FILMROOM)
        .args(["serve", "--database-url", "mysql://film:geheim@db.local/archive?ssl-mode=PREFERRED"])
        .arg("--data-dir")
        .arg(folder.path().join("data"))
        .output()
        .await
        .expect("filmroom runs");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(2), "{said}");
    assert!(said.contains("--database-url: ") && said.contains("VERIFY_IDENTITY"), "{said}");
    assert!(!said.contains("geheim"), "{said}");
}
