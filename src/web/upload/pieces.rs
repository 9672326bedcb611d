//! A file in pieces: `POST /upload/pieces/{upload}` brings one, `GET` tells how much has come. A piece whose connection is
//! lost is kept as far as it came, and the next one goes on behind it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use actix_web::web::{Data, Path, Payload, Query};
use actix_web::{HttpRequest, HttpResponse};
use moka::sync::Cache;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Tally, name_of};
use crate::archive::import::{Intake, Upload};
use crate::people::secret;
use crate::web::App;
use crate::web::access::{Caller, STALE_FORM};
use crate::web::error::Error;
use crate::web::multipart::Body;

/// Files that are under way at once, of all people together, and of one.
const MOST: usize = 400;
const MOST_OF_ONE: usize = 40;
/// What nobody goes on with is forgotten after this long.
const PATIENCE: Duration = Duration::from_secs(3600);
/// How often that is looked for.
const LOOKING: Duration = Duration::from_secs(60);
/// What became of so many files is told again to those whose connection was lost.
const KEPT: u64 = 2000;

/// Whose a file is, and how that browser calls it.
type Key = (u64, String);

/// The files that are under way, and what became of those that were lately.
pub struct Uploads {
    coming: Mutex<HashMap<Key, Coming>>,
    done: Cache<Key, Arc<Tally>>,
}

struct Coming {
    upload: Arc<Mutex<Option<Upload>>>,
    touched: Instant,
}

impl Default for Uploads {
    fn default() -> Self {
        let done = Cache::builder().max_capacity(KEPT).time_to_live(PATIENCE).build();
        Uploads { coming: Mutex::default(), done }
    }
}

impl Uploads {
    fn coming(&self) -> MutexGuard<'_, HashMap<Key, Coming>> {
        self.coming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new file, in the place of one of this name.
    fn begin(&self, key: Key, upload: Upload) -> Result<Arc<Mutex<Option<Upload>>>, Error> {
        let mut coming = self.coming();
        let own = coming.keys().filter(|(session, _)| *session == key.0).count();
        if !coming.contains_key(&key) && (coming.len() >= MOST || own >= MOST_OF_ONE) {
            return Err(Error::Unavailable("too many files are being uploaded at once".into()));
        }
        let upload = Arc::new(Mutex::new(Some(upload)));
        self.done.invalidate(&key);
        coming.insert(key, Coming { upload: upload.clone(), touched: Instant::now() });
        Ok(upload)
    }

    fn find(&self, key: &Key) -> Option<Arc<Mutex<Option<Upload>>>> {
        let mut coming = self.coming();
        let found = coming.get_mut(key)?;
        found.touched = Instant::now();
        Some(found.upload.clone())
    }

    fn finish(&self, key: Key, tally: Arc<Tally>) {
        self.done.insert(key.clone(), tally);
        self.coming().remove(&key);
    }

    /// How far a file has come, or what became of it.
    fn in_words(&self, key: &Key) -> Value {
        if let Some(tally) = self.done.get(key) {
            return json!({ "done": *tally });
        }
        let Some(upload) = self.find(key) else { return json!({ "received": 0 }) };
        match upload.try_lock() {
            Ok(upload) => json!({ "received": upload.as_ref().map_or(0, Upload::received) }),
            Err(TryLockError::WouldBlock) => json!({ "busy": true }),
            // What was to become of it, nobody knows: it is sent anew.
            Err(TryLockError::Poisoned(_)) => json!({ "received": 0 }),
        }
    }

    /// Forgets what nobody goes on with, for ever. Their files are removed where waiting is allowed.
    pub async fn forget(app: Data<App>) {
        loop {
            tokio::time::sleep(LOOKING).await;
            let gone = app.intakes.uploads.abandoned();
            if !gone.is_empty()
                && let Err(err) = tokio::task::spawn_blocking(move || drop(gone)).await
            {
                tracing::warn!(%err, "abandoned uploads could not be removed");
            }
        }
    }

    fn abandoned(&self) -> Vec<Coming> {
        let is_old = |one: &Coming| one.touched.elapsed() > PATIENCE && one.upload.try_lock().is_ok();
        self.coming().extract_if(|_, one| is_old(one)).map(|(_, one)| one).collect()
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
    let key = (caller.session_key(), upload.into_inner());
    Ok(HttpResponse::Ok().json(app.intakes.uploads.in_words(&key)))
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
    let found = match offset {
        0 => {
            let intake = Intake::new(&app.archive, app.intakes.source(&caller), None);
            let begun = Upload::new(&app.archive, intake, name_of(&name));
            Some(app.intakes.uploads.begin(key.clone(), begun)?)
        }
        _ => app.intakes.uploads.find(&key),
    };
    let Some(upload) = found else {
        return Ok(HttpResponse::Conflict().json(app.intakes.uploads.in_words(&key)));
    };
    let (here, of) = (app.clone(), key.clone());
    let add = move |body| add(&here.intakes.uploads, of, &upload, body, (offset, size));
    let is_added = app.intakes.read(&app, &caller, payload, add).await?;
    let answer = app.intakes.uploads.in_words(&key);
    Ok(match is_added {
        true => HttpResponse::Ok().json(answer),
        false => HttpResponse::Conflict().json(answer),
    })
}

/// Adds a piece, and puts the file into the archive where it was the last. False where it does not belong there.
fn add(
    uploads: &Uploads,
    key: Key,
    upload: &Mutex<Option<Upload>>,
    mut body: Body,
    (offset, size): (u64, u64),
) -> bool {
    let Ok(mut place) = upload.try_lock() else { return false };
    let Some(upload) = place.as_mut().filter(|upload| upload.received() == offset) else { return false };
    // Of a piece that is lost on its way, what came counts.
    while let Ok(Some(mut bytes)) = body.piece() {
        let room = size.saturating_sub(upload.received());
        bytes.truncate(usize::try_from(room).unwrap_or(usize::MAX));
        upload.push(bytes);
    }
    if upload.received() < size {
        return true;
    }
    let Some(upload) = place.take() else { return false };
    let mut tally = Tally::default();
    upload.finish(&mut |received| tally.add(&received));
    uploads.finish(key, Arc::new(tally));
    true
}
