//! Putting files in by hand: `GET /upload`, and `POST /upload` for a browser without scripts. With scripts each file goes
//! by itself, in pieces, so that a lost connection costs a piece ([`pieces`]).

pub mod pieces;

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

/// What became of a file.
#[derive(Debug, Clone, Serialize)]
pub struct FileRow {
    name: String,
    words: String,
    /// `stored`, `here`, `quarantined` or `refused`
    outcome: &'static str,
    /// Where it is to be seen.
    study: Option<String>,
    /// Sending it again may help.
    again: bool,
}

impl FileRow {
    fn of(received: &Received) -> FileRow {
        let Received { name, result, .. } = received;
        let stored = result.as_ref().ok();
        let outcome = match stored.map(|stored| stored.outcome) {
            Some(Outcome::Stored) => "stored",
            Some(Outcome::AlreadyHeld) => "here",
            Some(Outcome::Quarantined | Outcome::AlreadyQuarantined) => "quarantined",
            None => "refused",
        };
        FileRow {
            name: name.clone(),
            words: in_words(result),
            outcome,
            study: stored.map(|stored| stored.study_instance_uid.clone()),
            again: may_pass(result),
        }
    }

    fn is_well(&self) -> bool {
        matches!(self.outcome, "stored" | "here")
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
    /// `12 stored, 3 were here already, 1 not stored`
    summary: String,
    studies: Vec<String>,
    /// What did not go well first.
    rows: Vec<FileRow>,
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
    let (mut rows, broken) = app.intakes.read(payload, read).await??;
    rows.sort_by_key(FileRow::is_well);
    let mut studies: Vec<String> = rows.iter().filter_map(|row| row.study.clone()).collect();
    studies.sort();
    studies.dedup();
    let summary = summary(&rows);
    let left_out = rows.len().saturating_sub(MOST_SHOWN);
    rows.truncate(MOST_SHOWN);
    let done = Some(Done { summary, studies, rows, broken, left_out });
    page::html(&UploadPage { layout, done })
}

fn summary(rows: &[FileRow]) -> String {
    let count = |outcome: &str| rows.iter().filter(|row| row.outcome == outcome).count();
    let parts = [
        (count("stored"), "stored"),
        (count("here"), "here already"),
        (count("quarantined"), "in quarantine"),
        (count("refused"), "not stored"),
    ];
    let said: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, words)| format!("{count} {words}"))
        .collect();
    if said.is_empty() { "There was no file in the form".to_owned() } else { said.join(", ") }
}

/// Reads a form: the token first, then files.
fn taken(
    archive: &Archive,
    source: &Source,
    body: Body,
    boundary: &str,
    token: &str,
) -> Result<(Vec<FileRow>, Option<String>), Error> {
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
    let mut rows = Vec::new();
    let broken = files(archive, source, &mut parts, &mut rows).err();
    Ok((rows, broken.map(|broken| page::sentence(&broken.to_string()))))
}

fn files(
    archive: &Archive,
    source: &Source,
    parts: &mut Multipart,
    rows: &mut Vec<FileRow>,
) -> Result<(), Broken> {
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
        upload.finish(&mut |received| rows.push(FileRow::of(&received)));
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
