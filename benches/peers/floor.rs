//! What the machine can do at all: files and commits made durable, bytes through the loopback, and the serial floor
//! of a store.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Value};

use super::data::{Instance, Kind, Place};
use super::database::Database;
use super::sender::{Sent, send_to_sink};
use super::sink::{Keep, ThrowAway};

/// Files a second that `threads` threads write and make durable, each the bytes of a CT slice.
pub fn files(place: &Path, threads: usize) -> io::Result<f64> {
    const FILES: usize = 400;
    let run = next_run();
    let kind = Kind::ct();
    let start = Instant::now();
    let results: Vec<io::Result<()>> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..threads)
            .map(|thread| {
                let kind = &kind;
                scope.spawn(move || {
                    let folder = place.join(format!("floor-{run}-{thread}"));
                    fs::create_dir_all(&folder)?;
                    for number in 0..FILES / threads {
                        let instance = kind.at(place_of(thread, number));
                        let mut file = File::create(folder.join(number.to_string()))?;
                        file.write_all(&instance.header)?;
                        file.write_all(&instance.pixels)?;
                        file.sync_data()?;
                    }
                    Ok(())
                })
            })
            .collect();
        writers.into_iter().filter_map(|writer| writer.join().ok()).collect()
    });
    let elapsed = start.elapsed();
    results.into_iter().collect::<io::Result<()>>()?;
    for thread in 0..threads {
        super::server::empty(&place.join(format!("floor-{run}-{thread}")))?;
    }
    Ok(FILES as f64 / elapsed.as_secs_f64())
}

/// Transactions of one row a second that are committed durably over `connections` connections.
pub fn commits(database: &Database, connections: usize) -> io::Result<f64> {
    const COMMITS: usize = 2000;
    database.recreate("floor")?;
    let mut conn = database.connect("floor")?;
    database.run(conn.query_drop(FLOOR_TABLE))?;
    let mut conns = Vec::new();
    for _ in 0..connections {
        conns.push(database.connect("floor")?);
    }
    let start = Instant::now();
    database.run(async {
        let inserts = conns.into_iter().map(async |mut conn| {
            for _ in 0..COMMITS / connections {
                commit(&mut conn).await?;
            }
            Ok::<_, mysql_async::Error>(())
        });
        futures_util::future::try_join_all(inserts).await
    })?;
    Ok(COMMITS as f64 / start.elapsed().as_secs_f64())
}

const FLOOR_TABLE: &str = "CREATE TABLE floor (
    number BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    words  VARBINARY(400)  NOT NULL
) ENGINE = InnoDB";

async fn commit(conn: &mut Conn) -> mysql_async::Result<()> {
    conn.exec_drop("INSERT INTO floor (words) VALUES (?)", (Value::from(vec![7_u8; 400]),)).await
}

/// Megabytes a second through one loopback connection.
pub fn loopback() -> io::Result<f64> {
    const BYTES: usize = 2 << 30;
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let mut stream = TcpStream::connect(listener.local_addr()?)?;
    let reader = std::thread::spawn(move || -> io::Result<usize> {
        let mut stream = listener.accept()?.0;
        let mut buffer = vec![0; 131_072];
        let mut read = 0;
        loop {
            match stream.read(&mut buffer)? {
                0 => return Ok(read),
                length => read += length,
            }
        }
    });
    let buffer = vec![1; 131_072];
    let start = Instant::now();
    for _ in 0..BYTES / buffer.len() {
        stream.write_all(&buffer)?;
    }
    drop(stream);
    let read = reader.join().map_err(|_| io::Error::other("the reader panicked"))??;
    Ok(read as f64 / 1e6 / start.elapsed().as_secs_f64())
}

/// What the senders reach against a sink that throws everything away.
pub fn ceiling(kind: &Kind, associations: usize, instances: usize) -> io::Result<Sent> {
    send_to_sink(loads(kind, associations, instances), |_| Ok(ThrowAway))
}

/// What a server on one thread reaches that does nothing but what has to be done, one after the other: receive, write,
/// fsync, commit one row.
pub fn serial(kind: &Kind, place: &Path, database: &Database, instances: usize) -> io::Result<Sent> {
    database.recreate("floor")?;
    let mut conn = database.connect("floor")?;
    database.run(conn.query_drop(FLOOR_TABLE))?;
    let folder = place.join(format!("serial-{}", next_run()));
    fs::create_dir_all(&folder)?;
    let opts = conn.opts().clone();
    let sent = send_to_sink(loads(kind, 1, instances), |_| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let conn = runtime.block_on(Conn::new(opts.clone())).map_err(io::Error::other)?;
        Ok(Serial { folder: folder.clone(), file: None, number: 0, runtime, conn })
    })?;
    super::server::empty(&folder)?;
    Ok(sent)
}

struct Serial {
    folder: PathBuf,
    file: Option<File>,
    number: usize,
    conn: Conn,
    runtime: tokio::runtime::Runtime,
}

impl Keep for Serial {
    fn fragment(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => {
                self.number += 1;
                File::create(self.folder.join(self.number.to_string()))?
            }
        };
        file.write_all(bytes)?;
        self.file = Some(file);
        Ok(())
    }

    fn complete(&mut self) -> io::Result<()> {
        if let Some(file) = self.file.take() {
            file.sync_data()?;
        }
        self.runtime.block_on(commit(&mut self.conn)).map_err(io::Error::other)
    }
}

/// As many lists as there are associations, a study each.
pub fn loads(
    kind: &Kind,
    associations: usize,
    instances: usize,
) -> Vec<impl Iterator<Item = Instance> + Send + use<>> {
    let each = instances / associations;
    let list = |association: usize| {
        let kind = kind.clone();
        (0..each).map(move |number| kind.at(place_of(association, number)))
    };
    // Each run stores new studies, whatever was stored before it.
    let run = next_run();
    (0..associations).map(|association| list(association + 1000 * run as usize)).collect()
}

fn next_run() -> u32 {
    static RUNS: AtomicU32 = AtomicU32::new(1);
    RUNS.fetch_add(1, Ordering::Relaxed)
}

fn place_of(list: usize, number: usize) -> Place {
    let list = list as u32;
    Place { run: 1, patient: list, study: list, series: 1, instance: number as u32 + 1 }
}

/// Time to wait until what was written before is on the disk, so that no row pays for the one before it.
pub fn settle() {
    // SAFETY: has no arguments and cannot fail.
    unsafe { libc::sync() };
    std::thread::sleep(Duration::from_millis(300));
}
