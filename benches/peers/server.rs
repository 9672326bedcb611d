//! filmroom and its peers, each started on an empty store with fsync on and Nagle's algorithm off.

use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use serde_json::json;

use filmroom::db::role::Role;

use super::database::{Database, folder_size};
use super::http::Http;
use super::{people, process};

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Product {
    Filmroom,
    OrthancMariadb,
    OrthancSqlite,
    Dcmqrscp,
}

impl Product {
    pub const ALL: [Product; 4] =
        [Product::Filmroom, Product::OrthancMariadb, Product::OrthancSqlite, Product::Dcmqrscp];

    /// What the table calls it.
    pub fn name(self) -> &'static str {
        match self {
            Product::Filmroom => "filmroom",
            Product::OrthancMariadb => "Orthanc, MariaDB",
            Product::OrthancSqlite => "Orthanc, SQLite",
            Product::Dcmqrscp => "dcmqrscp",
        }
    }

    /// Whether it has pages or DICOMweb.
    pub fn has_http(self) -> bool {
        self != Product::Dcmqrscp
    }

    fn program(self) -> &'static str {
        match self {
            Product::Filmroom => env!("CARGO_BIN_EXE_filmroom"),
            Product::OrthancMariadb | Product::OrthancSqlite => "Orthanc",
            Product::Dcmqrscp => "dcmqrscp",
        }
    }
}

/// One of them, running. It ends with this.
pub struct Server {
    pub product: Product,
    pub dicom: SocketAddr,
    pub http: SocketAddr,
    /// Of an administrator, where there are people.
    pub session: Option<String>,
    child: Child,
    folder: PathBuf,
}

static STARTED: AtomicUsize = AtomicUsize::new(1);

/// The name of the database a product gets on the shared server.
pub const DATABASE: &str = "bench";

impl Server {
    /// Starts it with nothing in it, its files below `place`.
    pub fn start(product: Product, place: &Path, database: &Database) -> io::Result<Server> {
        if matches!(product, Product::Filmroom | Product::OrthancMariadb) {
            database.recreate(DATABASE)?;
        }
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let folder = place.join(format!("store-{number}"));
        fs::create_dir_all(&folder)?;
        Server::start_on(product, &folder, database, DATABASE)
    }

    /// Starts it on what is in `folder` and in a database of the server.
    pub fn start_on(product: Product, folder: &Path, database: &Database, name: &str) -> io::Result<Server> {
        let (dicom, http) = (free_address()?, free_address()?);
        let mut command = Command::new(product.program());
        match product {
            Product::Filmroom => {
                command
                    .args(["serve", "--unknown-peers", "store", "--ae-title", "BENCHED"])
                    .args(["--database-url", &database.url(name)])
                    .args(["--dicom-listen", &dicom.to_string(), "--http-listen", &http.to_string()])
                    .arg("--data-dir")
                    .arg(folder);
            }
            Product::OrthancMariadb | Product::OrthancSqlite => {
                let file = folder.join("orthanc.json");
                fs::write(&file, orthanc_settings(product, folder, database, name, dicom, http)?)?;
                command.arg(file);
            }
            Product::Dcmqrscp => {
                let storage = folder.join("storage");
                fs::create_dir(&storage)?;
                let file = folder.join("dcmqrscp.cfg");
                fs::write(&file, dcmqrscp_settings(&storage))?;
                command.arg("-c").arg(file).arg(dicom.port().to_string());
            }
        }
        let log = File::create(folder.join("log"))?;
        let child = command.env("TCP_NODELAY", "1").stdout(log.try_clone()?).stderr(log).spawn();
        let child =
            child.map_err(|err| io::Error::other(format!("cannot start {}: {err}", product.program())))?;
        let mut server = Server { product, dicom, http, session: None, child, folder: folder.to_owned() };
        server.wait_for(dicom)?;
        if product.has_http() {
            server.wait_for(http)?;
        }
        if product == Product::Filmroom {
            // Its ports are taken before its tables are made; what is asked meanwhile waits.
            Http::signed_in(http, None)?.get_ok("/readyz", "text/plain")?;
            server.session = Some(people::session(database, name, Role::Administrator, "")?);
        }
        Ok(server)
    }

    fn wait_for(&mut self, address: SocketAddr) -> io::Result<()> {
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            if self.child.try_wait()?.is_some() || start.elapsed() > Duration::from_secs(60) {
                let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                let end: Vec<&str> = log.lines().rev().take(5).collect();
                return Err(io::Error::other(format!("{} does not start: {end:?}", self.product.name())));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The AE title it is called by.
    pub fn ae_title(&self) -> &'static str {
        "BENCHED"
    }

    /// CPU seconds so far.
    pub fn cpu_seconds(&self) -> io::Result<f64> {
        process::cpu_seconds(self.child.id())
    }

    /// Resident bytes now.
    pub fn resident_bytes(&self) -> io::Result<u64> {
        process::resident_bytes(self.child.id())
    }

    /// Begins anew with the most memory it ever had.
    pub fn forget_peak(&self) -> io::Result<()> {
        process::forget_peak(self.child.id())
    }

    /// Resident bytes at most since then.
    pub fn peak_resident_bytes(&self) -> io::Result<u64> {
        process::peak_resident_bytes(self.child.id())
    }

    /// Whether it stores its index in the shared database server.
    pub fn uses_database(&self) -> bool {
        matches!(self.product, Product::Filmroom | Product::OrthancMariadb)
    }

    /// Bytes of its index.
    pub fn index_size(&self, database: &Database) -> io::Result<u64> {
        match self.product {
            Product::Filmroom | Product::OrthancMariadb => database.size(DATABASE),
            Product::OrthancSqlite => folder_size(&self.folder.join("index")),
            Product::Dcmqrscp => {
                Ok(fs::metadata(self.folder.join("storage").join("index.dat")).map_or(0, |file| file.len()))
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        process::end(&mut self.child);
        if let Err(err) = empty(&self.folder) {
            eprintln!("cannot empty {}: {err}", self.folder.display());
        }
    }
}

/// Gives back the space of what a server has stored, and keeps the empty files: ext4 searches long for a free inode where
/// many were freed a moment ago, and the next server would pay for that. They go at the end of the run.
pub fn empty(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.metadata()?.is_dir() {
            empty(&entry.path())?;
        } else {
            fs::OpenOptions::new().write(true).open(entry.path())?.set_len(0)?;
        }
    }
    Ok(())
}

fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind(("127.0.0.1", 0))?.local_addr()
}

/// As Debian packages it, with all that makes it faster and nothing that makes it less durable.
fn orthanc_settings(
    product: Product,
    folder: &Path,
    database: &Database,
    name: &str,
    dicom: SocketAddr,
    http: SocketAddr,
) -> io::Result<String> {
    let plugins = Path::new("/usr/share/orthanc/plugins");
    let mut wanted = vec![plugins.join("libOrthancDicomWeb.so")];
    let mut settings = json!({
        "Name": "bench",
        "StorageDirectory": folder.join("storage"),
        "IndexDirectory": folder.join("index"),
        "StorageCompression": false,
        "SyncStorageArea": true,
        "DicomAet": "BENCHED",
        "DicomPort": dicom.port(),
        "DicomCheckCalledAet": false,
        "DicomAlwaysAllowEcho": true,
        "DicomAlwaysAllowStore": true,
        "DicomAlwaysAllowFind": true,
        "DicomAlwaysAllowGet": true,
        "DicomThreadsCount": 8,
        "MaximumPduLength": 131_072,
        "HttpPort": http.port(),
        "HttpThreadsCount": 50,
        "KeepAlive": true,
        "TcpNoDelay": true,
        "RemoteAccessAllowed": false,
        "AuthenticationEnabled": false,
        "StableAge": 60,
        "LimitFindResults": 0,
        "DicomWeb": { "Enable": true, "StudiesMetadata": "Full", "SeriesMetadata": "Full" },
    });
    if product == Product::OrthancMariadb {
        wanted.push(plugins.join("libOrthancMySQLIndex.so"));
        // The plugin wants an account of its own with a password.
        let mut conn = database.connect("")?;
        for statement in [
            "CREATE OR REPLACE USER orthanc@localhost IDENTIFIED BY 'orthanc'".to_owned(),
            format!("GRANT ALL ON {name}.* TO orthanc@localhost"),
        ] {
            database.run(conn.query_drop(statement))?;
        }
        settings["MySQL"] = json!({
            "EnableIndex": true,
            "EnableStorage": false,
            "Host": "localhost",
            "UnixSocket": database.socket(),
            "Database": name,
            "Username": "orthanc",
            "Password": "orthanc",
            "Lock": false,
            "IndexConnectionsCount": 8,
        });
    }
    settings["Plugins"] = json!(wanted);
    serde_json::to_string_pretty(&settings).map_err(io::Error::other)
}

fn dcmqrscp_settings(storage: &Path) -> String {
    format!(
        "MaxPDUSize = 131072\nMaxAssociations = 64\nHostTable BEGIN\nHostTable END\nVendorTable BEGIN\n\
         VendorTable END\nAETable BEGIN\nBENCHED {} RW (1000000, 1000gb) ANY\nAETable END\n",
        storage.display()
    )
}
