//! Somebody who is signed in to filmroom, made in its database: what is measured is not the sign-in.

use std::io;

use filmroom::db::role::Role;
use filmroom::db::session;
use filmroom::db::user::{self, NewUser, UserName};
use filmroom::db::visibility::ReferringNames;
use filmroom::people::secret::Secret;
use filmroom::people::{Rules, set_rules};

use super::database::Database;

/// A session of somebody new of this role, who is these Referring Physicians.
pub fn session(database: &Database, name: &str, role: Role, referring_names: &str) -> io::Result<String> {
    let mut conn = database.connect(name)?;
    let secret = Secret::random()?;
    let unique: String = secret.text().chars().take(16).collect();
    let new = NewUser {
        name: format!("bench-{unique}").parse::<UserName>().map_err(io::Error::other)?,
        full_name: String::new(),
        role,
        // Nobody signs in with it.
        password_hash: "none".to_owned(),
        referring_names: ReferringNames::parse(referring_names),
    };
    let rules = Rules { second_factor_for_administrators: false, basic: true };
    database.run(async {
        let user_key = user::add(&mut conn, &new).await?;
        session::begin(&mut conn, &secret.hash(), user_key, "127.0.0.1", "bench").await?;
        set_rules(&mut conn, rules).await.map_err(|err| mysql_async::Error::Other(err.to_string().into()))
    })?;
    Ok(secret.text().to_owned())
}
