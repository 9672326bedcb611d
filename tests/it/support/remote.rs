//! Other archives to ask and to send to: DCMTK's dcmqrscp, Orthanc, and pynetdicom with all kinds of manners.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use filmroom::db::peer::{self, Encryption, PeerDetails};
use filmroom::dicom::service::{Service, Services};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use super::database::TestDatabase;
use super::instance::Instance;

/// An archive that runs as a process of its own. Dropping it kills it.
pub struct Remote {
    _child: Child,
    stdin: Option<ChildStdin>,
    folder: tempfile::TempDir,
    pub ae_title: &'static str,
    pub port: u16,
    /// Where it answers HTTP: of Orthanc.
    http: Option<u16>,
    /// What a script has said, a line each.
    lines: Arc<Mutex<Vec<String>>>,
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("bound").port()
}

impl Remote {
    /// dcmqrscp, which sends what a C-MOVE asks for to `us`.
    pub async fn dcmqrscp(us: SocketAddr) -> Remote {
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let storage = folder.path().join("storage");
        std::fs::create_dir(&storage).expect("a folder");
        let config = format!(
            "NetworkTCPPort = {port}\nMaxPDUSize = 16384\nMaxAssociations = 16\n\
             HostTable BEGIN\nus = (FILMROOM, localhost, {})\nHostTable END\n\
             VendorTable BEGIN\nVendorTable END\n\
             AETable BEGIN\nQRSCP {} RW (1000, 1gb) ANY\nAETable END\n",
            us.port(),
            storage.display()
        );
        let file = folder.path().join("dcmqrscp.cfg");
        std::fs::write(&file, config).expect("a file");
        let mut command = Command::new("dcmqrscp");
        command.arg("--config").arg(&file).arg("--max-pdu").arg("16384");
        Remote::started(command, folder, "QRSCP", port).await
    }

    /// Orthanc without plugins, which sends what a C-MOVE asks for to `us`.
    pub async fn orthanc(us: SocketAddr) -> Remote {
        let folder = tempfile::tempdir().expect("a folder");
        let (port, http) = (free_port(), free_port());
        let config = serde_json::json!({
            "Name": "test",
            "StorageDirectory": folder.path().join("storage"),
            "IndexDirectory": folder.path().join("index"),
            "DicomAet": "ORTHANC",
            "DicomPort": port,
            "HttpPort": http,
            "Plugins": [],
            "RemoteAccessAllowed": false,
            "AuthenticationEnabled": false,
            "DicomCheckCalledAet": true,
            "DicomAlwaysAllowEcho": true,
            "DicomAlwaysAllowStore": true,
            "DicomAlwaysAllowFind": true,
            "DicomAlwaysAllowGet": true,
            "DicomAlwaysAllowMove": true,
            "DicomModalities": { "us": ["FILMROOM", "127.0.0.1", us.port()] },
        });
        let file = folder.path().join("orthanc.json");
        std::fs::write(&file, config.to_string()).expect("a file");
        let usual =
            ["/usr/sbin/Orthanc", "/usr/bin/Orthanc"].into_iter().find(|path| Path::new(path).exists());
        let mut command = Command::new(usual.expect("Orthanc: `make test` installs it"));
        command.arg(&file);
        let mut remote = Remote::started(command, folder, "ORTHANC", port).await;
        remote.http = Some(http);
        remote
    }

    /// Has Orthanc do something by its REST interface, and returns what it answers.
    pub async fn has_done(&self, path: &str, body: serde_json::Value) -> serde_json::Value {
        let request = reqwest::Client::new().post(self.rest(path)).json(&body);
        answer(path, request.timeout(Duration::from_secs(60)).send().await).await
    }

    /// What Orthanc says by its REST interface.
    pub async fn says(&self, path: &str) -> serde_json::Value {
        answer(path, reqwest::get(self.rest(path)).await).await
    }

    fn rest(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.http.expect("Orthanc"))
    }

    async fn started(
        mut command: Command,
        folder: tempfile::TempDir,
        ae_title: &'static str,
        port: u16,
    ) -> Remote {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|err| panic!("{command:?}: {err}: `make test` installs it"));
        let began = Instant::now();
        while tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
            assert!(began.elapsed() < Duration::from_secs(60), "{ae_title} does not listen");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Remote { _child: child, stdin: None, folder, ae_title, port, http: None, lines: Arc::default() }
    }

    /// scp.py with these manners.
    pub async fn scripted(arguments: &[&str]) -> Remote {
        Remote::of_script("scp.py", arguments).await
    }

    /// commitment.py as an archive with these manners, which finds filmroom at `us`.
    pub async fn committing(us: SocketAddr, manners: &[&str]) -> Remote {
        let mut remote = Remote::of_script("commitment.py", &[&["serve"], manners].concat()).await;
        let stdin = remote.stdin.as_mut().expect("its input");
        stdin.write_all(format!("{}\n", us.port()).as_bytes()).await.expect("it reads");
        remote
    }

    async fn of_script(script: &str, arguments: &[&str]) -> Remote {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut child = Command::new(root.join(".tools/venv/bin/python"))
            .arg(root.join("tests/it/support").join(script))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("python: `make test` sets it up");
        let mut output = BufReader::new(child.stdout.take().expect("its output")).lines();
        let port = output.next_line().await.expect("a line").expect("a port").parse().expect("a number");
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = lines.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = output.next_line().await {
                kept.lock().expect("lines").push(line);
            }
        });
        let stdin = child.stdin.take();
        let folder = tempfile::tempdir().expect("a folder");
        Remote { _child: child, stdin, folder, ae_title: "SCRIPTED", port, http: None, lines }
    }

    /// What a script has taken, in its order.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("lines").clone()
    }

    /// How many different instances a script has taken.
    pub fn taken(&self) -> usize {
        let mut lines = self.lines();
        lines.sort();
        lines.dedup();
        lines.len()
    }

    /// Where it is.
    pub fn address(&self) -> String {
        format!("{}@127.0.0.1:{}", self.ae_title, self.port)
    }

    /// Fills it with DCMTK's storescu.
    pub async fn fill(&self, instances: &[Instance]) {
        let files: Vec<_> = instances.iter().map(Instance::file).collect();
        let paths: Vec<PathBuf> = files.iter().map(|file| file.path().to_owned()).collect();
        let out = Command::new("storescu")
            .args(["-aec", self.ae_title, "127.0.0.1", &self.port.to_string()])
            .args(paths)
            .output()
            .await
            .expect("storescu, of the Debian package dcmtk");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }

    /// Files dcmqrscp has.
    pub fn files(&self) -> usize {
        let stored = super::files_below(&self.folder.path().join("storage"));
        stored.iter().filter(|path| !path.ends_with("index.dat")).count()
    }

    /// Makes it a peer of this database.
    pub async fn become_peer(&self, database: &TestDatabase) {
        add_peer(database, self.ae_title, self.port).await;
    }
}

async fn answer(path: &str, response: reqwest::Result<reqwest::Response>) -> serde_json::Value {
    let response = response.unwrap_or_else(|err| panic!("{path}: {err}"));
    let (status, text) = (response.status(), response.text().await.expect("text"));
    assert!(status.is_success(), "{path}: {status} {text}");
    serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text))
}

/// Makes an AE on this machine a peer.
pub async fn add_peer(database: &TestDatabase, ae_title: &str, port: u16) {
    let mut conn = database.connect().await;
    let details = PeerDetails {
        ae_title: ae_title.parse().expect("an AE title"),
        host: "127.0.0.1".to_owned(),
        port: Some(port),
        services: [Service::Echo, Service::Store].into_iter().collect::<Services>(),
        is_destination: false,
        offers_commitment: false,
        encryption: Encryption::Optional,
        certificate: None,
        description: String::new(),
    };
    peer::add(&mut conn, &details).await.expect("a peer");
    conn.disconnect().await.expect("a goodbye");
}
