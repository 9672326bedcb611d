//! What is done with a question whether instances are safely stored: it is due, tried, put off, ended or given up.
//! One program serves a database, and one thread of it does this, so that nothing has to be claimed.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Result, params};

use super::{Commitment, columns};
use crate::dicom::ae_title::AeTitle;
use crate::dicom::uid::TransactionUid;

/// Peers' questions that ended so many days ago are forgotten, and ours that were never answered.
const KEPT_DAYS: u32 = 30;

/// Peers of which something is to be tried now, the longest overdue first.
pub async fn peers_due(conn: &mut impl Queryable) -> Result<Vec<AeTitle>> {
    let titles: Vec<String> = conn
        .query(
            "SELECT ae_title
               FROM commitment
              WHERE state IN ('waiting', 'asked')
                AND next_attempt_at <= UTC_TIMESTAMP(6)
              GROUP BY ae_title
              ORDER BY MIN(next_attempt_at), ae_title",
        )
        .await?;
    // What cannot be called is given up after its days like what cannot be reached.
    Ok(titles.iter().filter_map(|title| title.parse().ok()).collect())
}

/// What of a peer is to be tried now, the longest overdue.
pub async fn next_due(conn: &mut impl Queryable, ae_title: &AeTitle) -> Result<Option<Commitment>> {
    conn.exec_first(
        concat!(
            "SELECT ",
            columns!(),
            "
           FROM commitment
          WHERE state IN ('waiting', 'asked')
            AND next_attempt_at <= UTC_TIMESTAMP(6)
            AND ae_title = :ae_title
          ORDER BY next_attempt_at, commitment_key
          LIMIT 1"
        ),
        params! { "ae_title" => ae_title.as_str() },
    )
    .await
}

/// An attempt brought nothing, in words; the next one comes after this.
pub async fn later(
    conn: &mut impl Queryable,
    commitment_key: u64,
    after: Duration,
    error: &str,
) -> Result<()> {
    conn.exec_drop(
        "UPDATE commitment
            SET state = 'waiting',
                attempts = attempts + 1,
                next_attempt_at = UTC_TIMESTAMP(6) + INTERVAL :after MICROSECOND,
                last_error = :error
          WHERE commitment_key = :commitment_key AND state IN ('waiting', 'asked')",
        params! { "commitment_key" => commitment_key, "after" => micros(after), "error" => cut(error) },
    )
    .await
}

/// A peer is away: what of it is due waits this long, as what was just tried does.
pub async fn put_off(conn: &mut impl Queryable, ae_title: &AeTitle, after: Duration) -> Result<()> {
    conn.exec_drop(
        "UPDATE commitment
            SET next_attempt_at = LEAST(UTC_TIMESTAMP(6) + INTERVAL :after MICROSECOND,
                                        GREATEST(gives_up_at, UTC_TIMESTAMP(6) + INTERVAL 1 SECOND))
          WHERE state = 'waiting'
            AND next_attempt_at <= UTC_TIMESTAMP(6)
            AND ae_title = :ae_title",
        params! { "ae_title" => ae_title.as_str(), "after" => micros(after) },
    )
    .await
}

/// The queue is to look after it now.
pub async fn now(conn: &mut impl Queryable, commitment_key: u64) -> Result<()> {
    conn.exec_drop(
        "UPDATE commitment
            SET next_attempt_at = UTC_TIMESTAMP(6)
          WHERE commitment_key = :commitment_key AND state = 'waiting'",
        params! { "commitment_key" => commitment_key },
    )
    .await
}

/// The peer is asked, and has so long to report.
pub async fn asked(conn: &mut impl Queryable, commitment_key: u64, patience: Duration) -> Result<()> {
    conn.exec_drop(
        "UPDATE commitment
            SET state = 'asked',
                next_attempt_at = LEAST(UTC_TIMESTAMP(6) + INTERVAL :patience MICROSECOND, gives_up_at),
                last_error = ''
          WHERE commitment_key = :commitment_key AND state IN ('waiting', 'asked')",
        params! { "commitment_key" => commitment_key, "patience" => micros(patience) },
    )
    .await
}

/// It is reported.
pub async fn end(conn: &mut impl Queryable, commitment_key: u64) -> Result<()> {
    conn.exec_drop(
        "UPDATE commitment
            SET state = 'ended', ended_at = UTC_TIMESTAMP(6), last_error = ''
          WHERE commitment_key = :commitment_key AND state <> 'ended'",
        params! { "commitment_key" => commitment_key },
    )
    .await
}

/// Nothing more is tried, for this reason.
pub async fn give_up(conn: &mut impl Queryable, commitment_key: u64, error: &str) -> Result<()> {
    conn.exec_drop(
        "UPDATE commitment
            SET state = 'given-up', ended_at = UTC_TIMESTAMP(6), last_error = :error
          WHERE commitment_key = :commitment_key AND state IN ('waiting', 'asked')",
        params! { "commitment_key" => commitment_key, "error" => cut(error) },
    )
    .await
}

/// Puts a question anew, under another Transaction UID, about what was not answered. The old one is given up by the
/// caller; what the peer may still report of it is taken.
pub async fn again(
    conn: &mut impl Queryable,
    commitment_key: u64,
    transaction_uid: &TransactionUid,
) -> Result<()> {
    let made = conn
        .exec_iter(
            "INSERT INTO commitment (is_ours, ae_title, transaction_uid, state, attempts, next_attempt_at, gives_up_at,
                                     created_at, job_key)
             SELECT is_ours, ae_title, :transaction_uid, 'waiting', attempts + 1, UTC_TIMESTAMP(6), gives_up_at,
                    UTC_TIMESTAMP(6), job_key
               FROM commitment AS before_it
              WHERE before_it.commitment_key = :commitment_key",
            params! { "commitment_key" => commitment_key, "transaction_uid" => transaction_uid.as_str() },
        )
        .await?;
    let new_key = made.last_insert_id().unwrap_or_default();
    drop(made);
    conn.exec_drop(
        "INSERT INTO commitment_item (commitment_key, item_number, sop_class_uid, sop_instance_uid,
                                      study_instance_uid)
         SELECT :new_key, asked.item_number, asked.sop_class_uid, asked.sop_instance_uid, asked.study_instance_uid
           FROM commitment_item AS asked
          WHERE asked.commitment_key = :commitment_key AND asked.result IS NULL",
        params! { "commitment_key" => commitment_key, "new_key" => new_key },
    )
    .await
}

/// Forgets what is of no more use, a few at a time. Returns how many.
pub async fn forget(conn: &mut impl Queryable) -> Result<u64> {
    let old: Vec<u64> = conn
        .exec(
            "SELECT commitment_key
               FROM commitment
              WHERE is_ours IN (TRUE, FALSE)
                AND ended_at < UTC_TIMESTAMP(6) - INTERVAL :days DAY
                AND (is_ours = FALSE OR state = 'given-up')
              LIMIT 20",
            params! { "days" => KEPT_DAYS },
        )
        .await?;
    for commitment_key in &old {
        let of_it = params! { "commitment_key" => commitment_key };
        let items = "DELETE FROM commitment_item WHERE commitment_key = :commitment_key";
        conn.exec_drop(items, of_it.clone()).await?;
        conn.exec_drop("DELETE FROM commitment WHERE commitment_key = :commitment_key", of_it).await?;
    }
    Ok(u64::try_from(old.len()).unwrap_or(u64::MAX))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn cut(text: &str) -> String {
    text.chars().take(1000).collect()
}
