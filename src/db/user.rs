//! Tables `user` and `recovery_code`: the people who may sign in.

use chrono::NaiveDateTime;
use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{FromRowError, Result, Row, params};

use super::role::{Right, Rights, Role};
use super::row::{column, parsed};
use super::setting::Rules;
use super::visibility::ReferringNames;

/// What is typed to sign in: 1 to 64 of `a` to `z`, digits and `. _ @ + -`. Capitals are the same as small letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserName(String);

impl UserName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for UserName {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<UserName, &'static str> {
        let name = text.trim().to_ascii_lowercase();
        let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._@+-".contains(c);
        match name.len() {
            1..=64 if name.chars().all(known) => Ok(UserName(name)),
            _ => Err("a user name is 1 to 64 letters from a to z, digits and . _ @ + -, such as anna.berg"),
        }
    }
}

impl std::fmt::Display for UserName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A person, with what their role may do now.
#[derive(Debug, Clone, PartialEq)]
pub struct User {
    /// Our own number.
    pub user_key: u64,
    /// What is typed to sign in.
    pub name: UserName,
    /// For people; may be empty.
    pub full_name: String,
    /// What the person is here for.
    pub role: Role,
    /// What that role may do.
    pub rights: Rights,
    /// As which Referring Physician the person owns studies.
    pub referring_names: ReferringNames,
    /// Whether a second factor is asked for.
    pub has_totp: bool,
    /// May not sign in.
    pub is_disabled: bool,
    /// UTC
    pub created_at: NaiveDateTime,
    /// UTC, last time
    pub signed_in_at: Option<NaiveDateTime>,
    /// How people and programs may sign in now. It comes with each person because nobody is asked for without it.
    pub rules: Rules,
}

/// The columns of [`User`], of `user JOIN role`.
macro_rules! user_columns {
    () => {
        concat!(
            "user.user_key,
             user.name,
             user.full_name,
             user.role,
             user.referring_names,
             user.totp_secret IS NOT NULL AS has_totp,
             user.is_disabled,
             user.created_at,
             user.signed_in_at, ",
            crate::db::setting::rules_columns!(),
            ", ",
            crate::db::role::rights_columns!()
        )
    };
}
pub(super) use user_columns;

impl FromRow for User {
    fn from_row_opt(row: Row) -> std::result::Result<User, FromRowError> {
        User::from_columns(&row)
    }
}

impl User {
    pub(super) fn from_columns(row: &Row) -> std::result::Result<User, FromRowError> {
        let names: String = column(row, "referring_names")?;
        Ok(User {
            user_key: column(row, "user_key")?,
            name: parsed(row, "name")?,
            full_name: column(row, "full_name")?,
            role: parsed(row, "role")?,
            rights: Rights::from_row(row)?,
            referring_names: ReferringNames::parse(&names),
            has_totp: column(row, "has_totp")?,
            is_disabled: column(row, "is_disabled")?,
            created_at: column(row, "created_at")?,
            signed_in_at: column(row, "signed_in_at")?,
            rules: Rules::from_columns(row)?,
        })
    }

    /// Whether the person has to set up a second factor before anything else.
    pub fn needs_second_factor(&self) -> bool {
        self.rules.second_factor_for_administrators && self.rights.has(Right::Administer) && !self.has_totp
    }

    /// The full name, or else the user name.
    pub fn label(&self) -> &str {
        if self.full_name.is_empty() { self.name.as_str() } else { &self.full_name }
    }
}

/// What a sign-in is checked against.
pub struct Credentials {
    /// Whose.
    pub user: User,
    /// Argon2id, PHC string format.
    pub password_hash: String,
    /// RFC 6238; none where there is no second factor.
    pub totp_secret: Option<Vec<u8>>,
}

impl FromRow for Credentials {
    fn from_row_opt(row: Row) -> std::result::Result<Credentials, FromRowError> {
        Ok(Credentials {
            user: User::from_columns(&row)?,
            password_hash: column(&row, "password_hash")?,
            totp_secret: column(&row, "totp_secret")?,
        })
    }
}

/// A person to be.
pub struct NewUser {
    /// What is typed to sign in.
    pub name: UserName,
    /// For people; may be empty.
    pub full_name: String,
    /// What the person is here for.
    pub role: Role,
    /// Argon2id, PHC string format.
    pub password_hash: String,
    /// See [`User::referring_names`].
    pub referring_names: ReferringNames,
}

/// How many people there are, disabled ones too.
pub async fn count(conn: &mut impl Queryable) -> Result<u64> {
    Ok(conn.query_first("SELECT COUNT(*) FROM user").await?.unwrap_or(0))
}

/// How many people may administer and sign in, this one apart. They stay so until the transaction ends: of two
/// administrators who disable each other at once, one is told to try again.
pub async fn other_administrators(conn: &mut impl Queryable, user_key: u64) -> Result<u64> {
    let count = conn.exec_first(
        "SELECT COUNT(*)
           FROM user
           JOIN role ON role.role = user.role
          WHERE role.may_administer
            AND NOT user.is_disabled
            AND user.user_key <> :user_key
            FOR UPDATE",
        params! { "user_key" => user_key },
    );
    Ok(count.await?.unwrap_or(0))
}

/// Everybody, by name, at most a thousand.
pub async fn list(conn: &mut impl Queryable) -> Result<Vec<User>> {
    conn.query(concat!(
        "SELECT ",
        user_columns!(),
        " FROM user
            JOIN role ON role.role = user.role
           ORDER BY user.is_disabled, user.name
           LIMIT 1000"
    ))
    .await
}

/// The person with this number.
pub async fn by_key(conn: &mut impl Queryable, user_key: u64) -> Result<Option<User>> {
    conn.exec_first(
        concat!(
            "SELECT ",
            user_columns!(),
            " FROM user
                JOIN role ON role.role = user.role
               WHERE user.user_key = :user_key"
        ),
        params! { "user_key" => user_key },
    )
    .await
}

/// What a sign-in under this name is checked against.
pub async fn credentials(conn: &mut impl Queryable, name: &UserName) -> Result<Option<Credentials>> {
    conn.exec_first(
        concat!(
            "SELECT user.password_hash, user.totp_secret, ",
            user_columns!(),
            " FROM user
                JOIN role ON role.role = user.role
               WHERE user.name = :name"
        ),
        params! { "name" => name.as_str() },
    )
    .await
}

/// As [`credentials`], and nobody changes them until the end of the transaction.
pub async fn credentials_for_change(
    conn: &mut impl Queryable,
    name: &UserName,
) -> Result<Option<Credentials>> {
    conn.exec_drop(
        "SELECT user_key FROM user WHERE name = :name FOR UPDATE",
        params! { "name" => name.as_str() },
    )
    .await?;
    credentials(conn, name).await
}

/// Makes a person known, and returns their number. Fails as a duplicate where the name is taken.
pub async fn add(conn: &mut impl Queryable, user: &NewUser) -> Result<u64> {
    conn.exec_drop(
        "INSERT INTO user (name, full_name, role, password_hash, referring_names, created_at)
         VALUES (:name, :full_name, :role, :password_hash, :referring_names, UTC_TIMESTAMP(6))",
        params! {
            "name" => user.name.as_str(),
            "full_name" => &user.full_name,
            "role" => user.role.as_str(),
            "password_hash" => &user.password_hash,
            "referring_names" => user.referring_names.lines(),
        },
    )
    .await?;
    let key: Option<u64> = conn
        .exec_first("SELECT user_key FROM user WHERE name = :name", params! { "name" => user.name.as_str() })
        .await?;
    Ok(key.unwrap_or(0))
}

/// Gives a person another full name, role and names of a referring physician.
pub async fn change(
    conn: &mut impl Queryable,
    user_key: u64,
    full_name: &str,
    role: Role,
    referring_names: &ReferringNames,
) -> Result<()> {
    conn.exec_drop(
        "UPDATE user
            SET full_name = :full_name,
                role = :role,
                referring_names = :referring_names
          WHERE user_key = :user_key",
        params! {
            "user_key" => user_key,
            "full_name" => full_name,
            "role" => role.as_str(),
            "referring_names" => referring_names.lines(),
        },
    )
    .await
}

/// Lets a person sign in or not.
pub async fn set_disabled(conn: &mut impl Queryable, user_key: u64, is_disabled: bool) -> Result<()> {
    conn.exec_drop(
        "UPDATE user SET is_disabled = :is_disabled WHERE user_key = :user_key",
        params! { "user_key" => user_key, "is_disabled" => is_disabled },
    )
    .await
}

/// Gives a person another password.
pub async fn set_password(conn: &mut impl Queryable, user_key: u64, password_hash: &str) -> Result<()> {
    conn.exec_drop(
        "UPDATE user SET password_hash = :password_hash WHERE user_key = :user_key",
        params! { "user_key" => user_key, "password_hash" => password_hash },
    )
    .await
}

/// Notes that a person has signed in.
pub async fn signed_in(conn: &mut impl Queryable, user_key: u64) -> Result<()> {
    conn.exec_drop(
        "UPDATE user SET signed_in_at = UTC_TIMESTAMP(6) WHERE user_key = :user_key",
        params! { "user_key" => user_key },
    )
    .await
}

/// Whether a second factor is set up. Within a transaction nobody else changes that until it ends.
pub async fn has_totp(conn: &mut impl Queryable, user_key: u64) -> Result<bool> {
    let found = conn.exec_first(
        "SELECT totp_secret IS NOT NULL
           FROM user
          WHERE user_key = :user_key
            FOR UPDATE",
        params! { "user_key" => user_key },
    );
    Ok(found.await?.unwrap_or(false))
}

/// Sets a second factor up, with the step of the code that proved it and codes to recover by; or takes it away, where
/// there is no secret.
pub async fn set_totp(
    conn: &mut impl Queryable,
    user_key: u64,
    secret: Option<&[u8]>,
    step: u64,
    recovery_code_hashes: &[[u8; 32]],
) -> Result<()> {
    conn.exec_drop(
        "UPDATE user
            SET totp_secret = :secret, totp_last_step = :step
          WHERE user_key = :user_key",
        params! { "user_key" => user_key, "secret" => secret, "step" => step },
    )
    .await?;
    set_recovery_codes(conn, user_key, recovery_code_hashes).await
}

/// Gives a person these codes to recover by, and no others.
pub async fn set_recovery_codes(
    conn: &mut impl Queryable,
    user_key: u64,
    recovery_code_hashes: &[[u8; 32]],
) -> Result<()> {
    conn.exec_drop(
        "DELETE FROM recovery_code WHERE user_key = :user_key",
        params! { "user_key" => user_key },
    )
    .await?;
    for hash in recovery_code_hashes {
        conn.exec_drop(
            "INSERT INTO recovery_code (user_key, code_hash) VALUES (:user_key, :code_hash)",
            params! { "user_key" => user_key, "code_hash" => hash.as_slice() },
        )
        .await?;
    }
    Ok(())
}

/// Takes the code of a time step. False where that or a later one was taken already: RFC 6238 section 5.2.
pub async fn take_totp_step(conn: &mut impl Queryable, user_key: u64, step: u64) -> Result<bool> {
    let taken = conn.exec_iter(
        "UPDATE user
            SET totp_last_step = :step
          WHERE user_key = :user_key
            AND totp_last_step < :step",
        params! { "user_key" => user_key, "step" => step },
    );
    Ok(taken.await?.affected_rows() > 0)
}

/// Takes a code to recover by. False where there is none such.
pub async fn take_recovery_code(conn: &mut impl Queryable, user_key: u64, hash: &[u8; 32]) -> Result<bool> {
    let taken = conn.exec_iter(
        "DELETE FROM recovery_code
          WHERE user_key = :user_key AND code_hash = :code_hash",
        params! { "user_key" => user_key, "code_hash" => hash.as_slice() },
    );
    Ok(taken.await?.affected_rows() > 0)
}

/// How many codes to recover by are left.
pub async fn recovery_codes_left(conn: &mut impl Queryable, user_key: u64) -> Result<u64> {
    let left = conn.exec_first(
        "SELECT COUNT(*) FROM recovery_code WHERE user_key = :user_key",
        params! { "user_key" => user_key },
    );
    Ok(left.await?.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_name_is_small_letters_digits_and_a_few_signs() {
        assert_eq!(" Anna.Berg@Practice ".parse::<UserName>().expect("good").as_str(), "anna.berg@practice");
        for wrong in ["", " ", "anna berg", "änna", "a\\b", &"a".repeat(65)] {
            assert!(wrong.parse::<UserName>().is_err(), "{wrong}");
        }
    }
}
