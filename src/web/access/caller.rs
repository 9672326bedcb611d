//! Who is asking, what they may do and see, and the trace they leave.

use std::future::{Ready, ready};
use std::ops::Deref;
use std::rc::Rc;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage, HttpRequest};

use super::FOR_PEOPLE;
use super::cookie::{cookie, form_token};
use crate::db::audit::{Action, Actor, ActorKind, Entry};
use crate::db::role::{Right, Rights};
use crate::db::share::Visit;
use crate::db::user::User;
use crate::db::visibility::Visibility;
use crate::people::sign_in::visitor;
use crate::people::trail::{Shown, WayIn};
use crate::people::{self, secret};
use crate::web::App;
use crate::web::error::Error;
use crate::web::transport::Client;
use actix_web::cookie::Cookie;

/// Who is asking, and what they may do and see.
#[derive(Debug, Clone)]
pub struct Caller(Rc<Inner>);

/// What a [`Caller`] is made of.
#[derive(Debug)]
pub struct Inner {
    /// Who.
    pub who: Who,
    /// What they may do.
    pub rights: Rights,
    /// Whose studies they see.
    pub visibility: Visibility,
    /// The other end of the connection.
    pub client: Client,
    /// What the cookie holds that forms are bound to.
    seed: String,
    /// There was a cookie of a session that is over.
    pub session_is_over: bool,
}

/// Who somebody is.
#[derive(Debug, Clone)]
pub enum Who {
    /// Not known.
    Nobody,
    /// A person with a browser.
    Person {
        /// The person.
        user: Box<User>,
        /// `session.session_key`
        session_key: u64,
    },
    /// A program, with a person's token or password.
    Program {
        /// The person.
        user: Box<User>,
        /// As far as the program is let.
        scope: Rights,
        /// Number and name of the token.
        token: Option<(u64, String)>,
        /// The one study it is let see.
        study_key: Option<u64>,
    },
    /// Whoever holds a share link.
    Visitor(Visit),
}

impl Caller {
    /// Somebody, as they were found to be.
    pub(super) fn new(
        who: Who,
        rights: Rights,
        visibility: Visibility,
        client: Client,
        seed: String,
        session_is_over: bool,
    ) -> Caller {
        Caller(Rc::new(Inner { who, rights, visibility, client, seed, session_is_over }))
    }
}

impl Deref for Caller {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Inner {
    /// Whether they may.
    pub fn may(&self, right: Right) -> bool {
        self.rights.has(right)
    }

    /// The person with a browser.
    pub fn person(&self) -> Option<&User> {
        match &self.who {
            Who::Person { user, .. } => Some(user),
            Who::Nobody | Who::Program { .. } | Who::Visitor(_) => None,
        }
    }

    /// The person an address that [`Needs::Person`] is asked by.
    pub fn signed_in(&self) -> Result<&User, Error> {
        match &self.who {
            Who::Person { user, .. } => Ok(user),
            Who::Program { .. } => Err(Error::Forbidden(FOR_PEOPLE)),
            Who::Nobody | Who::Visitor(_) => Err(Error::SignIn),
        }
    }

    /// The session of that person; 0 where there is none.
    pub fn session_key(&self) -> u64 {
        match &self.who {
            Who::Person { session_key, .. } => *session_key,
            Who::Nobody | Who::Program { .. } | Who::Visitor(_) => 0,
        }
    }

    /// For the audit trail.
    pub fn actor(&self) -> Actor {
        let (kind, name) = match &self.who {
            Who::Nobody => (ActorKind::Nobody, String::new()),
            Who::Person { user, .. } => (ActorKind::User, user.name.to_string()),
            Who::Program { user, .. } => (ActorKind::Program, user.name.to_string()),
            Who::Visitor(visit) => return visitor(visit.share_key, self.client.address),
        };
        Actor { kind, name, address: self.client.address.to_string() }
    }

    /// An entry of the audit trail: they did this.
    pub fn did(&self, action: Action, details: impl Into<String>) -> Entry {
        let mut entry = Entry::of(self.actor(), action, details);
        if let Who::Program { token: Some((_, name)), .. } = &self.who {
            entry.details = format!("token {name}; {}", entry.details).trim_end_matches("; ").to_owned();
        }
        entry
    }

    fn way_in(&self) -> WayIn {
        match &self.who {
            Who::Nobody => WayIn::Visit(0),
            Who::Person { session_key, .. } => WayIn::Session(*session_key),
            Who::Program { token: Some((token_key, _)), .. } => WayIn::Token(*token_key),
            Who::Program { user, token: None, .. } => WayIn::Password(user.user_key),
            Who::Visitor(visit) => WayIn::Visit(visit.visit_key),
        }
    }

    /// Leaves a trace of what was done.
    pub async fn record(&self, app: &App, entry: Entry) -> Result<(), Error> {
        Ok(app.people.trail.record(entry).await?)
    }

    /// Leaves a trace of what is shown.
    pub async fn show(&self, app: &App, shown: Shown, entry: Entry) -> Result<(), Error> {
        Ok(app.people.trail.show(self.way_in(), shown, entry).await?)
    }

    /// Leaves a trace of what is shown, unless one of these was shown to the same caller just before.
    pub async fn show_once(&self, app: &App, any_of: &[Shown], entry: Entry) -> Result<(), Error> {
        Ok(app.people.trail.show_once(self.way_in(), any_of, entry).await?)
    }

    /// The series of a study were shown, with their small pictures.
    pub fn has_seen_strip(&self, app: &App, study: &str) {
        app.people.trail.remember(self.way_in(), Shown::Study(study.to_owned()));
    }

    /// These studies were shown in a list, with their small pictures.
    pub fn has_seen_listed<'a>(&self, app: &App, studies: impl IntoIterator<Item = &'a str>) {
        for study in studies {
            app.people.trail.remember(self.way_in(), Shown::Listed(study.to_owned()));
        }
    }

    /// Whether the session, the token or the visit goes on, and they see what they saw and have this right. Asking is no
    /// use of it.
    pub async fn is_still_in(&self, app: &App, needs: Right) -> bool {
        let people = &app.people;
        let found = match &self.who {
            Who::Visitor(_) => people.visit(&self.seed, false).await.map(|visit| visit.is_some()),
            Who::Person { .. } => {
                let session = people.session(&self.seed, false).await;
                session.map(|session| {
                    session.is_some_and(|session| self.is_as_before(&session.user, None, needs))
                })
            }
            Who::Program { user, token, study_key, .. } => {
                let token_key = token.as_ref().map(|(token_key, _)| *token_key);
                let user = people.behind_program(user.user_key, token_key).await;
                user.map(|user| user.is_some_and(|user| self.is_as_before(&user, *study_key, needs)))
            }
            Who::Nobody => Ok(true),
        };
        found.unwrap_or_else(|err| {
            tracing::warn!(%err, "cannot tell whether somebody is still signed in");
            false
        })
    }

    fn is_as_before(&self, user: &User, study_key: Option<u64>, needs: Right) -> bool {
        user.rights.has(needs) && people::visibility_of_program(user, study_key) == self.visibility
    }

    /// For the hidden field `token` of every form.
    pub fn form_token(&self) -> String {
        form_token(&self.seed)
    }

    /// What tells this browser from another at the same address.
    pub fn browser(&self) -> [u8; 32] {
        secret::hash(&self.seed)
    }

    /// A cookie of ours: for this site alone, not for scripts, and by HTTPS alone where that is how we are reached.
    pub fn cookie(&self, name: &str, value: String) -> Cookie<'static> {
        cookie(&self.client, name, value)
    }

    /// The same cookie, gone.
    pub fn cookie_gone(&self, name: &str) -> Cookie<'static> {
        let mut cookie = self.cookie(name, String::new());
        cookie.make_removal();
        cookie
    }
}

impl FromRequest for Caller {
    type Error = Error;
    type Future = Ready<Result<Caller, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(caller_of(request).ok_or(Error::SignIn))
    }
}

/// Who asked for this, after [`admit`](super::admit) has found out.
pub fn caller_of(request: &HttpRequest) -> Option<Caller> {
    request.extensions().get::<Caller>().cloned()
}
