//! The embedded default: one server per data folder, whole or not at all, and never left behind.

use filmroom::db::{self, DatabaseUrl, schema};
use filmroom::private_server::{self, Error, Options, PrivateServer};
use mysql_async::prelude::Queryable;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

async fn start(data_dir: &Path) -> PrivateServer {
    private_server::start(data_dir).await.unwrap_or_else(|err| panic!("{err}"))
}

async fn refusal(started: impl Future<Output = Result<PrivateServer, Error>>) -> String {
    match started.await {
        Ok(_) => panic!("it started"),
        Err(err) => err.to_string(),
    }
}

async fn value(url: &DatabaseUrl, sql: &str) -> Option<String> {
    let mut conn = db::open(url).await.expect("a connection");
    let value = conn.query_first(sql).await.unwrap_or_else(|err| panic!("{sql}: {err}"));
    conn.disconnect().await.expect("closed");
    value
}

fn is_running(pid: u32) -> bool {
    // A process that has ended and was not waited for has no command line.
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|command| !command.is_empty())
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn script(path: &Path, text: &str) {
    fs::write(path, text).expect("a script");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("executable");
}

#[tokio::test]
async fn what_was_stored_is_there_after_a_stop_and_a_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path()).await;
    schema::prepare(&server.url()).await.expect("tables");
    let pool = db::connect(&server.url()).await.expect("a pool");
    let mut conn = db::acquire(&pool).await.expect("a connection");
    db::setting::set(&mut conn, "kept", "yes").await.expect("stored");
    let warnings = db::durability(&mut conn).await.expect("settings");
    assert!(warnings.is_empty(), "{warnings:?}");
    drop(conn);
    pool.close().await.expect("closed");
    let pid = server.pid().expect("a process");
    server.stop().await;
    assert!(!is_running(pid));

    let server = start(folder.path()).await;
    assert_eq!(value(&server.url(), "SELECT value FROM setting").await.as_deref(), Some("yes"));
    server.stop().await;
}

#[tokio::test]
async fn nobody_else_can_reach_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path()).await;
    let mode = fs::metadata(folder.path().join("mysql")).expect("the folder").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    assert_eq!(value(&server.url(), "SELECT @@GLOBAL.skip_networking").await.as_deref(), Some("1"));
    let grants = value(
        &server.url(),
        "SELECT COUNT(*) FROM information_schema.user_privileges \
                                        WHERE privilege_type <> 'USAGE'",
    )
    .await;
    assert_eq!(grants.as_deref(), Some("0"), "the account has rights outside its database");
    server.stop().await;
}

#[tokio::test]
async fn a_second_filmroom_on_the_same_folder_is_refused_in_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path()).await;
    let refused = refusal(private_server::start(folder.path())).await;
    assert!(refused.contains(&format!("another filmroom (process {})", std::process::id())), "{refused}");
    assert!(is_running(server.pid().expect("the first goes on")));
    server.stop().await;
    start(folder.path()).await.stop().await;
}

#[tokio::test]
async fn a_server_that_dies_is_started_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path()).await;
    schema::prepare(&server.url()).await.expect("tables");
    let pid = server.pid().expect("a process");
    // SAFETY: the process is a child of this one.
    unsafe { libc::kill(i32::try_from(pid).expect("a pid"), libc::SIGKILL) };
    until("a new process", || server.pid().is_some_and(|now| now != pid)).await;
    let begun = Instant::now();
    while db::open(&server.url()).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not answer again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let version = value(&server.url(), "SELECT version FROM schema_version").await;
    assert_eq!(version, Some(schema::CURRENT.version().to_string()));
    server.stop().await;
}

/// A filmroom that is killed: this test binary, told by the environment to start a server and wait.
#[tokio::test]
async fn a_server_goes_when_its_filmroom_is_killed() {
    const FOLDER: &str = "FILMROOM_TEST_KILLED_IN";
    if let Some(folder) = std::env::var_os(FOLDER) {
        let _server = start(Path::new(&folder)).await;
        tokio::time::sleep(Duration::from_secs(600)).await;
        panic!("nobody killed this process");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut filmroom = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "private_server::a_server_goes_when_its_filmroom_is_killed"])
        .env(FOLDER, folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("started");
    let socket = folder.path().canonicalize().expect("a path").join("mysql/socket");
    until("a socket", || std::os::unix::net::UnixStream::connect(&socket).is_ok()).await;
    let noted = fs::read_to_string(folder.path().join("mysql/pid")).expect("a pid file");
    let pid: u32 = noted.trim().parse().expect("a pid");
    assert!(is_running(pid));
    filmroom.kill().expect("killed");
    filmroom.wait().expect("ended");

    // Taken over while the old one is still going away.
    let server = start(folder.path()).await;
    assert!(!is_running(pid), "two servers on one folder");
    assert_eq!(value(&server.url(), "SELECT 7").await.as_deref(), Some("7"));
    server.stop().await;
}

/// A server on this folder that no filmroom looks after.
async fn stray(data_dir: &Path) -> std::process::Child {
    let server = start(data_dir).await;
    let pid = server.pid().expect("a process");
    let command = fs::read(format!("/proc/{pid}/cmdline")).expect("its command line");
    server.stop().await;
    fs::remove_file(data_dir.join("mysql/pid")).expect("nothing notes the stray one");
    let mut words = command.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
    Command::new(words.next().expect("a program"))
        .args(words.filter(|word| !word.is_empty()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a server without a filmroom")
}

#[tokio::test]
async fn a_server_left_behind_is_stopped_before_another_starts() {
    for answers in [true, false] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut stray = stray(folder.path()).await;
        let socket = folder.path().canonicalize().expect("a path").join("mysql/socket");
        if answers {
            until("a socket", || std::os::unix::net::UnixStream::connect(&socket).is_ok()).await;
        }
        let ended = std::thread::spawn(move || stray.wait());

        let server = start(folder.path()).await;
        assert_eq!(value(&server.url(), "SELECT 7").await.as_deref(), Some("7"));
        let status = ended.join().expect("no panic").expect("a status");
        assert!(status.success(), "it was not asked to stop: {status}");
        server.stop().await;
    }
}

#[tokio::test]
async fn a_server_that_hangs_is_ended_by_force() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut stray = stray(folder.path()).await;
    // SAFETY: the process is a child of this one. A stopped process neither answers nor ends.
    unsafe { libc::kill(i32::try_from(stray.id()).expect("a pid"), libc::SIGSTOP) };
    let ended = std::thread::spawn(move || stray.wait());
    let server = start(folder.path()).await;
    assert_eq!(value(&server.url(), "SELECT 7").await.as_deref(), Some("7"));
    assert!(!ended.join().expect("no panic").expect("a status").success());
    server.stop().await;
}

#[tokio::test]
async fn an_installation_that_was_cut_off_is_made_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let half = folder.path().join("mysql/data.new/mysql");
    fs::create_dir_all(&half).expect("a half-made folder");
    fs::write(half.join("user.frm"), b"half").expect("a half-made file");
    let server = start(folder.path()).await;
    assert_eq!(value(&server.url(), "SELECT 7").await.as_deref(), Some("7"));
    assert!(!folder.path().join("mysql/data.new").exists());
    server.stop().await;
}

#[tokio::test]
async fn a_long_path_with_spaces_and_quotes_works() {
    let folder = tempfile::tempdir().expect("a folder");
    let deep = folder.path().join("Dr. O'Hara's \"new\" PACS $HOME").join("x".repeat(120));
    let server = start(&deep).await;
    let url = server.url().to_string();
    schema::prepare(&server.url()).await.expect("tables");
    server.stop().await;
    let (_, socket) = url.split_once("socket=").expect("a socket");
    let elsewhere = Path::new(socket).parent().expect("its folder");
    assert!(!elsewhere.exists(), "{} was left behind", elsewhere.display());
}

#[tokio::test]
async fn without_a_server_program_one_sentence_says_what_to_install() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options { data_dir: folder.path().into(), search: Vec::new() };
    let refused = refusal(options.start()).await;
    assert!(refused.contains("apt-get install mariadb-server-core"), "{refused}");
    assert!(refused.contains("--database-url"), "{refused}");
}

#[tokio::test]
async fn why_a_server_does_not_start_is_taken_from_its_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let programs = tempfile::tempdir().expect("a folder");
    script(
        &programs.path().join("mysqld"),
        "#!/bin/sh\n\
         for word; do case $word in\n\
           --version) echo 'mysqld  Ver 8.4.0'; exit 0 ;;\n\
           --initialize-insecure) init=yes ;;\n\
           --datadir=*) data=${word#--datadir=} ;;\n\
         esac; done\n\
         [ \"$init\" ] && exec mkdir \"$data\"\n\
         echo \"2026-11-22 0 [ERROR] InnoDB: Error number 28 means 'No space left on device'\"; exit 1\n",
    );
    let options = || Options {
        data_dir: folder.path().into(),
        search: vec![programs.path().into(), "/usr/bin".into()],
    };
    let refused = refusal(options().start()).await;
    assert!(refused.contains("is full"), "{refused}");
    assert!(refused.contains("error.log"), "{refused}");

    script(
        &programs.path().join("mysqld"),
        "#!/bin/sh\ncase $* in *--version*) echo 'mysqld  Ver 8.4.0' ;; *) echo \"[ERROR] no such option\"; exit 3 ;; esac\n",
    );
    let refused = refusal(options().start()).await;
    assert!(refused.contains("does not start: no such option"), "{refused}");
}

#[tokio::test]
async fn an_installation_that_fails_leaves_nothing_that_looks_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let programs = tempfile::tempdir().expect("a folder");
    script(
        &programs.path().join("mysqld"),
        "#!/bin/sh\ncase $* in *--version*) echo 'mysqld  Ver 8.4.0' ;; *) echo '[ERROR] half'; exit 1 ;; esac\n",
    );
    let options = Options { data_dir: folder.path().into(), search: vec![programs.path().into()] };
    let refused = refusal(options.start()).await;
    assert!(refused.contains("cannot make the private database"), "{refused}");
    assert!(refused.contains("half"), "{refused}");
    assert!(!folder.path().join("mysql/data").exists());
    start(folder.path()).await.stop().await;
}

#[tokio::test]
async fn a_data_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    fs::write(&file, b"").expect("a file in the way");
    let refused = refusal(private_server::start(&file)).await;
    assert!(refused.contains("cannot make") && refused.contains("file"), "{refused}");
}
