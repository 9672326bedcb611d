//! Connections: what every session has in common, and what is said when there is none.

use crate::support::database::{self, administrator, statement};
use filmroom::db::{self, DatabaseUrl, Error, setting};
use filmroom::db::{is_duplicate, is_transient};
use mysql_async::TxOpts;
use mysql_async::prelude::Queryable;
use std::io::Write;

/// An account that can sign in with the password `geheim` from anywhere, and its URL for this database.
async fn account(name: &str, database: &str) -> DatabaseUrl {
    let administrator = administrator().await;
    for host in ["localhost", "%"] {
        statement(&administrator, &format!("DROP USER IF EXISTS '{name}'@'{host}'")).await;
        statement(&administrator, &format!("CREATE USER '{name}'@'{host}' IDENTIFIED BY 'geheim'")).await;
    }
    as_account(&administrator.with_database(database), name, "geheim")
}

fn as_account(url: &DatabaseUrl, name: &str, password: &str) -> DatabaseUrl {
    let text = url.with_password();
    let (_, rest) = text.split_once('@').expect("a URL with a user");
    format!("mysql://{name}:{password}@{rest}").parse().expect("a URL")
}

async fn refusal(url: &DatabaseUrl) -> String {
    let text = match db::connect(url).await {
        Ok(_) => panic!("connected to {url}"),
        Err(err) => err.to_string(),
    };
    assert!(!text.contains("geheim"), "{text}");
    text
}

#[tokio::test]
async fn every_session_has_the_same_time_zone_isolation_strictness_and_character_set() {
    let database = database::fresh().await;
    let pool = db::connect(&database.url).await.expect("a pool");
    let mut conn = db::acquire(&pool).await.expect("a connection");
    let (zone, mode, charset): (String, String, String) = conn
        .query_first("SELECT @@SESSION.time_zone, @@SESSION.sql_mode, @@SESSION.character_set_connection")
        .await
        .expect("an answer")
        .expect("a row");
    assert_eq!((zone.as_str(), charset.as_str()), ("+00:00", "utf8mb4"));
    let mut modes: Vec<&str> = mode.split(',').collect();
    modes.sort_unstable();
    assert_eq!(
        modes,
        [
            "ERROR_FOR_DIVISION_BY_ZERO",
            "NO_ENGINE_SUBSTITUTION",
            "NO_ZERO_DATE",
            "NO_ZERO_IN_DATE",
            "STRICT_ALL_TABLES",
            "STRICT_TRANS_TABLES"
        ]
    );
    let variables: Vec<(String, String)> = conn
        .query(
            "SHOW SESSION VARIABLES
              WHERE Variable_name IN ('transaction_isolation', 'tx_isolation', 'max_execution_time',
                                      'max_statement_time')",
        )
        .await
        .expect("variables");
    assert!(variables.iter().any(|(name, value)| name.contains("isolation") && value == "READ-COMMITTED"));
    let limit = variables.iter().find(|(name, _)| name.starts_with("max_")).map(|(_, limit)| limit.as_str());
    assert!(matches!(limit, Some("60000" | "60.000000")), "{variables:?}");
    drop(conn);
    pool.close().await.expect("closed");
}

#[tokio::test]
async fn text_outside_the_basic_plane_comes_back_as_it_went_in() {
    let database = database::fresh().await;
    statement(&database.url, "CREATE TABLE t (a VARCHAR(64) NOT NULL) DEFAULT CHARSET = utf8mb4").await;
    let pool = db::connect(&database.url).await.expect("a pool");
    let mut conn = db::acquire(&pool).await.expect("a connection");
    conn.exec_drop("INSERT INTO t (a) VALUES (?)", ("𠮷野^太郎 Ångström",)).await.expect("stored");
    let read: Option<String> = conn.query_first("SELECT a FROM t").await.expect("read");
    assert_eq!(read.as_deref(), Some("𠮷野^太郎 Ångström"));
    let long = "x".repeat(65);
    let refused = conn.exec_drop("INSERT INTO t (a) VALUES (?)", (long,)).await;
    assert!(refused.is_err(), "a value that does not fit was cut in silence");
}

#[tokio::test]
async fn a_connection_outlives_the_runtime_that_asked_for_it() {
    let database = database::fresh().await;
    let pool = db::connect(&database.url).await.expect("a pool");
    let from_worker = {
        let pool = pool.clone();
        tokio::task::spawn_blocking(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async { db::acquire(&pool).await.expect("a connection") })
        })
    };
    let mut conn = from_worker.await.expect("the worker ended");
    let answer: Option<u8> = conn.query_first("SELECT 7").await.expect("an answer");
    assert_eq!(answer, Some(7));
}

#[tokio::test]
async fn an_abandoned_statement_does_not_answer_for_the_next_one() {
    let database = database::fresh().await;
    let pool = db::connect(&database.url).await.expect("a pool");
    for round in 0..20_u32 {
        let abandoned = async {
            let mut conn = db::acquire(&pool).await.expect("a connection");
            let mut transaction = conn.start_transaction(TxOpts::default()).await.expect("a transaction");
            transaction.query_first::<u32, _>("SELECT SLEEP(0.05)").await
        };
        let limit = std::time::Duration::from_millis(u64::from(round));
        assert!(tokio::time::timeout(limit, abandoned).await.is_err(), "slept too short");
        let mut conn = db::acquire(&pool).await.expect("a connection");
        let answer: Option<u32> = conn.exec_first("SELECT ? + 100", (round,)).await.expect("an answer");
        assert_eq!(answer, Some(round + 100));
    }
}

#[tokio::test]
async fn a_wrong_password_is_named_without_showing_it() {
    let database = database::fresh().await;
    let url = account("filmroom_wrong", &database.name).await;
    let refused = refusal(&as_account(&url, "filmroom_wrong", "geheimnis")).await;
    assert!(refused.contains("the password is wrong"), "{refused}");
    assert!(refused.contains("filmroom_wrong"), "{refused}");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_answered_with_the_lines_that_make_it() {
    let url = administrator().await.with_database("filmroom_absent");
    let refused = refusal(&url).await;
    assert!(refused.contains("CREATE DATABASE `filmroom_absent` CHARACTER SET utf8mb4;"), "{refused}");
    assert!(refused.contains("GRANT ALL PRIVILEGES ON `filmroom\\_absent`.* TO"), "{refused}");
}

#[tokio::test]
async fn an_account_without_rights_is_answered_with_a_grant_that_works() {
    let database = database::fresh().await;
    let url = account("filmroom_none", &database.name).await;
    let refused = refusal(&url).await;
    let grant = refused.split("; ").find(|part| part.starts_with("GRANT")).expect("a GRANT").to_owned();
    statement(&administrator().await, grant.trim_end_matches(';')).await;
    db::connect(&url).await.expect("the rights are enough to connect");
    db::schema::prepare(&url).await.expect("and to make the tables");
}

#[tokio::test]
async fn an_account_that_may_only_read_is_refused_before_the_first_image_comes() {
    let database = database::fresh().await;
    db::schema::prepare(&database.url).await.expect("tables");
    let url = account("filmroom_reader", &database.name).await;
    let administrator = administrator().await;
    for host in ["localhost", "%"] {
        let grant = format!("GRANT SELECT ON {}.* TO 'filmroom_reader'@'{host}'", database.name);
        statement(&administrator, &grant).await;
    }
    let refused = db::schema::prepare(&url).await.expect_err("it may not write");
    assert!(matches!(refused, Error::NoRights { .. }), "{refused:?}");
    assert!(refused.to_string().contains("GRANT ALL PRIVILEGES"), "{refused}");
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_named() {
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("its address").port()
    };
    let url = format!("mysql://u:geheim@127.0.0.1:{port}/d").parse().expect("a URL");
    let refused = refusal(&url).await;
    assert!(refused.contains(&format!("127.0.0.1:{port} (connection refused)")), "{refused}");
    let url = "mysql://u:geheim@/d?socket=/nowhere/mysql.sock".parse().expect("a URL");
    assert!(refusal(&url).await.contains("no such socket"));
}

#[tokio::test]
async fn a_port_where_something_else_listens_is_no_mysql_server() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let stranger = std::thread::spawn(move || {
        let (mut caller, _) = listener.accept().expect("a caller");
        caller.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").expect("answered");
    });
    let url = format!("mysql://u:geheim@127.0.0.1:{port}/d").parse().expect("a URL");
    let refused = refusal(&url).await;
    assert!(refused.contains("MySQL server"), "{refused}");
    stranger.join().expect("it answered");
}

#[tokio::test]
async fn duplicates_and_deadlocks_are_told_apart() {
    let database = database::fresh().await;
    statement(&database.url, "CREATE TABLE t (a INT PRIMARY KEY, b INT NOT NULL) ENGINE = InnoDB").await;
    statement(&database.url, "INSERT INTO t VALUES (1, 0), (2, 0)").await;
    let pool = db::connect(&database.url).await.expect("a pool");
    let mut one = db::acquire(&pool).await.expect("a connection");
    let mut two = db::acquire(&pool).await.expect("a connection");
    let duplicate = one.query_drop("INSERT INTO t VALUES (1, 0)").await.expect_err("a duplicate");
    assert!(is_duplicate(&duplicate) && !is_transient(&duplicate), "{duplicate}");

    let mut one = one.start_transaction(TxOpts::default()).await.expect("a transaction");
    let mut two = two.start_transaction(TxOpts::default()).await.expect("a transaction");
    one.query_drop("UPDATE t SET b = 1 WHERE a = 1").await.expect("a lock on 1");
    two.query_drop("UPDATE t SET b = 2 WHERE a = 2").await.expect("a lock on 2");
    let (first, second) = tokio::join!(
        one.query_drop("UPDATE t SET b = 1 WHERE a = 2"),
        two.query_drop("UPDATE t SET b = 2 WHERE a = 1")
    );
    let victims: Vec<_> = [first, second].into_iter().filter_map(Result::err).collect();
    assert_eq!(victims.len(), 1, "{victims:?}");
    assert!(victims.iter().all(is_transient), "{victims:?}");
}

#[tokio::test]
async fn a_setting_is_remembered_changed_and_forgotten() {
    let database = database::fresh().await;
    db::schema::prepare(&database.url).await.expect("tables");
    let pool = db::connect(&database.url).await.expect("a pool");
    let mut conn = db::acquire(&pool).await.expect("a connection");
    assert_eq!(setting::get(&mut conn, "idle").await.expect("read"), None);
    setting::set(&mut conn, "idle", "60").await.expect("set");
    setting::set(&mut conn, "idle", "90").await.expect("changed");
    assert_eq!(setting::get(&mut conn, "idle").await.expect("read").as_deref(), Some("90"));
    setting::remove(&mut conn, "idle").await.expect("removed");
    assert_eq!(setting::get(&mut conn, "idle").await.expect("read"), None);
}
