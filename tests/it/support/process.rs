//! The executable as a process of its own, for tests that kill it, measure it or read what it says.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// A running `filmroom serve`. Dropping it kills it.
pub struct Process {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    pub dicom: SocketAddr,
    pub dicom_tls: Option<SocketAddr>,
    pub http: SocketAddr,
}

/// The arguments of a server on free ports.
pub fn serve(database_url: &str, folder: &Path) -> Command {
    let mut command = Command::new(super::FILMROOM);
    command
        .args(["serve", "--database-url", database_url])
        .arg("--data-dir")
        .arg(folder)
        .args(["--dicom-listen", "127.0.0.1:0", "--unknown-peers", "store"])
        .env("FILMROOM_HTTP_LISTEN", "127.0.0.1:0")
        .env("FILMROOM_LOG", "info");
    command
}

impl Process {
    /// Starts it and waits until it says that it is ready.
    pub async fn start(mut command: Command) -> Process {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("filmroom starts");
        let mut lines = BufReader::new(child.stderr.take().expect("its log")).lines();
        let log = Arc::new(Mutex::new(Vec::new()));
        let ready = tokio::time::timeout(Duration::from_secs(60), async {
            while let Some(line) = lines.next_line().await.expect("its log") {
                if line.contains("is ready") {
                    return serde_json::from_str::<serde_json::Value>(&line).expect("a line of JSON");
                }
                log.lock().expect("a log").push(line);
            }
            panic!("filmroom ended before it was ready: {log:?}");
        });
        let ready = ready.await.expect("it is ready within a minute");
        let address = |name: &str| ready["fields"][name].as_str().and_then(|text| text.parse().ok());
        let dicom: SocketAddr = address("dicom").expect("an address in its log");
        let http: SocketAddr = address("http").expect("an address in its log");
        let dicom_tls = address("dicom_tls");
        // Its log must go on being read, or it would wait for us at some point.
        let reading = log.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                reading.lock().expect("a log").push(line);
            }
        });
        Process { child, log, dicom, dicom_tls, http }
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        self.log.lock().expect("a log").join("\n")
    }

    /// How many lines of its log hold these words.
    pub fn count(&self, words: &str) -> usize {
        self.log.lock().expect("a log").iter().filter(|line| line.contains(words)).count()
    }

    /// Whether its log holds these words.
    pub fn said(&self, words: &str) -> bool {
        self.count(words) > 0
    }

    /// The process ID.
    pub fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// SIGKILL, and waits for the end.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("a signal");
    }

    /// SIGTERM, and waits for the exit code.
    pub async fn terminate(mut self) -> Option<i32> {
        let id = i32::try_from(self.id()).expect("a process ID");
        // SAFETY: kill takes any process ID, and this one is our child's, which has not been waited for.
        assert_eq!(unsafe { libc::kill(id, libc::SIGTERM) }, 0);
        self.child.wait().await.expect("an end").code()
    }

    /// Bytes it has read so far, from files, pipes and sockets together (rchar).
    pub fn bytes_read(&self) -> u64 {
        let counters = std::fs::read_to_string(format!("/proc/{}/io", self.id())).expect("its counters");
        let line = counters.lines().find_map(|line| line.strip_prefix("rchar: ")).expect("a count");
        line.parse().expect("a number")
    }

    /// The most memory it has had, bytes (VmHWM).
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("its status");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak");
        line.split_whitespace().nth(1).expect("a number").parse::<u64>().expect("a number") * 1024
    }
}
