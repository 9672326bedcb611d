//! `filmroom user`: accounts from a terminal. A password is read from standard input, never from an argument, which
//! everybody on the machine could read.

use std::io::{BufRead, IsTerminal, Write};

use anyhow::{Context, bail};
use clap::Subcommand;

use super::{at_terminal, with_database};
use crate::config::Settings;
use crate::db::role::Role;
use crate::db::user::{self, NewUser, User, UserName};
use crate::db::visibility::ReferringNames;
use crate::db::{self, Pool};
use crate::people::{People, accounts};

/// What can be done to accounts.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Make an account.
    Add {
        /// What is typed to sign in.
        name: UserName,
        /// administrator, reader, technologist or referrer.
        #[arg(long)]
        role: Role,
        /// For people.
        #[arg(long, default_value = "")]
        full_name: String,
        /// As which Referring Physician a referrer owns studies, such as 'Smith^John' or 'Smith^J*'. May be repeated.
        #[arg(long, value_name = "NAME")]
        referring_name: Vec<String>,
        /// Read the password from standard input.
        #[arg(long, required = true)]
        password_stdin: bool,
    },
    /// Show all accounts.
    List,
    /// Keep somebody from signing in, and end their sessions.
    Disable {
        /// Whom.
        name: UserName,
    },
    /// Give somebody a new password, and end their sessions.
    Password {
        /// Whom.
        name: UserName,
        /// Read the password from standard input.
        #[arg(long, required = true)]
        password_stdin: bool,
        /// Take their second factor away, too: for somebody who has lost it and the codes to recover by.
        #[arg(long)]
        remove_second_factor: bool,
    },
    /// Give somebody another role, and end their sessions.
    Role {
        /// Whom.
        name: UserName,
        /// administrator, reader, technologist or referrer.
        role: Role,
    },
}

/// Runs one of them.
pub async fn run(settings: &Settings, command: UserCommand) -> anyhow::Result<()> {
    with_database(settings, async |pool| {
        let people = People::new(pool.clone())?;
        people.prepare().await?;
        run_with(pool, &people, command).await
    })
    .await
}

async fn run_with(pool: &Pool, people: &People, command: UserCommand) -> anyhow::Result<()> {
    let mut conn = db::acquire(pool).await?;
    match command {
        UserCommand::Add { name, role, full_name, referring_name, password_stdin: _ } => {
            let full_name = full_name.trim().to_owned();
            let referring_names = ReferringNames::parse(&referring_name.join("\n"));
            let password_hash = people.new_password(&password()?, &[name.as_str(), &full_name]).await?;
            let new = NewUser { name, full_name, role, password_hash, referring_names };
            let mut change = conn.start_transaction(Default::default()).await.map_err(db::Error::from)?;
            accounts::add(&mut change, at_terminal(), &new).await?;
            change.commit().await.map_err(db::Error::from)?;
            println!("{} can sign in now, as {}", new.name, new.role);
        }
        UserCommand::List => {
            let users = user::list(&mut conn).await.map_err(db::Error::from)?;
            if users.is_empty() {
                println!("there are no users");
            }
            for user in users {
                println!("{}", in_a_line(&user).trim_end());
            }
        }
        UserCommand::Disable { name } => {
            let known = known(&mut conn, &name).await?;
            let mut change = conn.start_transaction(Default::default()).await.map_err(db::Error::from)?;
            accounts::set_disabled(&mut change, at_terminal(), &known, true).await?;
            change.commit().await.map_err(db::Error::from)?;
            println!("{name} cannot sign in any more");
        }
        UserCommand::Password { name, remove_second_factor, password_stdin: _ } => {
            let known = known(&mut conn, &name).await?;
            let hash = people.new_password(&password()?, &[name.as_str(), &known.full_name]).await?;
            let mut change = conn.start_transaction(Default::default()).await.map_err(db::Error::from)?;
            accounts::set_password(&mut change, at_terminal(), &known, &hash).await?;
            if remove_second_factor {
                accounts::remove_second_factor(&mut change, at_terminal(), &known).await?;
            }
            change.commit().await.map_err(db::Error::from)?;
            println!("{name} has a new password, and is signed out everywhere");
        }
        UserCommand::Role { name, role } => {
            let known = known(&mut conn, &name).await?;
            let mut change = conn.start_transaction(Default::default()).await.map_err(db::Error::from)?;
            let names = &known.referring_names;
            accounts::change(&mut change, at_terminal(), &known, &known.full_name, role, names).await?;
            change.commit().await.map_err(db::Error::from)?;
            println!("{name} is {role} now");
        }
    }
    Ok(())
}

async fn known(conn: &mut mysql_async::Conn, name: &UserName) -> anyhow::Result<User> {
    let known = user::credentials(conn, name).await.map_err(db::Error::from)?;
    match known {
        Some(known) => Ok(known.user),
        None => bail!("there is no user {name}"),
    }
}

fn in_a_line(user: &User) -> String {
    let seen =
        user.signed_in_at.map_or_else(|| "never".to_owned(), |at| at.format("%Y-%m-%d %H:%M").to_string());
    let state = if user.is_disabled { "disabled" } else { "" };
    let factor = if user.has_totp { "second factor" } else { "" };
    format!(
        "{:<24}  {:<13}  {seen:<16}  {factor:<13}  {state:<8}  {}",
        user.name.as_str(),
        user.role.as_str(),
        user.full_name
    )
}

/// The first line of standard input. On a terminal it is asked for, and not shown.
fn password() -> anyhow::Result<String> {
    let stdin = std::io::stdin();
    let hidden = stdin.is_terminal().then(Hidden::begin);
    let mut line = String::new();
    stdin.lock().read_line(&mut line).context("cannot read the password from standard input")?;
    drop(hidden);
    let password = line.trim_end_matches(['\n', '\r']).to_owned();
    if password.is_empty() {
        bail!("there is no password on standard input");
    }
    Ok(password)
}

/// What is typed on the terminal is not shown while this lives.
struct Hidden(Option<libc::termios>);

impl Hidden {
    fn begin() -> Hidden {
        eprint!("Password: ");
        // That a prompt is late is no reason to stop.
        let _ = std::io::stderr().flush();
        // SAFETY: termios is a plain structure that tcgetattr fills; both calls take a file descriptor that is open.
        unsafe {
            let mut before: libc::termios = std::mem::zeroed();
            if libc::tcgetattr(libc::STDIN_FILENO, &mut before) != 0 {
                return Hidden(None);
            }
            let mut quiet = before;
            quiet.c_lflag &= !libc::ECHO;
            libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, &quiet);
            Hidden(Some(before))
        }
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        eprintln!();
        if let Some(before) = &self.0 {
            // SAFETY: sets back what tcgetattr gave.
            unsafe {
                libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, before);
            }
        }
    }
}
