//! Putting files in by hand: `GET /upload`, and `POST /upload` for a browser without scripts. With scripts each file goes
//! by itself, in pieces, so that a lost connection costs a piece ([`pieces`]).

pub mod pieces;

use std::collections::BTreeSet;

use actix_web::http::header;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use serde::Serialize;

use super::App;
use super::access::{Caller, STALE_FORM};
use super::dicomweb::media;
use super::error::Error;
use super::intake::{in_words, may_pass};
use super::multipart::{Body, Broken, Header, Multipart};
use super::page::{self, Layout};
use crate::archive::Archive;
use crate::archive::commit::Outcome;
use crate::archive::import::{Intake, Received, Upload};
use crate::archive::receive::Source;
use crate::people::secret;

/// The longest name that is kept of a file.
const LONGEST_NAME: usize = 300;
/// The longest token of a form.
const LONGEST_TOKEN: usize = 200;
/// Files that a page tells of one by one.
const MOST_SHOWN: usize = 500;
/// Studies that it leads to.
const MOST_STUDIES: usize = 100;

/// What became of a file.
#[derive(Debug, Clone, Serialize)]
pub struct FileRow {
    name: String,
    words: String,
    /// `stored`, `here`, `quarantined` or `refused`
    outcome: &'static str,
    /// Sending it again may help.
    again: bool,
}

/// What became of files, however many.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Tally {
    stored: usize,
    here: usize,
    quarantined: usize,
    refused: usize,
    /// What did not go well first; not of all where there are many.
    files: Vec<FileRow>,
    /// How many of `files` did not go well.
    #[serde(skip)]
    unwell: usize,
    /// Where they are to be seen.
    studies: BTreeSet<String>,
}

impl Tally {
    /// One more.
    fn add(&mut self, received: &Received) {
        let Received { name, result, .. } = received;
        let stored = result.as_ref().ok();
        let (count, outcome) = match stored.map(|stored| stored.outcome) {
            Some(Outcome::Stored) => (&mut self.stored, "stored"),
            Some(Outcome::AlreadyHeld) => (&mut self.here, "here"),
            Some(Outcome::Quarantined | Outcome::AlreadyQuarantined) => {
                (&mut self.quarantined, "quarantined")
            }
            None => (&mut self.refused, "refused"),
        };
        *count += 1;
        let is_well = matches!(outcome, "stored" | "here");
        if let Some(stored) = stored.filter(|_| is_well && self.studies.len() < MOST_STUDIES) {
            self.studies.insert(stored.study_instance_uid.clone());
        }
        let row = FileRow { name: name_of(name), words: in_words(result), outcome, again: may_pass(result) };
        match is_well {
            true if self.files.len() < MOST_SHOWN => self.files.push(row),
            true => {}
            false if self.unwell < MOST_SHOWN => {
                self.files.insert(self.unwell, row);
                self.unwell += 1;
                self.files.truncate(MOST_SHOWN);
            }
            false => {}
        }
    }

    fn all(&self) -> usize {
        self.stored + self.here + self.quarantined + self.refused
    }

    /// `12 stored, 3 here already, 1 not stored`
    fn summary(&self) -> String {
        let parts = [
            (self.stored, "stored"),
            (self.here, "here already"),
            (self.quarantined, "in quarantine"),
            (self.refused, "not stored"),
        ];
        let said: Vec<String> = parts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, words)| format!("{count} {words}"))
            .collect();
        if said.is_empty() { "There was no file in the form".to_owned() } else { said.join(", ") }
    }
}

#[derive(Template)]
#[template(path = "upload/show.html")]
struct UploadPage {
    layout: Layout,
    done: Option<Done>,
}

/// What a form brought.
struct Done {
    summary: String,
    tally: Tally,
    /// Why not all of it was read.
    broken: Option<String>,
    left_out: usize,
}

/// `GET /upload`
pub async fn show(_: Caller, layout: Layout) -> Result<HttpResponse, Error> {
    page::html(&UploadPage { layout, done: None })
}

/// `POST /upload`: a form with files.
pub async fn take(
    caller: Caller,
    layout: Layout,
    app: Data<App>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Error> {
    caller.signed_in()?;
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.and_then(media::media_type).filter(|kind| kind.name == "multipart/form-data");
    let boundary = kind.as_ref().and_then(|kind| kind.parameter("boundary")).unwrap_or_default().to_owned();
    if boundary.is_empty() {
        return Err(Error::UnsupportedMediaType("Files come by the form of this page.".to_owned()));
    }
    let token = caller.form_token();
    let (archive, source) = (app.archive.clone(), app.intakes.source(&caller));
    let read = move |body| taken(&archive, &source, body, &boundary, &token);
    let (tally, broken) = app.intakes.read(&app, &caller, payload, read).await??;
    let left_out = tally.all().saturating_sub(tally.files.len());
    let done = Some(Done { summary: tally.summary(), tally, broken, left_out });
    page::html(&UploadPage { layout, done })
}

/// Reads a form: the token first, then files.
fn taken(
    archive: &Archive,
    source: &Source,
    body: Body,
    boundary: &str,
    token: &str,
) -> Result<(Tally, Option<String>), Error> {
    let invalid = |broken: Broken| Error::Invalid(page::sentence(&broken.to_string()));
    let mut parts = Multipart::new(body, boundary).map_err(invalid)?;
    let first = parts.next_part().map_err(invalid)?;
    if first.as_ref().and_then(|header| disposition(header, "name")).as_deref() != Some("token") {
        return Err(Error::Forbidden(STALE_FORM));
    }
    let said = parts.text(LONGEST_TOKEN).map_err(invalid)?;
    if !secret::is_equal(token.as_bytes(), said.trim().as_bytes()) {
        return Err(Error::Forbidden(STALE_FORM));
    }
    let mut tally = Tally::default();
    let broken = files(archive, source, &mut parts, &mut tally).err();
    Ok((tally, broken.map(|broken| page::sentence(&broken.to_string()))))
}

fn files(archive: &Archive, source: &Source, parts: &mut Multipart, tally: &mut Tally) -> Result<(), Broken> {
    while let Some(header) = parts.next_part()? {
        let Some(name) = disposition(&header, "filename") else { continue };
        let intake = Intake::new(archive, source.clone(), None);
        let mut upload = Upload::new(archive, intake, name.clone());
        while let Some(data) = parts.next_data()? {
            upload.push(data);
        }
        // A browser sends such a part where no file was chosen.
        if name.is_empty() && upload.received() == 0 {
            continue;
        }
        upload.finish(&mut |received| tally.add(&received));
    }
    Ok(())
}

/// A parameter of Content-Disposition, RFC 7578 section 4.2.
fn disposition(header: &Header, parameter: &str) -> Option<String> {
    let text = header.get("content-disposition")?;
    let value = media::media_type(text)?.parameter(parameter)?.to_owned();
    // What browsers write of these in a name.
    let value = value.replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n");
    Some(name_of(&value))
}

/// A name as it is shown.
fn name_of(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(LONGEST_NAME).collect()
}
