//! A file in pieces: `POST /upload/pieces/{upload}` brings one, `GET` tells how much has come. A piece whose connection is
//! lost is kept as far as it came, and the next one goes on behind it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::web::{Data, Path, Payload, Query};
use actix_web::{HttpRequest, HttpResponse};
use moka::sync::Cache;
use serde::Deserialize;
use serde_json::json;

use super::{FileRow, name_of};
use crate::archive::import::{Intake, Upload};
use crate::people::secret;
use crate::web::App;
use crate::web::access::{Caller, STALE_FORM};
use crate::web::error::Error;
use crate::web::multipart::Body;

/// Files that are under way at once, of all people together.
const MOST: u64 = 200;
/// What nobody goes on with is forgotten after this long.
const PATIENCE: Duration = Duration::from_secs(3600);

/// The files that are under way, by whose they are and how that browser calls them.
pub struct Uploads(Cache<(u64, String), Arc<Mutex<State>>>);

/// How far a file has come.
enum State {
    Coming(Box<Upload>),
    /// It is being put into the archive, or that came to no end.
    Taken,
    Done(Vec<FileRow>),
}

impl Default for Uploads {
    fn default() -> Self {
        Uploads(Cache::builder().max_capacity(MOST).time_to_idle(PATIENCE).build())
    }
}

/// Where a piece belongs.
#[derive(Debug, Deserialize)]
pub struct Piece {
    offset: u64,
    /// Of the whole file, bytes.
    size: u64,
    #[serde(default)]
    name: String,
}

/// `GET /upload/pieces/{upload}`
pub async fn show(caller: Caller, app: Data<App>, upload: Path<String>) -> Result<HttpResponse, Error> {
    caller.signed_in()?;
    let found = app.intakes.uploads.0.get(&(caller.session_key(), upload.into_inner()));
    Ok(HttpResponse::Ok().json(match found {
        None => json!({ "received": 0 }),
        Some(state) => match state.try_lock() {
            Ok(state) => in_words(&state),
            Err(_) => json!({ "busy": true }),
        },
    }))
}

fn in_words(state: &State) -> serde_json::Value {
    match state {
        State::Coming(upload) => json!({ "received": upload.received() }),
        State::Taken => json!({ "received": 0 }),
        State::Done(rows) => json!({ "files": rows }),
    }
}

/// `POST /upload/pieces/{upload}?offset=…&size=…&name=…`
pub async fn take(
    caller: Caller,
    app: Data<App>,
    request: HttpRequest,
    upload: Path<String>,
    piece: Query<Piece>,
    payload: Payload,
) -> Result<HttpResponse, Error> {
    caller.signed_in()?;
    // A page of another site can neither read the token nor send this header.
    let token = request.headers().get("x-form-token").map(|token| token.as_bytes()).unwrap_or_default();
    if !secret::is_equal(caller.form_token().as_bytes(), token) {
        return Err(Error::Forbidden(STALE_FORM));
    }
    let upload = upload.into_inner();
    if upload.len() > 64 {
        return Err(Error::NotFound);
    }
    let Piece { offset, size, name } = piece.into_inner();
    let key = (caller.session_key(), upload);
    let uploads = &app.intakes.uploads.0;
    let state = match offset {
        0 => {
            let intake = Intake::new(&app.archive, app.intakes.source(&caller), None);
            let begun = Upload::new(&app.archive, intake, name_of(&name));
            let state = Arc::new(Mutex::new(State::Coming(Box::new(begun))));
            uploads.insert(key, state.clone());
            state
        }
        _ => match uploads.get(&key) {
            Some(state) => state,
            None => return Ok(HttpResponse::Conflict().json(json!({ "received": 0 }))),
        },
    };
    let done = app.intakes.read(payload, move |body| add(&state, body, offset, size)).await?;
    Ok(match done {
        Ok(answer) => HttpResponse::Ok().json(answer),
        Err(answer) => HttpResponse::Conflict().json(answer),
    })
}

/// Adds a piece; puts the file into the archive where it was the last. In a conflict, says how far it has come.
fn add(
    state: &Mutex<State>,
    mut body: Body,
    offset: u64,
    size: u64,
) -> Result<serde_json::Value, serde_json::Value> {
    let Ok(mut state) = state.try_lock() else { return Err(json!({ "busy": true })) };
    let State::Coming(upload) = &mut *state else { return Ok(in_words(&state)) };
    if upload.received() != offset {
        return Err(in_words(&state));
    }
    while let Some(Ok(mut bytes)) = body.blocking_recv() {
        let room = size.saturating_sub(upload.received());
        bytes.truncate(usize::try_from(room).unwrap_or(usize::MAX));
        upload.push(bytes);
    }
    if upload.received() < size {
        return Ok(in_words(&state));
    }
    let State::Coming(upload) = std::mem::replace(&mut *state, State::Taken) else {
        return Ok(in_words(&state));
    };
    let mut rows = Vec::new();
    upload.finish(&mut |received| rows.push(FileRow::of(&received)));
    *state = State::Done(rows);
    Ok(in_words(&state))
}
