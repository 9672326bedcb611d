//! Table `audit`: who did what, and who saw what. Rows are put in and read, never changed.
//!
//! Every row counts up by one from the row before and holds a hash over itself and that row's hash ([`chain`]). So two
//! that write at once cannot both have the next number: the second is told of a duplicate and takes the one behind.

mod action;
pub mod chain;
mod journal;

use chrono::{NaiveDate, NaiveDateTime, SubsecRound, Utc};
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{FromRowError, Result, Row, Value};

pub use self::action::Action;
pub use self::journal::Journal;
use super::row::column;

/// How often a row looks for its place in the chain.
const ATTEMPTS: usize = 100;

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// What kind of somebody.
    pub kind: ActorKind,
    /// User name, AE title, number of the share; what was typed where a sign-in failed.
    pub name: String,
    /// IP address; empty at a terminal.
    pub address: String,
}

/// What kind of somebody does something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActorKind {
    /// A person with a session.
    User,
    /// A program with a person's token or password.
    Program,
    /// Somebody who came by a share link.
    Visitor,
    /// A remote AE.
    Peer,
    /// Whoever runs filmroom's commands.
    Terminal,
    /// Somebody who is not known, or not yet.
    Nobody,
}

impl ActorKind {
    /// The word in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            ActorKind::User => "user",
            ActorKind::Program => "program",
            ActorKind::Visitor => "visitor",
            ActorKind::Peer => "peer",
            ActorKind::Terminal => "terminal",
            ActorKind::Nobody => "nobody",
        }
    }
}

/// Whether it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was.
    Done,
    /// It was not allowed.
    Refused,
}

impl Outcome {
    /// The word in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Refused => "refused",
        }
    }
}

/// A row to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When, UTC.
    pub at: NaiveDateTime,
    /// Who.
    pub actor: Actor,
    /// What.
    pub action: Action,
    /// Whether it was done.
    pub outcome: Outcome,
    /// Which patient; empty for none.
    pub patient: Patient,
    /// Which study; empty for none.
    pub study_instance_uid: String,
    /// Which series; empty for none or more than one.
    pub series_instance_uid: String,
    /// What was looked for, changed from what to what, or why it was refused.
    pub details: String,
}

/// The patient of a row, as the study said at that time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Patient {
    /// (0010,0020)
    pub patient_id: String,
    /// (0010,0021)
    pub issuer_of_patient_id: String,
    /// (0010,0010)
    pub patient_name: String,
}

impl Entry {
    /// Somebody did something, about no study.
    pub fn of(actor: Actor, action: Action, details: impl Into<String>) -> Entry {
        Entry {
            // As exact as the column.
            at: Utc::now().naive_utc().trunc_subsecs(6),
            actor,
            action,
            outcome: Outcome::Done,
            patient: Patient::default(),
            study_instance_uid: String::new(),
            series_instance_uid: String::new(),
            details: details.into(),
        }
    }

    /// About this study; which patient it is of, [`append`] looks up.
    pub fn study(mut self, uid: impl Into<String>) -> Entry {
        self.study_instance_uid = uid.into();
        self
    }

    /// About this series of the study.
    pub fn series(mut self, uid: impl Into<String>) -> Entry {
        self.series_instance_uid = uid.into();
        self
    }

    /// About this patient.
    pub fn patient(mut self, patient: Patient) -> Entry {
        self.patient = patient;
        self
    }

    /// It was not allowed.
    pub fn refused(mut self) -> Entry {
        self.outcome = Outcome::Refused;
        self
    }
}

/// A row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Counts up by one.
    pub audit_key: u64,
    /// UTC
    pub recorded_at: NaiveDateTime,
    /// `user`, `program`, `visitor`, `peer`, `terminal` or `nobody`
    pub actor_kind: String,
    /// See [`Actor::name`].
    pub actor: String,
    /// IP address.
    pub address: String,
    /// See [`Action::as_str`].
    pub action: String,
    /// Which patient.
    pub patient: Patient,
    /// Which study.
    pub study_instance_uid: String,
    /// Which series.
    pub series_instance_uid: String,
    /// See [`Entry::details`].
    pub details: String,
    /// `done` or `refused`
    pub outcome: String,
    /// See [`chain`].
    pub hash: Vec<u8>,
}

/// The columns of [`Recorded`].
const COLUMNS: &str = "audit_key, recorded_at, actor_kind, actor, address, action, patient_id, issuer_of_patient_id, \
                       patient_name, study_instance_uid, series_instance_uid, details, outcome, hash";

impl FromRow for Recorded {
    fn from_row_opt(row: Row) -> std::result::Result<Recorded, FromRowError> {
        Ok(Recorded {
            audit_key: column(&row, "audit_key")?,
            recorded_at: column(&row, "recorded_at")?,
            actor_kind: column(&row, "actor_kind")?,
            actor: column(&row, "actor")?,
            address: column(&row, "address")?,
            action: column(&row, "action")?,
            patient: Patient {
                patient_id: column(&row, "patient_id")?,
                issuer_of_patient_id: column(&row, "issuer_of_patient_id")?,
                patient_name: column(&row, "patient_name")?,
            },
            study_instance_uid: column(&row, "study_instance_uid")?,
            series_instance_uid: column(&row, "series_instance_uid")?,
            details: column(&row, "details")?,
            outcome: column(&row, "outcome")?,
            hash: column(&row, "hash")?,
        })
    }
}

/// The end of the chain, for whoever writes often: with it the next row needs not look. What stands here may be old; a
/// row that is written over it finds out.
#[derive(Debug, Clone, Default)]
pub struct Head(Option<(u64, Vec<u8>)>);

/// Puts rows behind the last one. Within a transaction this comes last before its COMMIT: whoever writes next waits.
pub async fn append(conn: &mut impl Queryable, entries: &[Entry]) -> Result<()> {
    append_behind(conn, &mut Head::default(), entries).await
}

/// As [`append`], and remembers where the chain ends.
pub async fn append_behind(conn: &mut impl Queryable, head: &mut Head, entries: &[Entry]) -> Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let mut filled = Vec::with_capacity(entries.len());
    for entry in entries {
        filled.push(with_patient(conn, entry).await?);
    }
    let mut attempt = 0;
    loop {
        attempt += 1;
        let (key, hash) = match head.0.take() {
            Some(last) => last,
            None => last(conn).await?,
        };
        let rows = chain::linked(key, &hash, &filled);
        match insert(conn, &rows).await {
            Ok(()) => {
                head.0 = rows.last().map(|row| (row.audit_key, row.hash.clone()));
                return Ok(());
            }
            Err(err) if super::is_duplicate(&err) && attempt < ATTEMPTS => {}
            Err(err) => return Err(err),
        }
    }
}

/// Those that have no row, for whoever does not know whether a COMMIT went through.
pub async fn not_recorded(conn: &mut impl Queryable, entries: Vec<Entry>) -> Result<Vec<Entry>> {
    let mut missing = Vec::new();
    for entry in entries {
        let found: Option<u64> = conn
            .exec_first(
                "SELECT audit_key
                   FROM audit
                  WHERE study_instance_uid = ?
                    AND recorded_at = ?
                    AND action = ?
                    AND actor = ?
                    AND details = ?
                  LIMIT 1",
                (
                    chain::cut(&entry.study_instance_uid, 64),
                    entry.at,
                    entry.action.as_str(),
                    chain::cut(&entry.actor.name, 64),
                    chain::cut(&entry.details, 1000),
                ),
            )
            .await?;
        if found.is_none() {
            missing.push(entry);
        }
    }
    Ok(missing)
}

/// The number and the hash of the last row: 0 and zeros where there is none.
async fn last(conn: &mut impl Queryable) -> Result<(u64, Vec<u8>)> {
    let row: Option<(u64, Vec<u8>)> = conn
        .query_first(
            "SELECT audit_key, hash
               FROM audit
              ORDER BY audit_key DESC
              LIMIT 1",
        )
        .await?;
    Ok(row.unwrap_or_else(|| (0, chain::NOTHING.to_vec())))
}

async fn insert(conn: &mut impl Queryable, rows: &[Recorded]) -> Result<()> {
    let places = vec!["(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"; rows.len()].join(", ");
    let values = rows.iter().flat_map(|row| -> [Value; 14] {
        [
            row.audit_key.into(),
            row.recorded_at.into(),
            row.actor_kind.as_str().into(),
            row.actor.as_str().into(),
            row.address.as_str().into(),
            row.action.as_str().into(),
            row.patient.patient_id.as_str().into(),
            row.patient.issuer_of_patient_id.as_str().into(),
            row.patient.patient_name.as_str().into(),
            row.study_instance_uid.as_str().into(),
            row.series_instance_uid.as_str().into(),
            row.details.as_str().into(),
            row.outcome.as_str().into(),
            row.hash.as_slice().into(),
        ]
    });
    conn.exec_drop(format!("INSERT INTO audit ({COLUMNS}) VALUES {places}"), values.collect::<Vec<_>>()).await
}

/// The entry with the patient of its study, where it does not say one.
async fn with_patient(conn: &mut impl Queryable, entry: &Entry) -> Result<Entry> {
    if entry.study_instance_uid.is_empty() || entry.patient != Patient::default() {
        return Ok(entry.clone());
    }
    let row: Option<(String, String, String)> = conn
        .exec_first(
            "SELECT patient_id, issuer_of_patient_id, patient_name
               FROM study
              WHERE study_instance_uid = ?",
            (entry.study_instance_uid.as_str(),),
        )
        .await?;
    let (patient_id, issuer_of_patient_id, patient_name) = row.unwrap_or_default();
    Ok(entry.clone().patient(Patient { patient_id, issuer_of_patient_id, patient_name }))
}

/// Which rows are looked for. What is empty asks nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sought {
    /// Patient ID, or a part of the name.
    pub patient: String,
    /// User name, AE title.
    pub actor: String,
    /// What was done.
    pub action: Option<Action>,
    /// First day, UTC.
    pub from: Option<NaiveDate>,
    /// Last day, UTC.
    pub to: Option<NaiveDate>,
    /// About which study.
    pub study_instance_uid: String,
    /// Older than this row.
    pub before: Option<u64>,
}

/// The last of the rows that are looked for, newest first, at most `limit`.
pub async fn find(conn: &mut impl Queryable, sought: &Sought, limit: u64) -> Result<Vec<Recorded>> {
    let mut conditions = vec!["TRUE"];
    let mut params: Vec<Value> = Vec::new();
    if !sought.patient.is_empty() {
        conditions.push("(patient_id = ? OR patient_name LIKE ? ESCAPE '!')");
        params.push(sought.patient.as_str().into());
        params.push(format!("%{}%", super::matching::literally(&sought.patient)).into());
    }
    if !sought.actor.is_empty() {
        conditions.push("actor = ?");
        params.push(sought.actor.as_str().into());
    }
    if let Some(action) = sought.action {
        conditions.push("action = ?");
        params.push(action.as_str().into());
    }
    if let Some(from) = sought.from {
        conditions.push("recorded_at >= ?");
        params.push(from.into());
    }
    if let Some(to) = sought.to {
        conditions.push("recorded_at < ? + INTERVAL 1 DAY");
        params.push(to.into());
    }
    if !sought.study_instance_uid.is_empty() {
        conditions.push("study_instance_uid = ?");
        params.push(sought.study_instance_uid.as_str().into());
    }
    if let Some(before) = sought.before {
        conditions.push("audit_key < ?");
        params.push(before.into());
    }
    params.push(limit.into());
    let sql = format!(
        "SELECT {COLUMNS}
           FROM audit
          WHERE {}
          ORDER BY audit_key DESC
          LIMIT ?",
        conditions.join(" AND ")
    );
    conn.exec(sql, params).await
}

/// Rows behind number `behind` in their order, at most `limit`: for checking the chain.
pub async fn read(conn: &mut impl Queryable, behind: u64, limit: u64) -> Result<Vec<Recorded>> {
    let sql = format!("SELECT {COLUMNS} FROM audit WHERE audit_key > ? ORDER BY audit_key LIMIT ?");
    conn.exec(sql, (behind, limit)).await
}

/// The number of the last row, which is how many there are; 0 where there is none.
pub async fn newest(conn: &mut impl Queryable) -> Result<u64> {
    let newest: Option<Option<u64>> = conn.query_first("SELECT MAX(audit_key) FROM audit").await?;
    Ok(newest.flatten().unwrap_or(0))
}

/// Whether the account of this connection could change rows of the trail.
pub async fn is_changeable(conn: &mut impl Queryable) -> bool {
    // A server asks for the right before it looks for rows.
    conn.query_drop("UPDATE audit SET outcome = '' WHERE FALSE").await.is_ok()
}
