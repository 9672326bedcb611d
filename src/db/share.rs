//! Tables `share` and `visit`: links that show one study, and those who came by them.

use chrono::NaiveDateTime;
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Result, params};

use super::visibility::Visibility;

/// A share link.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct Share {
    /// Our own number.
    pub share_key: u64,
    /// Which study.
    pub study_key: u64,
    /// (0020,000D) of it
    pub study_instance_uid: String,
    /// (0010,0010) of it
    pub patient_name: String,
    /// (0008,1030) of it
    pub study_description: String,
    /// Who made it, `user.name`.
    pub made_by: String,
    /// For whom it is.
    pub note: String,
    /// Argon2id, PHC string format; empty where none is asked for.
    pub password_hash: String,
    /// Files may be taken away, too.
    pub may_download: bool,
    /// UTC
    pub created_at: NaiveDateTime,
    /// UTC
    pub expires_at: NaiveDateTime,
    /// UTC
    pub revoked_at: Option<NaiveDateTime>,
    /// Neither expired nor revoked.
    pub is_open: bool,
    /// Whoever asked may see the study.
    pub is_visible: bool,
    /// How often it was opened.
    pub opened: u32,
    /// UTC
    pub last_opened_at: Option<NaiveDateTime>,
}

/// A link to be.
pub struct NewShare<'a> {
    /// SHA-256 of what will stand in the address.
    pub link_hash: [u8; 32],
    /// Which study.
    pub study_key: u64,
    /// Who makes it.
    pub user_key: u64,
    /// Argon2id, PHC string format; empty: none is asked for.
    pub password_hash: &'a str,
    /// Files may be taken away, too.
    pub may_download: bool,
    /// For whom it is.
    pub note: &'a str,
    /// How long it lasts.
    pub days: u32,
}

/// Somebody who came by a link that is still good.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct Visit {
    /// Our own number.
    pub visit_key: u64,
    /// Which link.
    pub share_key: u64,
    /// Which study.
    pub study_key: u64,
    /// (0020,000D) of it
    pub study_instance_uid: String,
    /// Files may be taken away, too.
    pub may_download: bool,
    /// UTC, when the link ends
    pub expires_at: NaiveDateTime,
    /// Whether it is a minute since the last use was noted.
    pub is_to_be_noted: bool,
}

/// A share with its study and its maker. `$visible` is a condition on `study`.
macro_rules! select {
    ($visible:literal) => {
        concat!(
            "SELECT share.share_key,
                    share.study_key,
                    study.study_instance_uid,
                    study.patient_name,
                    study.study_description,
                    CAST(user.name AS CHAR) AS made_by,
                    share.note,
                    share.password_hash,
                    share.may_download,
                    share.created_at,
                    share.expires_at,
                    share.revoked_at,
                    share.revoked_at IS NULL AND share.expires_at > UTC_TIMESTAMP(6) AS is_open,
                    ",
            $visible,
            " AS is_visible,
                    share.opened,
                    share.last_opened_at
               FROM share
               JOIN study ON study.study_key = share.study_key
               JOIN user ON user.user_key = share.user_key
             "
        )
    };
}

/// Makes a link, and returns its number.
pub async fn add(conn: &mut impl Queryable, share: &NewShare<'_>) -> Result<u64> {
    let made = conn.exec_iter(
        "INSERT INTO share (link_hash, study_key, user_key, password_hash, may_download, note, created_at, expires_at)
         VALUES (:link_hash, :study_key, :user_key, :password_hash, :may_download, :note, UTC_TIMESTAMP(6),
                 UTC_TIMESTAMP(6) + INTERVAL :days DAY)",
        params! {
            "link_hash" => share.link_hash.as_slice(),
            "study_key" => share.study_key,
            "user_key" => share.user_key,
            "password_hash" => share.password_hash,
            "may_download" => share.may_download,
            "note" => share.note,
            "days" => share.days,
        },
    );
    Ok(made.await?.last_insert_id().unwrap_or(0))
}

/// The link with this hash, good or not.
pub async fn by_link(conn: &mut impl Queryable, hash: &[u8; 32]) -> Result<Option<Share>> {
    conn.exec_first(
        concat!(select!("TRUE"), "WHERE share.link_hash = :hash"),
        params! { "hash" => hash.as_slice() },
    )
    .await
}

/// The link with this number.
pub async fn by_key(conn: &mut impl Queryable, share_key: u64) -> Result<Option<Share>> {
    conn.exec_first(
        concat!(select!("TRUE"), "WHERE share.share_key = :share_key"),
        params! { "share_key" => share_key },
    )
    .await
}

/// The links to a study, the newest first.
pub async fn of_study(conn: &mut impl Queryable, study_key: u64) -> Result<Vec<Share>> {
    conn.exec(
        concat!(
            select!("TRUE"),
            "WHERE share.study_key = :study_key ORDER BY share.share_key DESC LIMIT 200"
        ),
        params! { "study_key" => study_key },
    )
    .await
}

/// The links that are still good, the newest first: all, or those that this person made. Which of their studies are
/// visible, they tell.
pub async fn open(
    conn: &mut impl Queryable,
    made_by: Option<u64>,
    visibility: &Visibility,
) -> Result<Vec<Share>> {
    let visible = visibility.of_one();
    let sql = format!(
        concat!(
            select!("{}"),
            "WHERE share.revoked_at IS NULL
               AND share.expires_at > UTC_TIMESTAMP(6)
               AND (? IS NULL OR share.user_key = ?)
             ORDER BY share.share_key DESC
             LIMIT 500"
        ),
        visible.sql
    );
    let mut params = visible.params;
    params.extend([made_by.into(), made_by.into()]);
    conn.exec(sql, params).await
}

/// Takes a link back, and ends the visits of those who came by it. False where that was done before.
pub async fn revoke(conn: &mut impl Queryable, share_key: u64) -> Result<bool> {
    let revoked = conn
        .exec_iter(
            "UPDATE share
                SET revoked_at = UTC_TIMESTAMP(6)
              WHERE share_key = :share_key AND revoked_at IS NULL",
            params! { "share_key" => share_key },
        )
        .await?
        .affected_rows();
    conn.exec_drop("DELETE FROM visit WHERE share_key = :share_key", params! { "share_key" => share_key })
        .await?;
    Ok(revoked > 0)
}

/// Lets somebody in who came by a link, and counts it.
pub async fn visit(
    conn: &mut impl Queryable,
    share_key: u64,
    visit_hash: &[u8; 32],
    address: &str,
) -> Result<()> {
    conn.exec_drop(
        "INSERT INTO visit (visit_hash, share_key, address, created_at, last_used_at)
         VALUES (:visit_hash, :share_key, :address, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))",
        params! { "visit_hash" => visit_hash.as_slice(), "share_key" => share_key, "address" => address },
    )
    .await?;
    conn.exec_drop(
        "UPDATE share
            SET opened = opened + 1, last_opened_at = UTC_TIMESTAMP(6)
          WHERE share_key = :share_key",
        params! { "share_key" => share_key },
    )
    .await
}

/// The visit with this hash, while its link is good and it is not over itself.
pub async fn visit_by_hash(conn: &mut impl Queryable, hash: &[u8; 32]) -> Result<Option<Visit>> {
    conn.exec_first(
        "SELECT visit.visit_key,
                share.share_key,
                share.study_key,
                study.study_instance_uid,
                share.may_download,
                share.expires_at,
                visit.last_used_at < UTC_TIMESTAMP(6) - INTERVAL 1 MINUTE AS is_to_be_noted
           FROM visit
           JOIN share ON share.share_key = visit.share_key
           JOIN study ON study.study_key = share.study_key
          WHERE visit.visit_hash = :hash
            AND visit.last_used_at > UTC_TIMESTAMP(6) - INTERVAL :idle MINUTE
            AND visit.created_at > UTC_TIMESTAMP(6) - INTERVAL :absolute HOUR
            AND share.revoked_at IS NULL
            AND share.expires_at > UTC_TIMESTAMP(6)",
        params! {
            "hash" => hash.as_slice(),
            "idle" => super::session::IDLE_MINUTES,
            "absolute" => super::session::ABSOLUTE_HOURS,
        },
    )
    .await
}

/// Notes that a visit goes on.
pub async fn visited(conn: &mut impl Queryable, visit_key: u64) -> Result<()> {
    conn.exec_drop(
        "UPDATE visit SET last_used_at = UTC_TIMESTAMP(6) WHERE visit_key = :visit_key",
        params! { "visit_key" => visit_key },
    )
    .await
}

/// Ends a visit.
pub async fn leave(conn: &mut impl Queryable, visit_key: u64) -> Result<()> {
    conn.exec_drop("DELETE FROM visit WHERE visit_key = :visit_key", params! { "visit_key" => visit_key })
        .await
}
