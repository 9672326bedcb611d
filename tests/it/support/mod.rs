//! What tests are written with: a real server with a database and a folder of its own, independent SCUs (DCMTK and
//! pynetdicom) and peers scripted byte by byte.

pub mod browser;
pub mod database;
pub mod instance;
pub mod peer;
pub mod person;
pub mod process;
pub mod qr;
pub mod remote;
pub mod tls;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use filmroom::config::Config;
use filmroom::dimse::access::UnknownPeers;
use filmroom::dimse::{Timeouts, scu};
use filmroom::jobs::Schedule;
use filmroom::server::Server;
use mysql_async::prelude::Queryable;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use database::TestDatabase;
use instance::Instance;
use person::Person;

/// The executable under test.
pub const FILMROOM: &str = env!("CARGO_BIN_EXE_filmroom");

/// A running server. Dropping it stops it and removes its database and folder.
pub struct TestServer {
    pub dicom: std::net::SocketAddr,
    pub dicom_tls: Option<std::net::SocketAddr>,
    pub http: std::net::SocketAddr,
    pub database: TestDatabase,
    pub folder: tempfile::TempDir,
    /// An administrator called `admin`, who is signed in.
    pub admin: Person,
    stop: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<anyhow::Result<()>>>,
}

/// The configuration tests start from: everything on port 0, and everybody may store.
pub fn config(database: &TestDatabase, folder: &Path) -> Config {
    Config {
        database: Some(database.url.clone()),
        data_dir: folder.to_owned(),
        ae_title: "FILMROOM".parse().expect("an AE title"),
        dicom_listen: "127.0.0.1:0".parse().expect("an address"),
        dicom_tls_listen: None,
        http_listen: "127.0.0.1:0".parse().expect("an address"),
        tls: None,
        behind_proxy: Vec::new(),
        ohif_dir: None,
        unknown_peers: UnknownPeers::Store,
        max_associations: 64,
        timeouts: Timeouts {
            association: Duration::from_secs(30),
            message: Duration::from_secs(60),
            idle: Duration::from_secs(60),
        },
        jobs: Schedule::default(),
        patience: scu::Timeouts::default(),
        decode_worker: PathBuf::from(FILMROOM),
    }
}

impl TestServer {
    /// A server with an empty archive.
    pub async fn start() -> TestServer {
        TestServer::start_with(|_| {}).await
    }

    /// As [`TestServer::start`], with a changed configuration.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> TestServer {
        let database = database::fresh().await;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut config = config(&database, folder.path());
        change(&mut config);
        let server = Server::build(config).await.expect("a server that starts");
        let (dicom, http) = (server.dicom_address(), server.http_address());
        let dicom_tls = server.dicom_tls_address();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(server.run(async move {
            let _ = stopped.await; // a test that is over drops its end
        }));
        let admin = person::administrator(&database, http).await;
        TestServer {
            dicom,
            dicom_tls,
            http,
            database,
            folder,
            admin,
            stop: Some(stop),
            running: Some(running),
        }
    }

    /// Stops it as SIGTERM does, and returns what `serve` ended with.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        self.stop.take();
        match self.running.take() {
            Some(running) => running.await.expect("a server that does not panic"),
            None => Ok(()),
        }
    }

    /// Sends one instance with pynetdicom, and returns the status.
    pub async fn store(&self, instance: &Instance) -> Answer {
        let mut answers = self.store_all(std::slice::from_ref(instance)).await;
        answers.pop().expect("one answer")
    }

    /// Sends instances over one association with pynetdicom.
    pub async fn store_all(&self, instances: &[Instance]) -> Vec<Answer> {
        let files: Vec<_> = instances.iter().map(Instance::file).collect();
        let paths: Vec<&Path> = files.iter().map(|file| file.path()).collect();
        store_files(self.dicom, &paths).await
    }

    /// The stored files.
    pub fn files(&self) -> Vec<PathBuf> {
        files_below(&self.folder.path().join("archive"))
    }

    /// The one value that a statement gives.
    pub async fn value<T: mysql_async::prelude::FromValue>(&self, sql: &str) -> T {
        let mut conn = self.database.connect().await;
        let row: Option<mysql_async::Row> = conn.query_first(sql).await.expect("a statement that runs");
        let value = row.expect("a row").take(0).expect("a column");
        conn.disconnect().await.expect("a goodbye");
        value
    }

    /// The number that `SELECT COUNT(*) FROM ...` gives.
    pub async fn count(&self, from: &str) -> u64 {
        self.value(&format!("SELECT COUNT(*) FROM {from}")).await
    }

    /// The address of a page.
    pub fn address(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    /// Fetches a page as the administrator.
    pub async fn get(&self, path: &str) -> reqwest::Response {
        self.admin.get(path).await
    }

    /// Fetches a page that must be there.
    pub async fn page(&self, path: &str) -> scraper::Html {
        let response = self.get(path).await;
        assert_eq!(response.status(), 200, "GET {path}");
        scraper::Html::parse_document(&response.text().await.expect("text"))
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(running) = self.running.take() {
            running.abort();
        }
    }
}

/// What a peer answered to a C-STORE.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Answer {
    /// Status (0000,0900); none where the association ended instead.
    pub status: Option<u16>,
    /// Error Comment (0000,0902).
    pub comment: String,
}

impl Answer {
    /// 0000H.
    pub fn is_success(&self) -> bool {
        self.status == Some(0)
    }
}

/// Sends files as they are over one association with pynetdicom.
pub async fn store_files(to: std::net::SocketAddr, files: &[&Path]) -> Vec<Answer> {
    let mut arguments = vec!["store".to_owned(), to.port().to_string()];
    arguments.extend(files.iter().map(|file| file.display().to_string()));
    let out = python("scu.py", &arguments).await;
    serde_json::from_str(&out).unwrap_or_else(|err| panic!("scu.py answers JSON: {err}\n{out}"))
}

/// Runs one of the scripts beside this file in the environment that `make test` sets up.
pub async fn python(script: &str, arguments: &[String]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let interpreter = root.join(".tools/venv/bin/python");
    assert!(interpreter.exists(), "{} is missing: `make test` sets it up", interpreter.display());
    let out = tokio::process::Command::new(interpreter)
        .arg(root.join("tests/it/support").join(script))
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .expect("python runs");
    assert!(out.status.success(), "{script} {arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("text")
}

/// The folder of pydicom's test files.
pub fn pydicom_data() -> PathBuf {
    let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/venv/lib");
    let python = std::fs::read_dir(&lib)
        .unwrap_or_else(|err| panic!("{}: {err}: `make test` sets it up", lib.display()))
        .filter_map(Result::ok)
        .find(|entry| entry.file_name().to_string_lossy().starts_with("python3"));
    python.expect("a python").path().join("site-packages/pydicom/data")
}

/// The folder of the OHIF viewer.
pub fn ohif_folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("ohif");
    assert!(folder.join("index.html").is_file(), "{} is missing: `make test` sets it up", folder.display());
    folder
}

/// All files below a folder, sorted.
pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// Waits for something that becomes true soon.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut is_true: impl FnMut() -> F) {
    for _ in 0..200 {
        if is_true().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it did not come true within ten seconds: {what}");
}
