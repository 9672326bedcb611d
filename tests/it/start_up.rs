//! Bad input at start-up: one clear sentence, an exit code that is not zero, and nothing half-made.

use std::path::Path;
use std::process::Stdio;

use mysql_async::prelude::Queryable;

use crate::support::database::{self, TestDatabase};
use crate::support::tls::Pair;
use crate::support::{FILMROOM, process};

/// What `filmroom` said on standard error, and its exit code.
async fn run(mut command: tokio::process::Command) -> (i32, String) {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = command.env("FILMROOM_LOG", "error").spawn().expect("filmroom starts");
    let out = tokio::time::timeout(std::time::Duration::from_secs(60), child.wait_with_output());
    let out = out.await.expect("it ends by itself").expect("its output");
    (out.status.code().expect("an exit code"), String::from_utf8(out.stderr).expect("text"))
}

fn serve(database: &TestDatabase, folder: &Path) -> tokio::process::Command {
    process::serve(&database.url.with_password(), folder)
}

async fn tables(database: &TestDatabase) -> u64 {
    let mut conn = database.connect().await;
    let sql = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE()";
    conn.query_first(sql).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_url_is_refused_with_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    for url in ["postgres://a@b/c", "mysql://", "mysql://host:99999/x", "nonsense"] {
        let (code, said) = run(process::serve(url, &data)).await;
        assert_eq!(code, 2, "{url}: {said}");
        assert!(said.starts_with("filmroom: --database-url: "), "{said}");
        assert_eq!(said.trim().lines().count(), 1, "{said}");
    }
    assert!(!data.exists(), "nothing was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_at_the_url_is_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (code, said) = run(process::serve("mysql://a:hidden@127.0.0.1:1/x", &data)).await;
    assert!(!data.exists(), "nothing was made");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("no MySQL server answers at 127.0.0.1:1"), "{said}");
    assert!(!said.contains("hidden"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_rights_in_the_database_is_one_sentence_with_the_grant() {
    let database = database::fresh().await;
    let administrator = database::administrator().await;
    let user = format!("poor_{}", std::process::id());
    database::statement(&administrator, &format!("CREATE USER '{user}'@'%' IDENTIFIED BY 'pw-of-the-poor'"))
        .await;
    database::statement(&administrator, &format!("GRANT SELECT ON {}.* TO '{user}'@'%'", database.name))
        .await;
    let folder = tempfile::tempdir().unwrap();
    let url = database.url.with_password();
    let (_, after) = url.split_once('@').expect("an account in the URL");

    let (code, said) =
        run(process::serve(&format!("mysql://{user}:pw-of-the-poor@{after}"), folder.path())).await;

    database::statement(&administrator, &format!("DROP USER '{user}'@'%'")).await;
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("GRANT ALL PRIVILEGES"), "{said}");
    assert!(!said.contains("pw-of-the-poor"), "{said}");
    assert_eq!(tables(&database).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_one_sentence_and_makes_nothing() {
    let database = database::fresh().await;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--dicom-listen", "--http-listen"] {
        let other = if flag == "--dicom-listen" { "--http-listen" } else { "--dicom-listen" };
        let mut command = tokio::process::Command::new(FILMROOM);
        command.args(["serve", "--database-url", &database.url.with_password()]);
        command.arg("--data-dir").arg(&data).args([flag, &address, other, "127.0.0.1:0"]);
        let (code, said) = run(command).await;
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(&address) && said.contains("is taken"), "{said}");
    }
    assert!(!data.exists(), "nothing was made");
    assert_eq!(tables(&database).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_folder_that_cannot_be_written_is_one_sentence() {
    let database = database::fresh().await;
    let folder = tempfile::tempdir().unwrap();
    // Root may write everywhere, but not into a file, nor into /proc.
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    for data in [file.as_path(), Path::new("/proc/filmroom")] {
        let (code, said) = run(serve(&database, data)).await;
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("cannot use the data folder"), "{said}");
    }
    assert_eq!(tables(&database).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_schema_is_refused_and_left_alone() {
    let database = database::fresh().await;
    let folder = tempfile::tempdir().unwrap();
    let first = process::Process::start(serve(&database, folder.path())).await;
    assert_eq!(first.terminate().await, Some(0));
    database::statement(&database.url, "UPDATE schema_version SET version = 9999").await;

    let (code, said) = run(serve(&database, folder.path())).await;

    assert_eq!(code, 1, "{said}");
    assert!(said.contains("9999"), "{said}");
    let mut conn = database.connect().await;
    let version: Option<u32> = conn.query_first("SELECT version FROM schema_version").await.unwrap();
    assert_eq!(version, Some(9999));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_the_same_database_is_refused() {
    let database = database::fresh().await;
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = process::Process::start(serve(&database, one.path())).await;

    let (code, said) = run(serve(&database, two.path())).await;

    assert_eq!(code, 1, "{said}");
    assert!(said.contains("another filmroom"), "{said}");
    assert_eq!(first.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_the_same_folder_is_refused() {
    let (one, two) = (database::fresh().await, database::fresh().await);
    let folder = tempfile::tempdir().unwrap();
    let first = process::Process::start(serve(&one, folder.path())).await;

    let (code, said) = run(serve(&two, folder.path())).await;

    assert_eq!(code, 1, "{said}");
    assert!(said.contains("another filmroom is using it"), "{said}");
    assert_eq!(tables(&two).await, 0);
    assert_eq!(first.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_wrong_settings_are_told_together() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = tokio::process::Command::new(FILMROOM);
    command.args(["serve", "--ae-title", "TITLE-OF-MORE-THAN-16", "--http-listen", "0.0.0.0:0"]);
    command.arg("--data-dir").arg(folder.path().join("data")).env("FILMROOM_IDLE_TIMEOUT", "never");
    let (code, said) = run(command).await;
    assert_eq!(code, 2, "{said}");
    for flag in ["--ae-title", "--http-listen", "--idle-timeout"] {
        assert!(said.contains(flag), "{flag}: {said}");
    }
    for way in ["--tls-certificate", "--behind-proxy", "--plain-http-i-know"] {
        assert!(said.contains(way), "{way}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_cannot_be_used_is_told_with_the_other_mistakes() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (Pair::new(), Pair::new());
    let missing = folder.path().join("missing.pem");
    for (certificate, key, says) in [
        (missing.clone(), one.key(), vec!["--tls-certificate: cannot read"]),
        (one.key(), one.certificate(), vec!["there is no certificate in", "there is no private key in"]),
        (
            one.certificate(),
            other.key(),
            vec!["--tls-key: the key in", "does not belong to the certificate in"],
        ),
    ] {
        let mut command = tokio::process::Command::new(FILMROOM);
        command.args(["serve", "--ae-title", "TITLE-OF-MORE-THAN-16", "--http-listen", "0.0.0.0:0"]);
        command.arg("--tls-certificate").arg(certificate).arg("--tls-key").arg(key);
        command.arg("--data-dir").arg(folder.path().join("data"));
        let (code, said) = run(command).await;
        assert_eq!(code, 2, "{said}");
        assert!(said.contains("--ae-title") && !said.contains("--http-listen"), "{said}");
        for says in says {
            assert!(said.contains(says), "{says}: {said}");
        }
    }
    assert!(!folder.path().join("data").exists(), "nothing was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_read_on_the_way_is_served_on_demand_and_with_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let database = database::fresh().await;
    let folder = tempfile::tempdir().unwrap();
    let mut command = serve(&database, folder.path());
    command.args(["--http-listen", "0.0.0.0:0"]).env("FILMROOM_PLAIN_HTTP_I_KNOW", "true");
    let process = process::Process::start(command).await;
    assert!(process.said("--plain-http-i-know"));
    assert_eq!(process.terminate().await, Some(0));

    let pair = Pair::new();
    std::fs::set_permissions(pair.key(), std::fs::Permissions::from_mode(0o644)).unwrap();
    let mut command = serve(&database, folder.path());
    command.arg("--tls-certificate").arg(pair.certificate()).arg("--tls-key").arg(pair.key());
    let process = process::Process::start(command).await;
    assert!(process.said("every account of this machine can read the TLS key"));
    assert!(!process.said("--plain-http-i-know"));
    assert_eq!(process.terminate().await, Some(0));
}
