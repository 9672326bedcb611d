//! What a runner does with a job: claims it for a while, notes what becomes of its items, and gives it back.
//!
//! Whoever works on a job holds a lease, sixteen random bytes with an end. Everything that is written of a job asks for
//! the lease, so that a runner that was away too long changes nothing of a job that somebody else has taken up.

use std::time::Duration;

use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Result, Value, params};

use super::{Job, columns};

/// Numbers of items in one statement.
const AT_ONCE: usize = 500;

/// Who works on a job.
pub type Lease = [u8; 16];

/// An item that is to be worked on.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Item {
    /// Within its job.
    pub item_number: u32,
    /// (0020,000D)
    pub study_instance_uid: String,
    /// (0020,000E), or nothing where all series are meant.
    pub series_instance_uid: String,
    /// (0008,0018), or nothing where all instances are meant.
    pub sop_instance_uid: String,
    /// Attempts that ended over it.
    pub attempts: u32,
}

/// What became of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// All of it is done.
    Done,
    /// It will not work, in words.
    Failed(String),
    /// An attempt ended over it, in words; it comes after those that have not been tried.
    Later(String),
    /// It is this far.
    Progress {
        /// Instances, as far as is known.
        expected: u32,
        /// Instances.
        completed: u32,
        /// Instances.
        failed: u32,
    },
}

/// Whether a lease goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewed {
    /// It does.
    Held,
    /// It does, and somebody wants the job to end.
    Cancelled,
    /// Somebody else has the job, or nobody.
    Lost,
}

/// How a turn ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Everything is done.
    Done,
    /// Nothing more can be done, in words.
    Failed(String),
    /// Somebody wanted it to end.
    Cancelled,
    /// The rest is tried again after this.
    Later {
        /// From now on.
        after: Duration,
        /// Attempts in a row that brought nothing.
        attempts: u32,
        /// Why, in words.
        error: String,
    },
}

/// Takes a job whose turn it is, of a peer that nobody is busy with: one that somebody left behind before those that
/// wait. Runs within a transaction of the caller, and one caller at a time.
pub async fn claim(conn: &mut impl Queryable, lease: &Lease, lasts: Duration) -> Result<Option<Job>> {
    let abandoned = concat!(
        "SELECT ",
        columns!(),
        "
           FROM job
          WHERE state = 'running'
            AND leased_until < UTC_TIMESTAMP(6)
          ORDER BY leased_until
          LIMIT 1
            FOR UPDATE SKIP LOCKED"
    );
    let waiting = concat!(
        "SELECT ",
        columns!(),
        "
           FROM job
          WHERE state = 'waiting'
            AND next_attempt_at <= UTC_TIMESTAMP(6)
            AND NOT EXISTS (SELECT 1
                              FROM job AS other
                             WHERE other.state = 'running'
                               AND other.leased_until >= UTC_TIMESTAMP(6)
                               AND other.ae_title = job.ae_title)
          ORDER BY next_attempt_at, job_key
          LIMIT 1
            FOR UPDATE SKIP LOCKED"
    );
    let found = match conn.query_first(abandoned).await? {
        Some(job) => Some(job),
        None => conn.query_first::<Job, _>(waiting).await?,
    };
    let Some(job) = found else { return Ok(None) };
    conn.exec_drop(
        "UPDATE job
            SET state = 'running',
                lease = :lease,
                leased_until = UTC_TIMESTAMP(6) + INTERVAL :lasts MICROSECOND,
                started_at = COALESCE(started_at, UTC_TIMESTAMP(6))
          WHERE job_key = :job_key",
        params! { "job_key" => job.job_key, "lease" => lease, "lasts" => micros(lasts) },
    )
    .await?;
    Ok(Some(job))
}

/// Ends every lease. Returns how many there were.
pub async fn abandon_all(conn: &mut impl Queryable) -> Result<u64> {
    let ended = conn
        .query_iter("UPDATE job SET leased_until = '1970-01-02 00:00:00' WHERE state = 'running'")
        .await?;
    Ok(ended.affected_rows())
}

/// Goes on with a job.
pub async fn renew(
    conn: &mut impl Queryable,
    job_key: u64,
    lease: &Lease,
    lasts: Duration,
) -> Result<Renewed> {
    let renewed = conn
        .exec_iter(
            "UPDATE job
                SET leased_until = UTC_TIMESTAMP(6) + INTERVAL :lasts MICROSECOND
              WHERE job_key = :job_key AND state = 'running' AND lease = :lease",
            params! { "job_key" => job_key, "lease" => lease, "lasts" => micros(lasts) },
        )
        .await?;
    if renewed.affected_rows() == 0 {
        return Ok(Renewed::Lost);
    }
    drop(renewed);
    let is_cancelled: Option<bool> = conn
        .exec_first("SELECT is_cancelled FROM job WHERE job_key = :job_key", params! { "job_key" => job_key })
        .await?;
    Ok(if is_cancelled == Some(true) { Renewed::Cancelled } else { Renewed::Held })
}

/// The items that are still to be worked on, those over which no attempt ended first, at most `limit`.
pub async fn waiting(conn: &mut impl Queryable, job_key: u64, limit: u64) -> Result<Vec<Item>> {
    conn.exec(
        "SELECT item_number, study_instance_uid, series_instance_uid, sop_instance_uid, attempts
           FROM job_item
          WHERE job_key = :job_key AND state = 'waiting'
          ORDER BY attempts, item_number
          LIMIT :limit",
        params! { "job_key" => job_key, "limit" => limit },
    )
    .await
}

/// Notes what became of items.
pub async fn settle(conn: &mut impl Queryable, job_key: u64, settled: &[(u32, Settled)]) -> Result<()> {
    // How far an item is comes before what became of it.
    for (number, settled) in settled {
        if let Settled::Progress { expected, completed, failed } = settled {
            conn.exec_drop(
                "UPDATE job_item
                    SET expected = :expected, completed = :completed, failed = :failed
                  WHERE job_key = :job_key AND item_number = :number",
                params! {
                    "job_key" => job_key,
                    "number" => number,
                    "expected" => expected,
                    "completed" => completed,
                    "failed" => failed,
                },
            )
            .await?;
        }
    }
    let is_done = |(number, settled): &(u32, Settled)| (*settled == Settled::Done).then_some(*number);
    let done: Vec<u32> = settled.iter().filter_map(is_done).collect();
    for numbers in done.chunks(AT_ONCE) {
        let sql = format!(
            "UPDATE job_item
                SET state = 'done', completed = GREATEST(expected, completed), failed = 0, error = ''
              WHERE job_key = ? AND item_number IN ({})",
            vec!["?"; numbers.len()].join(", ")
        );
        let numbers = numbers.iter().map(Value::from);
        conn.exec_drop(sql, std::iter::once(Value::from(job_key)).chain(numbers).collect::<Vec<_>>()).await?;
    }
    for (number, settled) in settled {
        let (sql, error) = match settled {
            Settled::Done | Settled::Progress { .. } => continue,
            Settled::Failed(error) => (
                "UPDATE job_item
                    SET state = 'failed', failed = GREATEST(failed, 1), error = :error
                  WHERE job_key = :job_key AND item_number = :number",
                error,
            ),
            Settled::Later(error) => (
                "UPDATE job_item
                    SET attempts = attempts + 1, error = :error
                  WHERE job_key = :job_key AND item_number = :number",
                error,
            ),
        };
        let params = params! { "job_key" => job_key, "number" => number, "error" => cut(error, 500) };
        conn.exec_drop(sql, params).await?;
    }
    super::count(conn, job_key).await
}

/// How many items wait, and how many failed.
pub async fn open_items(conn: &mut impl Queryable, job_key: u64) -> Result<(u64, u64)> {
    let counts: Option<(u64, u64)> = conn
        .exec_first(
            "SELECT CAST(COALESCE(SUM(CASE WHEN state = 'waiting' THEN 1 ELSE 0 END), 0) AS UNSIGNED),
                    CAST(COALESCE(SUM(CASE WHEN state = 'failed' THEN 1 ELSE 0 END), 0) AS UNSIGNED)
               FROM job_item
              WHERE job_key = :job_key",
            params! { "job_key" => job_key },
        )
        .await?;
    Ok(counts.unwrap_or_default())
}

/// The first reasons why items failed, each once.
pub async fn reasons(conn: &mut impl Queryable, job_key: u64) -> Result<Vec<String>> {
    conn.exec(
        "SELECT error
           FROM job_item
          WHERE job_key = :job_key AND state = 'failed'
          GROUP BY error
          ORDER BY MIN(item_number)
          LIMIT 3",
        params! { "job_key" => job_key },
    )
    .await
}

/// Gives a job back. False where somebody else has it.
pub async fn give_back(conn: &mut impl Queryable, job_key: u64, lease: &Lease, end: &End) -> Result<bool> {
    let (state, error, after, attempts) = match end {
        End::Done => ("done", "", Duration::ZERO, 0),
        End::Failed(error) => ("failed", error.as_str(), Duration::ZERO, 0),
        End::Cancelled => ("cancelled", "", Duration::ZERO, 0),
        End::Later { after, attempts, error } => ("waiting", error.as_str(), *after, *attempts),
    };
    let given = conn
        .exec_iter(
            "UPDATE job
                SET state = :state,
                    last_error = :error,
                    attempts = :attempts,
                    next_attempt_at = UTC_TIMESTAMP(6) + INTERVAL :after MICROSECOND,
                    lease = NULL,
                    leased_until = NULL,
                    ended_at = CASE WHEN :state = 'waiting' THEN NULL ELSE UTC_TIMESTAMP(6) END
              WHERE job_key = :job_key AND lease = :lease",
            params! {
                "job_key" => job_key,
                "lease" => lease,
                "state" => state,
                "error" => cut(error, 1000),
                "after" => micros(after),
                "attempts" => attempts,
            },
        )
        .await?;
    Ok(given.affected_rows() > 0)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn cut(text: &str, length: usize) -> String {
    text.chars().take(length).collect()
}
