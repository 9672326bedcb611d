//! Tables `commitment` and `commitment_item`: storage commitment that peers asked us for and that we asked them for,
//! PS3.4 annex J. What a runner does with them is in [`turn`].

pub mod turn;

use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{FromRowError, Result, Row, Value, params};

use super::row::{column, parsed};
use crate::dicom::ae_title::AeTitle;
use crate::dicom::commitment::{FailureReason, Reference, Verdict};
use crate::dicom::uid::TransactionUid;

/// For how long it is tried to ask or to report.
const PATIENCE_DAYS: u32 = 7;
/// Rows and numbers in one statement.
const AT_ONCE: usize = 500;

/// How far one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// To be asked where it is ours, to be reported where it is the peer's.
    Waiting,
    /// We asked, and the peer has not reported.
    Asked,
    /// It is reported.
    Ended,
    /// Nothing more is tried. A report that comes all the same is taken.
    GivenUp,
}

impl State {
    /// The word in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Asked => "asked",
            State::Ended => "ended",
            State::GivenUp => "given-up",
        }
    }
}

impl std::str::FromStr for State {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<State, String> {
        let all = [State::Waiting, State::Asked, State::Ended, State::GivenUp];
        all.into_iter().find(|state| state.as_str() == text).ok_or_else(|| format!("there is no {text:?}"))
    }
}

/// A question whether instances are safely stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commitment {
    /// Our own number.
    pub commitment_key: u64,
    /// We asked the peer; else the peer asked us.
    pub is_ours: bool,
    /// Of the peer.
    pub ae_title: AeTitle,
    /// (0008,1195)
    pub transaction_uid: TransactionUid,
    /// How far it is.
    pub state: State,
    /// That brought nothing.
    pub attempts: u32,
    /// Nothing more is tried after this attempt.
    pub is_last: bool,
    /// In words.
    pub last_error: String,
}

/// The columns of [`Commitment`].
macro_rules! columns {
    () => {
        "commitment_key, is_ours, ae_title, transaction_uid, state, attempts,
                gives_up_at <= UTC_TIMESTAMP(6) AS is_last, last_error"
    };
}
use columns;

impl FromRow for Commitment {
    fn from_row_opt(row: Row) -> std::result::Result<Commitment, FromRowError> {
        Ok(Commitment {
            commitment_key: column(&row, "commitment_key")?,
            is_ours: column(&row, "is_ours")?,
            ae_title: parsed(&row, "ae_title")?,
            transaction_uid: parsed(&row, "transaction_uid")?,
            state: parsed(&row, "state")?,
            attempts: column(&row, "attempts")?,
            is_last: column(&row, "is_last")?,
            last_error: column(&row, "last_error")?,
        })
    }
}

/// An instance that is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Within its commitment, from 1.
    pub item_number: u32,
    /// The instance.
    pub reference: Reference,
    /// What became of it, as far as is known.
    pub verdict: Option<Verdict>,
}

impl FromRow for Item {
    fn from_row_opt(row: Row) -> std::result::Result<Item, FromRowError> {
        let result: Option<u16> = column(&row, "result")?;
        Ok(Item {
            item_number: column(&row, "item_number")?,
            reference: Reference {
                sop_class_uid: parsed(&row, "sop_class_uid")?,
                sop_instance_uid: parsed(&row, "sop_instance_uid")?,
            },
            verdict: result.map(|result| match result {
                0 => Ok(()),
                reason => Err(FailureReason(reason)),
            }),
        })
    }
}

/// The number that stands for a verdict.
fn result(verdict: Verdict) -> u16 {
    verdict.err().map_or(0, |FailureReason(reason)| reason)
}

/// Whose question it is, and of which job.
#[derive(Debug, Clone, Copy)]
pub enum Whose {
    /// The peer's. For so many seconds nobody but the association it came over is to answer it.
    Peers(u32),
    /// Ours, about what this job sent.
    Ours(u64),
}

/// Makes one without items, and returns its number and how often the peer had used its Transaction UID before. Two that
/// are made at once with the same Transaction UID: one is a duplicate, see [`super::is_duplicate`].
pub async fn add(
    conn: &mut impl Queryable,
    whose: Whose,
    ae_title: &AeTitle,
    transaction_uid: &TransactionUid,
) -> Result<(u64, u32)> {
    let (is_ours, job_key, pause) = match whose {
        Whose::Peers(pause) => (false, None, pause),
        Whose::Ours(job_key) => (true, Some(job_key), 0),
    };
    let before: Option<u32> = conn
        .exec_first(
            "SELECT CAST(COALESCE(MAX(repetition) + 1, 0) AS UNSIGNED)
               FROM commitment
              WHERE ae_title = :ae_title AND transaction_uid = :transaction_uid AND is_ours = :is_ours",
            params! {
                "ae_title" => ae_title.as_str(),
                "transaction_uid" => transaction_uid.as_str(),
                "is_ours" => is_ours,
            },
        )
        .await?;
    let repetition = before.unwrap_or(0);
    let made = conn
        .exec_iter(
            "INSERT INTO commitment (is_ours, ae_title, transaction_uid, repetition, state, next_attempt_at,
                                     gives_up_at, created_at, job_key)
             VALUES (:is_ours, :ae_title, :transaction_uid, :repetition, 'waiting',
                     UTC_TIMESTAMP(6) + INTERVAL :pause SECOND, UTC_TIMESTAMP(6) + INTERVAL :days DAY,
                     UTC_TIMESTAMP(6), :job_key)",
            params! {
                "is_ours" => is_ours,
                "ae_title" => ae_title.as_str(),
                "transaction_uid" => transaction_uid.as_str(),
                "repetition" => repetition,
                "pause" => pause,
                "days" => PATIENCE_DAYS,
                "job_key" => job_key,
            },
        )
        .await?;
    Ok((made.last_insert_id().unwrap_or_default(), repetition))
}

/// Puts instances into one without items, all with this verdict.
pub async fn add_items(
    conn: &mut impl Queryable,
    commitment_key: u64,
    references: &[Reference],
    verdict: Option<Verdict>,
) -> Result<()> {
    let numbered: Vec<(u32, &Reference)> = (1..).zip(references).collect();
    for some in numbered.chunks(AT_ONCE) {
        let sql = format!(
            "INSERT INTO commitment_item (commitment_key, item_number, sop_class_uid, sop_instance_uid, result)
             VALUES {}",
            vec!["(?, ?, ?, ?, ?)"; some.len()].join(", ")
        );
        let values = some.iter().flat_map(|(number, reference)| {
            [
                Value::from(commitment_key),
                number.into(),
                reference.sop_class_uid.as_str().into(),
                reference.sop_instance_uid.as_str().into(),
                verdict.map(result).into(),
            ]
        });
        conn.exec_drop(sql, values.collect::<Vec<_>>()).await?;
    }
    Ok(())
}

/// Asks the peer of a job that sends for all that it has sent and nobody has asked for yet, if the peer offers commitment.
/// A question has at most `most` instances and takes a Transaction UID of its own from `uids`. Returns how many instances.
pub async fn add_of_job(
    conn: &mut impl Queryable,
    job_key: u64,
    ae_title: &AeTitle,
    most: u64,
    mut uids: impl FnMut() -> TransactionUid,
) -> Result<u64> {
    let offers: Option<bool> = conn
        .exec_first(
            "SELECT offers_commitment FROM peer WHERE ae_title = :ae_title",
            params! { "ae_title" => ae_title.as_str() },
        )
        .await?;
    let mut total = 0;
    while offers == Some(true) {
        let sent: Vec<(String, String, String)> = conn
            .exec(
                "SELECT instance.sop_class_uid, instance.sop_instance_uid, job_item.study_instance_uid
                   FROM job_item
                   JOIN instance ON instance.sop_instance_uid = job_item.sop_instance_uid
                  WHERE job_item.job_key = :job_key
                    AND job_item.state = 'done'
                    AND NOT EXISTS (SELECT 1
                                      FROM commitment
                                      JOIN commitment_item
                                        ON commitment_item.commitment_key = commitment.commitment_key
                                     WHERE commitment.job_key = job_item.job_key
                                       AND commitment_item.study_instance_uid = job_item.study_instance_uid
                                       AND commitment_item.sop_instance_uid = job_item.sop_instance_uid)
                  ORDER BY job_item.item_number
                  LIMIT :most",
                params! { "job_key" => job_key, "most" => most },
            )
            .await?;
        if sent.is_empty() {
            break;
        }
        let (commitment_key, _) = add(conn, Whose::Ours(job_key), ae_title, &uids()).await?;
        let numbered: Vec<(u32, (String, String, String))> = (1..).zip(sent).collect();
        for some in numbered.chunks(AT_ONCE) {
            let sql = format!(
                "INSERT INTO commitment_item (commitment_key, item_number, sop_class_uid, sop_instance_uid,
                                              study_instance_uid)
                 VALUES {}",
                vec!["(?, ?, ?, ?, ?)"; some.len()].join(", ")
            );
            let values = some.iter().flat_map(|(number, (class, instance, study))| {
                [Value::from(commitment_key), number.into(), class.into(), instance.into(), study.into()]
            });
            conn.exec_drop(sql, values.collect::<Vec<_>>()).await?;
        }
        total += u64::try_from(numbered.len()).unwrap_or(u64::MAX);
    }
    Ok(total)
}

/// All instances of one.
pub async fn items(conn: &mut impl Queryable, commitment_key: u64) -> Result<Vec<Item>> {
    conn.exec(
        "SELECT item_number, sop_class_uid, sop_instance_uid, result
           FROM commitment_item
          WHERE commitment_key = :commitment_key
          ORDER BY item_number",
        params! { "commitment_key" => commitment_key },
    )
    .await
}

/// Notes what became of instances, by their item numbers.
pub async fn settle(
    conn: &mut impl Queryable,
    commitment_key: u64,
    verdicts: &[(u32, Verdict)],
) -> Result<()> {
    let mut results: Vec<u16> = verdicts.iter().map(|(_, verdict)| result(*verdict)).collect();
    results.sort_unstable();
    results.dedup();
    for one in results {
        let numbers = verdicts.iter().filter(|(_, verdict)| result(*verdict) == one);
        let numbers: Vec<u32> = numbers.map(|(number, _)| *number).collect();
        for numbers in numbers.chunks(AT_ONCE) {
            let sql = format!(
                "UPDATE commitment_item SET result = ? WHERE commitment_key = ? AND item_number IN ({})",
                vec!["?"; numbers.len()].join(", ")
            );
            let values = [Value::from(one), commitment_key.into()];
            let values = values.into_iter().chain(numbers.iter().map(Value::from));
            conn.exec_drop(sql, values.collect::<Vec<_>>()).await?;
        }
    }
    Ok(())
}

/// The question of ours that this Transaction UID names, if we asked this peer with it.
pub async fn of_transaction(
    conn: &mut impl Queryable,
    ae_title: &AeTitle,
    transaction_uid: &TransactionUid,
) -> Result<Option<Commitment>> {
    conn.exec_first(
        concat!(
            "SELECT ",
            columns!(),
            "
           FROM commitment
          WHERE ae_title = :ae_title AND transaction_uid = :transaction_uid AND is_ours = TRUE
          LIMIT 1"
        ),
        params! { "ae_title" => ae_title.as_str(), "transaction_uid" => transaction_uid.as_str() },
    )
    .await
}

/// What a peer has said about the instances of a study that were sent to it.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct StoredAt {
    /// Of the peer.
    pub ae_title: String,
    /// Instances that it has stored safely.
    pub committed: u64,
    /// Instances that it says it has not.
    pub failed: u64,
    /// Instances that it has not answered for and still may.
    pub open: u64,
    /// Instances of which nothing more is expected.
    pub given_up: u64,
    /// UTC, when it said so of the last one it has stored.
    pub since: Option<chrono::NaiveDateTime>,
    /// Why it did not answer, in words.
    pub last_error: String,
}

/// What each peer has said last about each instance of a study that is here.
pub async fn of_study(conn: &mut impl Queryable, study_instance_uid: &str) -> Result<Vec<StoredAt>> {
    conn.exec(
        "SELECT latest.ae_title,
                CAST(SUM(CASE WHEN latest.result = 0 THEN 1 ELSE 0 END) AS UNSIGNED) AS committed,
                CAST(SUM(CASE WHEN latest.result > 0 THEN 1 ELSE 0 END) AS UNSIGNED) AS failed,
                CAST(SUM(CASE WHEN latest.result IS NULL AND latest.state IN ('waiting', 'asked')
                              THEN 1 ELSE 0 END) AS UNSIGNED) AS open,
                CAST(SUM(CASE WHEN latest.result IS NULL AND latest.state IN ('ended', 'given-up')
                              THEN 1 ELSE 0 END) AS UNSIGNED) AS given_up,
                MAX(CASE WHEN latest.result = 0 THEN latest.ended_at END) AS since,
                COALESCE(MAX(CASE WHEN latest.result IS NULL THEN latest.last_error END), '') AS last_error
           FROM (SELECT commitment.ae_title,
                        commitment.state,
                        commitment.ended_at,
                        commitment.last_error,
                        commitment_item.result,
                        ROW_NUMBER() OVER (PARTITION BY commitment.ae_title, commitment_item.sop_instance_uid
                                               ORDER BY commitment_item.result IS NULL,
                                                        CASE WHEN commitment_item.result IS NULL
                                                             THEN NULL ELSE commitment.ended_at END DESC,
                                                        commitment.commitment_key DESC) AS place
                   FROM commitment_item
                   JOIN commitment ON commitment.commitment_key = commitment_item.commitment_key
                   JOIN instance ON instance.sop_instance_uid = commitment_item.sop_instance_uid
                  WHERE commitment_item.study_instance_uid = :study_instance_uid
                    AND commitment.is_ours = TRUE) AS latest
          WHERE latest.place = 1
          GROUP BY latest.ae_title
          ORDER BY latest.ae_title",
        params! { "study_instance_uid" => study_instance_uid },
    )
    .await
}
