//! The tables are made, upgraded or refused, and never left half-made.

use crate::support::database::{self, TestDatabase, administrator, statement};
use filmroom::db::schema::{CURRENT, Prepared, Shape, Unfit, prepare};
use filmroom::db::{self, DatabaseUrl, Error, ServeLock};
use mysql_async::prelude::Queryable;
use std::time::Duration;

const SCHEMA: &str = include_str!("../../schema.sql");
/// The first one that anybody had, as it was then.
const FIRST: Shape<'static> = Shape { create: include_str!("support/schema_1.sql"), upgrades: &[] };

/// Three steps, so that there is something to cut off.
const OLD: &str = "
CREATE TABLE schema_version (version INT UNSIGNED NOT NULL, upgraded_at DATETIME(6) NOT NULL, PRIMARY KEY (version))
  ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
CREATE TABLE setting (name VARCHAR(64) NOT NULL, value TEXT NOT NULL, changed_at DATETIME(6) NOT NULL,
  PRIMARY KEY (name)) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
INSERT INTO schema_version (version, upgraded_at) VALUES (1, UTC_TIMESTAMP(6));";
const UPGRADES: [&str; 3] = [
    "ALTER TABLE setting ADD COLUMN note VARCHAR(64) NOT NULL DEFAULT ''",
    "CREATE TABLE extra (a INT NOT NULL, PRIMARY KEY (a)) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4",
    "ALTER TABLE setting ADD KEY setting_by_note (note)",
];
const NEW: &str = "
CREATE TABLE schema_version (version INT UNSIGNED NOT NULL, upgraded_at DATETIME(6) NOT NULL, PRIMARY KEY (version))
  ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
CREATE TABLE setting (name VARCHAR(64) NOT NULL, value TEXT NOT NULL, changed_at DATETIME(6) NOT NULL,
  note VARCHAR(64) NOT NULL DEFAULT '', PRIMARY KEY (name), KEY setting_by_note (note))
  ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
CREATE TABLE extra (a INT NOT NULL, PRIMARY KEY (a)) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4;
INSERT INTO schema_version (version, upgraded_at) VALUES (4, UTC_TIMESTAMP(6));";
const OLDER: Shape<'static> = Shape { create: OLD, upgrades: &[] };
const NEWER: Shape<'static> = Shape { create: NEW, upgrades: &UPGRADES };

async fn query<T: mysql_async::prelude::FromRow + Send + 'static>(url: &DatabaseUrl, sql: &str) -> Vec<T> {
    let mut conn = db::open(url).await.expect("a connection");
    let rows = conn.query(sql).await.unwrap_or_else(|err| panic!("{sql}: {err}"));
    conn.disconnect().await.expect("closed");
    rows
}

/// Every table as the server itself would make it again.
async fn describe(url: &DatabaseUrl) -> Vec<(String, String)> {
    let mut tables = Vec::new();
    for name in query::<String>(url, "SHOW TABLES").await {
        tables.extend(query::<(String, String)>(url, &format!("SHOW CREATE TABLE {name}")).await);
    }
    tables
}

async fn version(url: &DatabaseUrl) -> Vec<u32> {
    query(url, "SELECT version FROM schema_version").await
}

fn unfit(prepared: Result<Prepared, Error>) -> Unfit {
    match prepared {
        Err(Error::Schema(unfit)) => unfit,
        other => panic!("not refused: {other:?}"),
    }
}

/// The statements of the script, which has no semicolon at the end of a line that is not the end of one.
fn statements(script: &str) -> Vec<&str> {
    script.split_inclusive(";\n").filter(|text| text.contains("CREATE") || text.contains("INSERT")).collect()
}

async fn prepared() -> TestDatabase {
    let database = database::fresh().await;
    prepare(&database.url).await.expect("tables");
    database
}

#[tokio::test]
async fn an_empty_database_gets_all_tables_and_a_second_start_changes_nothing() {
    let database = database::fresh().await;
    assert_eq!(prepare(&database.url).await.expect("made"), Prepared::Created);
    assert_eq!(version(&database.url).await, [CURRENT.version()]);
    let made = describe(&database.url).await;
    assert!(made.len() >= 12, "{made:?}");
    assert_eq!(prepare(&database.url).await.expect("seen"), Prepared::Unchanged);
    assert_eq!(describe(&database.url).await, made);
}

#[tokio::test]
async fn every_table_of_the_schema_has_a_comment_and_a_primary_key() {
    let database = prepared().await;
    let without: Vec<String> = query(
        &database.url,
        "SELECT CAST(t.table_name AS CHAR)
           FROM information_schema.tables t
          WHERE t.table_schema = DATABASE()
            AND (t.table_comment = ''
              OR t.engine <> 'InnoDB'
              OR NOT EXISTS (SELECT 1
                               FROM information_schema.statistics s
                              WHERE s.table_schema = t.table_schema
                                AND s.table_name = t.table_name
                                AND s.index_name = 'PRIMARY'))",
    )
    .await;
    assert!(without.is_empty(), "{without:?}");
}

#[tokio::test]
async fn a_creation_cut_off_between_two_statements_is_made_again() {
    let whole = describe(&prepared().await.url).await;
    let all = statements(SCHEMA);
    for done in [1, 2, all.len() / 2, all.len() - 1] {
        let database = database::fresh().await;
        let mut conn = db::open(&database.url).await.expect("a connection");
        for statement in all.iter().take(done) {
            conn.query_drop(*statement).await.expect("a statement of the schema");
        }
        conn.disconnect().await.expect("closed");
        assert_eq!(prepare(&database.url).await.expect("made again"), Prepared::Created, "after {done}");
        assert_eq!(describe(&database.url).await, whole, "after {done}");
    }
}

#[tokio::test]
async fn a_creation_cut_off_at_any_moment_is_made_again() {
    let database = database::fresh().await;
    for milliseconds in [1_u64, 3, 7, 12, 20, 35, 60, 100] {
        let url = database.url.clone();
        let cut_off = tokio::spawn(async move { prepare(&url).await });
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        cut_off.abort();
    }
    prepare(&database.url).await.expect("made in the end");
    assert_eq!(describe(&database.url).await, describe(&prepared().await.url).await);
    assert_eq!(version(&database.url).await, [CURRENT.version()]);
}

#[tokio::test]
async fn programs_that_start_at_once_make_the_tables_once() {
    let database = database::fresh().await;
    let starts: Vec<_> = (0..6)
        .map(|_| {
            let url = database.url.clone();
            tokio::spawn(async move { prepare(&url).await })
        })
        .collect();
    let mut created = 0;
    for start in starts {
        if start.await.expect("no panic").expect("fit") == Prepared::Created {
            created += 1;
        }
    }
    assert_eq!(created, 1);
}

#[tokio::test]
async fn an_older_database_becomes_what_a_new_one_is() {
    let old = database::fresh().await;
    OLDER.prepare(&old.url).await.expect("the old shape");
    statement(&old.url, "INSERT INTO setting VALUES ('kept', 'yes', UTC_TIMESTAMP(6))").await;
    assert_eq!(NEWER.prepare(&old.url).await.expect("upgraded"), Prepared::Upgraded { from: 1 });
    assert_eq!(version(&old.url).await, [4]);
    assert_eq!(query::<String>(&old.url, "SELECT value FROM setting").await, ["yes"]);

    let new = database::fresh().await;
    assert_eq!(NEWER.prepare(&new.url).await.expect("the new shape"), Prepared::Created);
    assert_eq!(describe(&old.url).await, describe(&new.url).await);
    assert_eq!(NEWER.prepare(&old.url).await.expect("seen"), Prepared::Unchanged);
}

#[tokio::test]
async fn the_first_schema_and_all_upgrades_are_the_schema_of_today() {
    let old = database::fresh().await;
    FIRST.prepare(&old.url).await.expect("the first shape");
    statement(&old.url, "INSERT INTO peer (ae_title, created_at) VALUES ('CT01', UTC_TIMESTAMP(6))").await;
    assert_eq!(prepare(&old.url).await.expect("upgraded"), Prepared::Upgraded { from: 1 });
    assert_eq!(describe(&old.url).await.len(), describe(&prepared().await.url).await.len());
    for (upgraded, made) in describe(&old.url).await.iter().zip(describe(&prepared().await.url).await) {
        let without_counter = |text: &str| text.replace(" AUTO_INCREMENT=2", "");
        assert_eq!(without_counter(&upgraded.1), without_counter(&made.1));
    }
    assert_eq!(query::<String>(&old.url, "SELECT tls FROM peer").await, ["optional"]);
}

#[tokio::test]
async fn an_upgrade_cut_off_before_it_was_noted_goes_on() {
    for done in 1..=UPGRADES.len() {
        let database = database::fresh().await;
        OLDER.prepare(&database.url).await.expect("the old shape");
        for (number, upgrade) in UPGRADES.iter().take(done).enumerate() {
            statement(&database.url, upgrade).await;
            if number + 1 < done {
                statement(&database.url, "UPDATE schema_version SET version = version + 1").await;
            }
        }
        NEWER.prepare(&database.url).await.expect("upgraded");
        assert_eq!(version(&database.url).await, [4]);
        let extra = query::<String>(&database.url, "SHOW TABLES LIKE 'extra'").await;
        assert_eq!(extra.len(), 1);
    }
}

#[tokio::test]
async fn a_newer_database_is_refused_and_left_alone() {
    let database = database::fresh().await;
    NEWER.prepare(&database.url).await.expect("the new shape");
    let before = describe(&database.url).await;
    let refused = unfit(OLDER.prepare(&database.url).await);
    assert_eq!(refused, Unfit::Newer { database: database.name.clone(), found: 4, known: 1 });
    assert!(refused.to_string().contains("newer filmroom"), "{refused}");
    assert_eq!(describe(&database.url).await, before);
    assert_eq!(version(&database.url).await, [4]);
}

#[tokio::test]
async fn a_database_with_the_tables_of_others_is_refused_and_left_alone() {
    let cases: [&[&str]; 4] = [
        &["CREATE TABLE wp_posts (id INT PRIMARY KEY)"],
        &["CREATE TABLE patient (id INT PRIMARY KEY)"],
        // Other programs keep their version in a table of this name, too.
        &["CREATE TABLE schema_version (installed_rank INT PRIMARY KEY, version VARCHAR(50))"],
        // Looks like a creation that was cut off, but holds somebody's rows.
        &[
            "CREATE TABLE schema_version (version INT UNSIGNED NOT NULL, upgraded_at DATETIME(6) NOT NULL)",
            "CREATE TABLE patient (id INT PRIMARY KEY)",
            "INSERT INTO patient VALUES (1)",
        ],
    ];
    for case in cases {
        let database = database::fresh().await;
        for one in case {
            statement(&database.url, one).await;
        }
        let before = describe(&database.url).await;
        let refused = unfit(prepare(&database.url).await);
        assert!(matches!(refused, Unfit::Foreign { .. }), "{refused:?}");
        assert!(refused.to_string().contains("a database of its own"), "{refused}");
        assert_eq!(describe(&database.url).await, before);
    }
}

#[tokio::test]
async fn a_database_that_lost_a_table_is_refused() {
    let database = prepared().await;
    statement(&database.url, "DROP TABLE frame_index").await;
    let refused = unfit(prepare(&database.url).await);
    assert!(refused.to_string().contains("lacks filmroom's tables frame_index"), "{refused}");
}

#[tokio::test]
async fn tables_that_an_administrator_added_do_no_harm() {
    let database = prepared().await;
    statement(&database.url, "CREATE VIEW monthly AS SELECT study_date, COUNT(*) AS n FROM study GROUP BY 1")
        .await;
    assert_eq!(prepare(&database.url).await.expect("fit"), Prepared::Unchanged);
}

#[tokio::test]
async fn a_second_filmroom_on_the_same_database_is_refused_in_words() {
    let database = database::fresh().await;
    let first = ServeLock::acquire(&database.url).await.expect("free");
    let second = ServeLock::acquire(&database.url).await.err().expect("refused").to_string();
    assert!(second.contains("another filmroom already serves database"), "{second}");
    let other = database::fresh().await;
    ServeLock::acquire(&other.url).await.expect("another database is free").release().await;
    first.release().await;
    ServeLock::acquire(&database.url).await.expect("free again").release().await;
}

/// The connection that holds the lock of this database.
async fn holder(url: &DatabaseUrl) -> u64 {
    let ids: Vec<Option<u64>> =
        query(url, "SELECT IS_USED_LOCK(CONCAT('filmroom serve ', LEFT(SHA2(DATABASE(), 256), 40)))").await;
    ids.into_iter().flatten().next().expect("somebody holds the lock")
}

#[tokio::test]
async fn the_lock_is_taken_again_when_its_connection_dies() {
    let database = database::fresh().await;
    let lock = ServeLock::acquire(&database.url).await.expect("free");
    let before = holder(&database.url).await;
    statement(&administrator().await, &format!("KILL {before}")).await;
    let taken_again = async {
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let ids: Vec<Option<u64>> = query(
                &database.url,
                "SELECT IS_USED_LOCK(CONCAT('filmroom serve ', LEFT(SHA2(DATABASE(), 256), 40)))",
            )
            .await;
            if ids.into_iter().flatten().any(|id| id != before) {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), taken_again).await.expect("taken again");
    let refused = ServeLock::acquire(&database.url).await.err().expect("still held");
    assert!(matches!(refused, Error::Schema(Unfit::InUse { .. })), "{refused:?}");
    lock.release().await;
}

#[tokio::test]
async fn whoever_loses_the_database_to_another_is_told() {
    let database = database::fresh().await;
    let first = ServeLock::acquire(&database.url).await.expect("free");
    statement(&administrator().await, &format!("KILL {}", holder(&database.url).await)).await;
    let second = ServeLock::acquire(&database.url).await.expect("free for a moment");
    tokio::time::timeout(Duration::from_secs(20), first.lost()).await.expect("told");
    assert!(!first.is_held());
    assert!(second.is_held());
    second.release().await;
}
