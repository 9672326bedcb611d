//! Tables `job` and `job_item`: work that outlives a request. Making one, showing it, ending it; what the runner does
//! with it is in [`turn`].

pub mod turn;

use chrono::NaiveDateTime;
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{FromRowError, Result, Row, Value, params};

use super::row::{column, parsed};
use super::study::bound;
use super::visibility::Visibility;
use crate::dicom::ae_title::AeTitle;
use crate::dicom::uid::StudyInstanceUid;

/// Jobs that a page lists.
const LISTED: u64 = 200;
/// Studies of one job that its page lists.
const STUDIES_LISTED: u64 = 500;
/// Failures of one job that its page lists.
const FAILURES_LISTED: u64 = 100;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$each:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$each])* $variant,)+
        }

        impl $name {
            /// The word in the table.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)+ }
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> std::result::Result<$name, String> {
                match text {
                    $($word => Ok($name::$variant),)+
                    other => Err(format!("there is no {other:?}")),
                }
            }
        }
    };
}

words! {
    /// What is done.
    Kind {
        /// Instances are sent to a peer.
        Send = "send",
        /// Studies or series are retrieved from one.
        Retrieve = "retrieve",
    }
}

words! {
    /// How something is retrieved.
    Method {
        /// C-GET: over the association we ask on.
        Get = "get",
        /// C-MOVE: the peer calls us.
        Move = "move",
    }
}

words! {
    /// How far a job is.
    State {
        /// For its next attempt.
        Waiting = "waiting",
        /// Somebody works on it.
        Running = "running",
        /// All of it.
        Done = "done",
        /// Not all of it.
        Failed = "failed",
        /// Somebody ended it.
        Cancelled = "cancelled",
    }
}

impl State {
    /// Whether nothing more happens to it by itself.
    pub fn is_over(self) -> bool {
        matches!(self, State::Done | State::Failed | State::Cancelled)
    }
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Our own number.
    pub job_key: u64,
    /// What is done.
    pub kind: Kind,
    /// To whom, or from whom.
    pub ae_title: AeTitle,
    /// How it is retrieved, where it is.
    pub method: Option<Method>,
    /// `user.name`
    pub asked_by: String,
    /// How far it is.
    pub state: State,
    /// Somebody wants it to end.
    pub is_cancelled: bool,
    /// In a row that brought nothing.
    pub attempts: u32,
    /// UTC
    pub next_attempt_at: NaiveDateTime,
    /// UTC
    pub gives_up_at: NaiveDateTime,
    /// In words.
    pub last_error: String,
    /// That its items are of.
    pub studies: u32,
    /// The first of them.
    pub study_instance_uid: String,
    /// Instances, as far as is known.
    pub expected: u32,
    /// Instances.
    pub completed: u32,
    /// Instances.
    pub failed: u32,
    /// UTC
    pub created_at: NaiveDateTime,
    /// UTC
    pub started_at: Option<NaiveDateTime>,
    /// UTC
    pub ended_at: Option<NaiveDateTime>,
}

/// The columns of [`Job`].
macro_rules! columns {
    () => {
        "job.job_key, job.kind, job.ae_title, job.method, job.asked_by, job.state, job.is_cancelled, job.attempts,
                job.next_attempt_at, job.gives_up_at, job.last_error, job.studies, job.study_instance_uid,
                job.expected, job.completed, job.failed, job.created_at, job.started_at, job.ended_at"
    };
}
use columns;

impl FromRow for Job {
    fn from_row_opt(row: Row) -> std::result::Result<Job, FromRowError> {
        let method: String = column(&row, "method")?;
        Ok(Job {
            job_key: column(&row, "job_key")?,
            kind: parsed(&row, "kind")?,
            ae_title: parsed(&row, "ae_title")?,
            method: if method.is_empty() { None } else { Some(parsed(&row, "method")?) },
            asked_by: column(&row, "asked_by")?,
            state: parsed(&row, "state")?,
            is_cancelled: column(&row, "is_cancelled")?,
            attempts: column(&row, "attempts")?,
            next_attempt_at: column(&row, "next_attempt_at")?,
            gives_up_at: column(&row, "gives_up_at")?,
            last_error: column(&row, "last_error")?,
            studies: column(&row, "studies")?,
            study_instance_uid: column(&row, "study_instance_uid")?,
            expected: column(&row, "expected")?,
            completed: column(&row, "completed")?,
            failed: column(&row, "failed")?,
            created_at: column(&row, "created_at")?,
            started_at: column(&row, "started_at")?,
            ended_at: column(&row, "ended_at")?,
        })
    }
}

/// A job to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob<'a> {
    /// What is done.
    pub kind: Kind,
    /// To whom, or from whom.
    pub ae_title: &'a AeTitle,
    /// How it is retrieved, where it is.
    pub method: Option<Method>,
    /// `user.name`
    pub asked_by: &'a str,
    /// For how long it is tried, seconds.
    pub patience: u64,
}

/// What a job does for one study.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct StudyOfJob {
    /// (0020,000D)
    pub study_instance_uid: String,
    /// Instances, as far as is known.
    pub expected: u64,
    /// Instances.
    pub completed: u64,
    /// Instances.
    pub failed: u64,
    /// Items that are still to be tried.
    pub waiting: u64,
}

/// An item that failed.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Failure {
    /// (0020,000D)
    pub study_instance_uid: String,
    /// (0008,0018), or nothing where all instances are meant.
    pub sop_instance_uid: String,
    /// In words.
    pub error: String,
}

/// Makes a job without items, and returns its number. It waits for nobody before its items are there, because the
/// caller's transaction is not committed yet.
pub async fn add(conn: &mut impl Queryable, new: &NewJob<'_>) -> Result<u64> {
    let made = conn
        .exec_iter(
            "INSERT INTO job (kind, ae_title, method, asked_by, state, next_attempt_at, gives_up_at, created_at)
             VALUES (:kind, :ae_title, :method, :asked_by, 'waiting', UTC_TIMESTAMP(6),
                     UTC_TIMESTAMP(6) + INTERVAL :patience SECOND, UTC_TIMESTAMP(6))",
            params! {
                "kind" => new.kind.as_str(),
                "ae_title" => new.ae_title.as_str(),
                "method" => new.method.map_or("", Method::as_str),
                "asked_by" => new.asked_by,
                "patience" => new.patience,
            },
        )
        .await?;
    Ok(made.last_insert_id().unwrap_or_default())
}

/// Adds the instances of a visible study to a job that sends; of these series alone, where any are named. Returns how
/// many.
pub async fn add_instances(
    conn: &mut impl Queryable,
    job_key: u64,
    study: &StudyInstanceUid,
    series: &[String],
    visibility: &Visibility,
) -> Result<u64> {
    let visible = visibility.of_one();
    let of_series = match series {
        [] => "TRUE".to_owned(),
        series => format!("series.series_instance_uid IN ({})", vec!["?"; series.len()].join(", ")),
    };
    let sql = format!(
        "INSERT INTO job_item (job_key, item_number, study_instance_uid, series_instance_uid, sop_instance_uid,
                               expected)
         SELECT ?,
                (SELECT COALESCE(MAX(there.item_number), 0) FROM job_item AS there WHERE there.job_key = ?)
                + ROW_NUMBER() OVER (ORDER BY series.series_number, series.series_key, instance.instance_number,
                                              instance.instance_key),
                study.study_instance_uid,
                series.series_instance_uid,
                instance.sop_instance_uid,
                1
           FROM study
           JOIN series ON series.study_key = study.study_key
           JOIN instance ON instance.series_key = series.series_key
          WHERE study.study_instance_uid = ?
            AND {of_series}
            AND {}",
        visible.sql
    );
    let own = [Value::from(job_key), job_key.into(), study.as_str().into()];
    let params = bound(own.into_iter().chain(series.iter().map(Value::from)), visible.params);
    Ok(conn.exec_iter(sql, params).await?.affected_rows())
}

/// Adds studies to a job that retrieves.
pub async fn add_studies(
    conn: &mut impl Queryable,
    job_key: u64,
    studies: &[StudyInstanceUid],
) -> Result<()> {
    for (number, study) in (1_u32..).zip(studies) {
        conn.exec_drop(
            "INSERT INTO job_item (job_key, item_number, study_instance_uid)
             VALUES (:job_key, :item_number, :study_instance_uid)",
            params! {
                "job_key" => job_key,
                "item_number" => number,
                "study_instance_uid" => study.as_str(),
            },
        )
        .await?;
    }
    Ok(())
}

/// Writes into a job what its items add up to.
pub async fn count(conn: &mut impl Queryable, job_key: u64) -> Result<()> {
    conn.exec_drop(
        "UPDATE job
           JOIN (SELECT COUNT(DISTINCT study_instance_uid)              AS studies,
                        CAST(COALESCE(SUM(expected), 0) AS UNSIGNED)    AS expected,
                        CAST(COALESCE(SUM(completed), 0) AS UNSIGNED)   AS completed,
                        CAST(COALESCE(SUM(failed), 0) AS UNSIGNED)      AS failed
                   FROM job_item
                  WHERE job_key = :job_key) AS items
           LEFT JOIN job_item AS first ON first.job_key = :job_key AND first.item_number = 1
            SET job.studies = items.studies,
                job.study_instance_uid = COALESCE(first.study_instance_uid, ''),
                job.expected = items.expected,
                job.completed = items.completed,
                job.failed = items.failed
          WHERE job.job_key = :job_key",
        params! { "job_key" => job_key },
    )
    .await
}

/// The jobs of somebody, or of everybody: those that are not over first, then the last made.
pub async fn list(conn: &mut impl Queryable, asked_by: Option<&str>) -> Result<Vec<Job>> {
    conn.exec(
        concat!(
            "SELECT ",
            columns!(),
            "
           FROM job
          WHERE (:asked_by IS NULL OR asked_by = :asked_by)
          ORDER BY ended_at IS NOT NULL, job_key DESC
          LIMIT :listed"
        ),
        params! { "asked_by" => asked_by, "listed" => LISTED },
    )
    .await
}

/// The job with this number.
pub async fn by_key(conn: &mut impl Queryable, job_key: u64) -> Result<Option<Job>> {
    conn.exec_first(
        concat!(
            "SELECT ",
            columns!(),
            "
           FROM job
          WHERE job_key = :job_key"
        ),
        params! { "job_key" => job_key },
    )
    .await
}

/// What a job does, study by study.
pub async fn studies(conn: &mut impl Queryable, job_key: u64) -> Result<Vec<StudyOfJob>> {
    conn.exec(
        "SELECT study_instance_uid,
                CAST(SUM(expected) AS UNSIGNED)                           AS expected,
                CAST(SUM(completed) AS UNSIGNED)                          AS completed,
                CAST(SUM(failed) AS UNSIGNED)                             AS failed,
                CAST(SUM(CASE WHEN state = 'waiting' THEN 1 ELSE 0 END) AS UNSIGNED) AS waiting
           FROM job_item
          WHERE job_key = :job_key
          GROUP BY study_instance_uid
          ORDER BY MIN(item_number)
          LIMIT :listed",
        params! { "job_key" => job_key, "listed" => STUDIES_LISTED },
    )
    .await
}

/// The items of a job that failed, the first hundred.
pub async fn failures(conn: &mut impl Queryable, job_key: u64) -> Result<Vec<Failure>> {
    conn.exec(
        "SELECT study_instance_uid, sop_instance_uid, error
           FROM job_item
          WHERE job_key = :job_key AND error <> ''
          ORDER BY state = 'waiting', item_number
          LIMIT :listed",
        params! { "job_key" => job_key, "listed" => FAILURES_LISTED },
    )
    .await
}

/// Ends a job that is not over: at once where nobody works on it, else soon. False where there was nothing to end.
pub async fn cancel(conn: &mut impl Queryable, job_key: u64) -> Result<bool> {
    let cancelled = conn
        .exec_iter(
            "UPDATE job
                SET is_cancelled = TRUE,
                    ended_at = CASE WHEN state = 'waiting' THEN UTC_TIMESTAMP(6) ELSE ended_at END,
                    state = CASE WHEN state = 'waiting' THEN 'cancelled' ELSE state END
              WHERE job_key = :job_key AND state IN ('waiting', 'running') AND NOT is_cancelled",
            params! { "job_key" => job_key },
        )
        .await?;
    Ok(cancelled.affected_rows() > 0)
}

/// Lets a job that ended without all of it begin again with what is missing. False where there is none such.
pub async fn try_again(conn: &mut impl Queryable, job_key: u64, patience: u64) -> Result<bool> {
    let begun = conn
        .exec_iter(
            "UPDATE job
                SET state = 'waiting',
                    is_cancelled = FALSE,
                    attempts = 0,
                    next_attempt_at = UTC_TIMESTAMP(6),
                    gives_up_at = UTC_TIMESTAMP(6) + INTERVAL :patience SECOND,
                    last_error = '',
                    ended_at = NULL
              WHERE job_key = :job_key AND state IN ('failed', 'cancelled')",
            params! { "job_key" => job_key, "patience" => patience },
        )
        .await?;
    if begun.affected_rows() == 0 {
        return Ok(false);
    }
    drop(begun);
    conn.exec_drop(
        "UPDATE job_item
            SET state = 'waiting', attempts = 0, completed = 0, failed = 0, error = ''
          WHERE job_key = :job_key AND state <> 'done'",
        params! { "job_key" => job_key },
    )
    .await?;
    count(conn, job_key).await?;
    Ok(true)
}

/// Lets a job that waits for its next attempt have it now. False where it does not wait.
pub async fn try_now(conn: &mut impl Queryable, job_key: u64) -> Result<bool> {
    let waiting = conn
        .exec_iter(
            "UPDATE job SET next_attempt_at = UTC_TIMESTAMP(6) WHERE job_key = :job_key AND state = 'waiting'",
            params! { "job_key" => job_key },
        )
        .await?;
    Ok(waiting.affected_rows() > 0)
}

/// Forgets jobs that ended so many days ago, a few at a time. Returns how many.
pub async fn forget(conn: &mut impl Queryable, days: u32) -> Result<u64> {
    let old: Vec<u64> = conn
        .exec(
            "SELECT job_key
               FROM job
              WHERE ended_at < UTC_TIMESTAMP(6) - INTERVAL :days DAY
              LIMIT 20",
            params! { "days" => days },
        )
        .await?;
    for job_key in &old {
        conn.exec_drop("DELETE FROM job_item WHERE job_key = :job_key", params! { "job_key" => job_key })
            .await?;
        conn.exec_drop("DELETE FROM job WHERE job_key = :job_key", params! { "job_key" => job_key }).await?;
    }
    Ok(u64::try_from(old.len()).unwrap_or(u64::MAX))
}
