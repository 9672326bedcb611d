//! Tables `user_group`, `user_group_member` and `study_grant`: who was given which studies.

use chrono::NaiveDateTime;
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Result, Value, params};

/// People who are given studies together.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct Group {
    /// Our own number.
    pub group_key: u64,
    /// What it is called.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// How many people are in it.
    pub members: u64,
}

/// Whom something is given to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grantee {
    /// A person, by number.
    User(u64),
    /// A group, by number.
    Group(u64),
}

/// What is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// A study, by our own number.
    Study(u64),
    /// Every study filed under a patient, by our own number.
    Patient(u64),
}

/// Something that somebody was given.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct Grant {
    /// Our own number.
    pub grant_key: u64,
    /// Name of the person or the group it was given to.
    pub grantee: String,
    /// It was given to a group.
    pub is_group: bool,
    /// All studies of the patient were given.
    pub is_patient: bool,
    /// Our own number of the patient.
    pub patient_key: u64,
    /// (0010,0010)
    pub patient_name: String,
    /// (0010,0020)
    pub patient_id: String,
    /// (0010,0021)
    pub issuer_of_patient_id: String,
    /// (0020,000D), empty where it is all studies of the patient
    pub study_instance_uid: String,
    /// (0008,1030), likewise
    pub study_description: String,
    /// Who gave it, `user.name`.
    pub granted_by: String,
    /// UTC
    pub granted_at: NaiveDateTime,
}

macro_rules! select_group {
    () => {
        "SELECT user_group.group_key,
                user_group.name,
                user_group.description,
                (SELECT COUNT(*)
                   FROM user_group_member
                  WHERE user_group_member.group_key = user_group.group_key) AS members
           FROM user_group
         "
    };
}

macro_rules! select_grant {
    () => {
        "SELECT study_grant.grant_key,
                COALESCE(user_group.name, CAST(user.name AS CHAR), '') AS grantee,
                study_grant.group_key IS NOT NULL AS is_group,
                study_grant.patient_key IS NOT NULL AS is_patient,
                COALESCE(study_grant.patient_key, study.patient_key) AS patient_key,
                COALESCE(patient.patient_name, study.patient_name, '') AS patient_name,
                COALESCE(patient.patient_id, study.patient_id, '') AS patient_id,
                COALESCE(patient.issuer_of_patient_id, study.issuer_of_patient_id, '') AS issuer_of_patient_id,
                COALESCE(CAST(study.study_instance_uid AS CHAR), '') AS study_instance_uid,
                COALESCE(study.study_description, '') AS study_description,
                CAST(study_grant.granted_by AS CHAR) AS granted_by,
                study_grant.granted_at
           FROM study_grant
           LEFT JOIN user ON user.user_key = study_grant.user_key
           LEFT JOIN user_group ON user_group.group_key = study_grant.group_key
           LEFT JOIN study ON study.study_key = study_grant.study_key
           LEFT JOIN patient ON patient.patient_key = study_grant.patient_key
         "
    };
}

/// All groups, by name.
pub async fn list(conn: &mut impl Queryable) -> Result<Vec<Group>> {
    conn.query(concat!(select_group!(), "ORDER BY user_group.name LIMIT 500")).await
}

/// The group with this number.
pub async fn by_key(conn: &mut impl Queryable, group_key: u64) -> Result<Option<Group>> {
    conn.exec_first(
        concat!(select_group!(), "WHERE user_group.group_key = :group_key"),
        params! { "group_key" => group_key },
    )
    .await
}

/// Makes a group, and returns its number. Fails as a duplicate where the name is taken.
pub async fn add(conn: &mut impl Queryable, name: &str, description: &str) -> Result<u64> {
    conn.exec_drop(
        "INSERT INTO user_group (name, description, created_at)
         VALUES (:name, :description, UTC_TIMESTAMP(6))",
        params! { "name" => name, "description" => description },
    )
    .await?;
    let key: Option<u64> = conn
        .exec_first("SELECT group_key FROM user_group WHERE name = :name", params! { "name" => name })
        .await?;
    Ok(key.unwrap_or(0))
}

/// Gives a group another name and description. Fails as a duplicate where the name is taken.
pub async fn change(conn: &mut impl Queryable, group_key: u64, name: &str, description: &str) -> Result<()> {
    conn.exec_drop(
        "UPDATE user_group
            SET name = :name, description = :description
          WHERE group_key = :group_key",
        params! { "group_key" => group_key, "name" => name, "description" => description },
    )
    .await
}

/// Dissolves a group; what it was given is not given any more.
pub async fn remove(conn: &mut impl Queryable, group_key: u64) -> Result<()> {
    for statement in [
        "DELETE FROM study_grant WHERE group_key = :group_key",
        "DELETE FROM user_group_member WHERE group_key = :group_key",
        "DELETE FROM user_group WHERE group_key = :group_key",
    ] {
        conn.exec_drop(statement, params! { "group_key" => group_key }).await?;
    }
    Ok(())
}

/// Numbers of the people in a group.
pub async fn members(conn: &mut impl Queryable, group_key: u64) -> Result<Vec<u64>> {
    conn.exec(
        "SELECT user_key FROM user_group_member WHERE group_key = :group_key ORDER BY user_key",
        params! { "group_key" => group_key },
    )
    .await
}

/// The groups of a person, by name.
pub async fn of_user(conn: &mut impl Queryable, user_key: u64) -> Result<Vec<Group>> {
    conn.exec(
        concat!(
            select_group!(),
            "JOIN user_group_member AS mine ON mine.group_key = user_group.group_key
             WHERE mine.user_key = :user_key
             ORDER BY user_group.name"
        ),
        params! { "user_key" => user_key },
    )
    .await
}

/// Puts these people into a group, and no others.
pub async fn set_members(conn: &mut impl Queryable, group_key: u64, user_keys: &[u64]) -> Result<()> {
    conn.exec_drop(
        "DELETE FROM user_group_member WHERE group_key = :group_key",
        params! { "group_key" => group_key },
    )
    .await?;
    for user_key in user_keys {
        conn.exec_drop(
            "INSERT INTO user_group_member (group_key, user_key)
             SELECT :group_key, user.user_key FROM user WHERE user.user_key = :user_key",
            params! { "group_key" => group_key, "user_key" => user_key },
        )
        .await?;
    }
    Ok(())
}

/// Gives a study or a patient to somebody. Fails as a duplicate where they have it.
pub async fn give(conn: &mut impl Queryable, given: Given, to: Grantee, by: &str) -> Result<()> {
    let (study_key, patient_key) = match given {
        Given::Study(key) => (Some(key), None),
        Given::Patient(key) => (None, Some(key)),
    };
    let (user_key, group_key) = match to {
        Grantee::User(key) => (Some(key), None),
        Grantee::Group(key) => (None, Some(key)),
    };
    conn.exec_drop(
        "INSERT INTO study_grant (study_key, patient_key, user_key, group_key, granted_by, granted_at)
         VALUES (:study_key, :patient_key, :user_key, :group_key, :granted_by, UTC_TIMESTAMP(6))",
        params! {
            "study_key" => study_key,
            "patient_key" => patient_key,
            "user_key" => user_key,
            "group_key" => group_key,
            "granted_by" => by,
        },
    )
    .await
}

/// Takes back what was given, and tells what that was.
pub async fn take_back(conn: &mut impl Queryable, grant_key: u64) -> Result<Option<Grant>> {
    let grant: Option<Grant> = conn
        .exec_first(
            concat!(select_grant!(), "WHERE study_grant.grant_key = :grant_key"),
            params! { "grant_key" => grant_key },
        )
        .await?;
    if grant.is_some() {
        conn.exec_drop(
            "DELETE FROM study_grant WHERE grant_key = :grant_key",
            params! { "grant_key" => grant_key },
        )
        .await?;
    }
    Ok(grant)
}

/// What a person or a group was given, the newest first.
pub async fn granted_to(conn: &mut impl Queryable, to: Grantee) -> Result<Vec<Grant>> {
    let (sql, key) = match to {
        Grantee::User(key) => (
            concat!(
                select_grant!(),
                "WHERE study_grant.user_key = ? ORDER BY study_grant.grant_key DESC LIMIT 500"
            ),
            key,
        ),
        Grantee::Group(key) => (
            concat!(
                select_grant!(),
                "WHERE study_grant.group_key = ? ORDER BY study_grant.grant_key DESC LIMIT 500"
            ),
            key,
        ),
    };
    conn.exec(sql, vec![Value::from(key)]).await
}

/// To whom a study, or all studies of its patient, was given.
pub async fn grants_of_study(
    conn: &mut impl Queryable,
    study_key: u64,
    patient_key: u64,
) -> Result<Vec<Grant>> {
    conn.exec(
        concat!(
            select_grant!(),
            "WHERE study_grant.study_key = :study_key OR study_grant.patient_key = :patient_key
             ORDER BY study_grant.grant_key
             LIMIT 500"
        ),
        params! { "study_key" => study_key, "patient_key" => patient_key },
    )
    .await
}
