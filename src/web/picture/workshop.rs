//! Where pictures are made: as many at a time as there are processors, the last ones kept.
//!
//! A frame that was decoded is kept for the next window of it, a finished picture for the next person who looks. Both
//! have a bound in bytes. Whoever waits, waits for a bounded time; and when the one who asked has gone (the handler's
//! future was dropped), what has not begun is not begun and what has goes no further than its next step.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::web::{Bytes, block};
use moka::sync::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::tile::Sign;
use super::view::NamedView;
use super::{kind_of, sign_of};
use crate::archive::retrieve::{Frame, Header, Holding, NativePixels, Unreadable};
use crate::archive::{self, Archive};
use crate::codec::{self, Decoded, Decoder, FrameFormat};
use crate::dicom::sop_class::Kind;
use crate::render;
use crate::web::App;
use crate::web::error::Error;

/// Finished pictures, bytes.
const KEPT_PICTURES: u64 = 24 << 20;
/// Decoded frames, bytes: a large radiograph or a CT series.
const KEPT_FRAMES: u64 = 40 << 20;
/// How long one waits for a processor.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many may wait.
const QUEUE: usize = 512;

/// What waits in memory for those who take it slowly, of all answers, KiB.
const SENDING: u32 = 512 << 10;

/// The workshop of this server.
#[derive(Clone)]
pub struct Pictures {
    processors: Arc<Semaphore>,
    queue: Arc<Semaphore>,
    sending: Arc<Semaphore>,
    finished: Cache<String, Bytes>,
    frames: Cache<(Vec<u8>, u32), Arc<Decoded>>,
}

/// What became of a picture.
pub enum Made {
    /// PNG.
    Picture(Bytes),
    /// None, because of what the instance is.
    Problem(Problem),
}

/// Why there is no picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// For a person: a capital first, a full stop at the end.
    pub sentence: String,
    /// For the tile in its place.
    pub sign: Sign,
}

/// Ways to end without a picture.
enum Stopped {
    Problem(Problem),
    Abandoned,
}

/// Becomes true when the one who asked has gone.
#[derive(Clone)]
struct Gone(Arc<AtomicBool>);

struct Asker(Gone);

impl Drop for Asker {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

impl Gone {
    fn check(&self) -> Result<(), Stopped> {
        if self.0.load(Ordering::Relaxed) { Err(Stopped::Abandoned) } else { Ok(()) }
    }
}

impl Pictures {
    /// A workshop with this many workers.
    pub fn new(processors: usize) -> Pictures {
        let weigh_picture = |_: &String, png: &Bytes| u32::try_from(png.len()).unwrap_or(u32::MAX);
        let weigh_frame =
            |_: &(Vec<u8>, u32), decoded: &Arc<Decoded>| u32::try_from(decoded.bytes()).unwrap_or(u32::MAX);
        Pictures {
            processors: Arc::new(Semaphore::new(processors.max(1))),
            queue: Arc::new(Semaphore::new(QUEUE)),
            sending: Arc::new(Semaphore::new(SENDING as usize)),
            finished: Cache::builder().max_capacity(KEPT_PICTURES).weigher(weigh_picture).build(),
            frames: Cache::builder().max_capacity(KEPT_FRAMES).weigher(weigh_frame).build(),
        }
    }

    /// Draws a frame. `name` stands for everything the picture follows from.
    ///
    /// # Errors
    /// When the archive cannot be asked, or the server has too much to do.
    pub async fn picture(
        &self,
        app: &App,
        holding: &Holding,
        frame0: u32,
        named: &NamedView,
        name: &str,
    ) -> Result<Made, Error> {
        if let Some(png) = self.finished.get(name) {
            return Ok(Made::Picture(png));
        }
        let permit = self.processor().await?;
        let header = match readable(app, holding).await? {
            Ok(header) => header,
            Err(problem) => return Ok(Made::Problem(problem)),
        };
        let view = named.view.clone();
        let drawn = self.work(app, holding, header, frame0, permit, move |samples, header, gone| {
            let read = |rows, step| {
                gone.check()?;
                samples.rows(rows, step)
            };
            let (rows, columns) = samples.size();
            let frame = render::Frame { rows, columns, read: &read };
            Ok(Bytes::from(render::png(&frame, &header.data_set, index(frame0), &view)?))
        });
        let made = drawn.await?;
        if let Made::Picture(png) = &made {
            self.finished.insert(name.to_owned(), png.clone());
        }
        Ok(made)
    }

    /// Why this frame has no picture; none if it has one. Leaves the decoded frame ready for drawing.
    pub async fn problem(&self, app: &App, holding: &Holding, frame0: u32) -> Result<Option<Problem>, Error> {
        let permit = self.processor().await?;
        let header = match readable(app, holding).await? {
            Ok(header) => header,
            Err(problem) => return Ok(Some(problem)),
        };
        let made = self.work(app, holding, header, frame0, permit, |_, _, _| Ok(Bytes::new())).await?;
        Ok(match made {
            Made::Picture(_) => None,
            Made::Problem(problem) => Some(problem),
        })
    }

    /// Decodes a frame, unless it is kept or native, and does `then` with its samples, off the asynchronous threads.
    async fn work<F>(
        &self,
        app: &App,
        holding: &Holding,
        header: Arc<Header>,
        frame0: u32,
        permit: OwnedSemaphorePermit,
        then: F,
    ) -> Result<Made, Error>
    where
        F: FnOnce(&SampleSource, &Header, &Gone) -> Result<Bytes, Stopped> + Send + 'static,
    {
        let gone = Gone(Arc::default());
        let _asker = Asker(gone.clone());
        let (archive, decoder, holding) = (app.archive.clone(), Arc::clone(&app.decoder), holding.clone());
        let frames = self.frames.clone();
        let key = (holding.row().data_set_sha256.clone(), frame0);
        let work = move || {
            let _permit = permit;
            gone.check()?;
            let samples = match frames.get(&key) {
                Some(decoded) => SampleSource::Decoded(decoded),
                None => SampleSource::open(&archive, &decoder, &holding, &header, frame0, &gone)?,
            };
            if let SampleSource::Decoded(decoded) = &samples {
                frames.insert(key, Arc::clone(decoded));
            }
            gone.check()?;
            then(&samples, &header, &gone)
        };
        match block(work).await {
            Ok(Ok(png)) => Ok(Made::Picture(png)),
            Ok(Err(Stopped::Problem(problem))) => Ok(Made::Problem(problem)),
            // Only a dropped future sets the flag, and a dropped future does not come here.
            Ok(Err(Stopped::Abandoned)) => Err(Error::Unavailable("the picture was abandoned".into())),
            Err(_) => Err(Error::Unavailable(archive::Error::Stopping.into())),
        }
    }

    /// A place to work at, for whatever costs memory: reading a data set as much as drawing it.
    ///
    /// # Errors
    /// When none becomes free in time.
    pub async fn processor(&self) -> Result<OwnedSemaphorePermit, Error> {
        let busy = || Error::Unavailable("too many pictures are asked for at once".into());
        let _place = self.queue.try_acquire().map_err(|_| busy())?;
        let permit = tokio::time::timeout(PATIENCE, Arc::clone(&self.processors).acquire_owned()).await;
        permit.map_err(|_| busy())?.map_err(|_| Error::Unavailable(archive::Error::Stopping.into()))
    }

    /// A place in memory for so many bytes that wait to be sent.
    ///
    /// # Errors
    /// When there is none: nobody can say when the others will have taken theirs.
    pub fn hold(&self, bytes: u64) -> Result<OwnedSemaphorePermit, Error> {
        let place = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).min(SENDING);
        let full = |_| Error::Unavailable("too much in memory waits to be sent".into());
        Arc::clone(&self.sending).try_acquire_many_owned(place).map_err(full)
    }
}

/// The header of an instance; a problem where its data set cannot be followed.
pub(super) async fn readable(app: &App, holding: &Holding) -> Result<Result<Arc<Header>, Problem>, Error> {
    match app.archive.header(holding).await {
        Ok(header) => Ok(Ok(header)),
        Err(Unreadable::Archive(err @ archive::Error::File(_))) => Ok(Err(Problem::of_file(holding, &err))),
        Err(Unreadable::Archive(err)) => Err(err.into()),
        Err(err) => Ok(Err(Problem::new(Sign::Broken, &err))),
    }
}

/// Where the samples of a frame come from.
enum SampleSource {
    /// Memory: decoding costs more than keeping.
    Decoded(Arc<Decoded>),
    /// The file, which the system keeps in memory by itself: only the rows that are being drawn are here.
    Native(Box<NativeSource>),
}

struct NativeSource {
    holding: Holding,
    pixels: NativePixels,
    format: FrameFormat,
    decoder: Arc<Decoder>,
}

impl SampleSource {
    fn open(
        archive: &Archive,
        decoder: &Arc<Decoder>,
        holding: &Holding,
        header: &Header,
        frame0: u32,
        gone: &Gone,
    ) -> Result<SampleSource, Stopped> {
        let Some(pixel_data) = &header.pixel_data else {
            return Err(Stopped::Problem(Problem::no_pixels(kind_of(holding))));
        };
        let format = FrameFormat::from_data_set(&header.data_set, holding.transfer_syntax(), pixel_data)?;
        if matches!(format.encoding, codec::PixelEncoding::Video) {
            return Err(codec::Error::Video.into());
        }
        let unreadable = |err: archive::Error| Stopped::Problem(Problem::of_file(holding, &err));
        if let Some((_, place)) = format.native_rows(frame0, 0..format.rows) {
            let pixels = archive.native_pixels(holding, header, place.offset, place.length);
            if let Some(pixels) = pixels.map_err(unreadable)? {
                let (holding, decoder) = (holding.clone(), Arc::clone(decoder));
                let source = NativeSource { holding, pixels, format, decoder };
                return Ok(SampleSource::Native(Box::new(source)));
            }
        }
        let native = format.native_frame(frame0);
        let frame = match native {
            Some(native) => Frame::Native { offset: native.offset, length: native.length },
            None => Frame::Encapsulated(index(frame0)),
        };
        let encoded = archive.frame_bytes(holding, header, frame).map_err(|err| match err {
            Unreadable::Archive(err) => unreadable(err),
            err => Stopped::Problem(Problem::new(Sign::Broken, &err)),
        })?;
        gone.check()?;
        let first_bit = native.map_or(0, |native| native.first_bit);
        Ok(SampleSource::Decoded(Arc::new(decoder.decode_from_bit(&format, &encoded, first_bit)?)))
    }

    /// Rows and columns of the frame.
    fn size(&self) -> (u32, u32) {
        match self {
            SampleSource::Decoded(decoded) => (decoded.rows, decoded.columns),
            SampleSource::Native(source) => (source.format.rows, source.format.columns),
        }
    }

    /// Every `step`-th of these rows.
    fn rows(&self, rows: Range<u32>, step: usize) -> Result<Decoded, Stopped> {
        let NativeSource { holding, pixels, format, decoder } = match self {
            SampleSource::Decoded(decoded) => return Ok(decoded.band(rows, step)),
            SampleSource::Native(source) => source.as_ref(),
        };
        let unreadable = || codec::Error::TooLarge(format.native_frame_bytes());
        let count = rows.len().div_ceil(step.max(1));
        // As if this frame were the first: the pixels begin with it.
        let (band, place) = format.native_rows(0, rows).ok_or_else(unreadable)?;
        let row = place.length / u64::from(band.rows);
        let bytes = pixels.read_every(place.offset, row, step, count);
        let bytes = bytes.map_err(|err| Stopped::Problem(Problem::of_file(holding, &err)))?;
        let rows = u32::try_from(count).map_err(|_| unreadable())?;
        Ok(decoder.decode(&FrameFormat { rows, ..band }, &bytes)?)
    }
}

impl From<codec::Error> for Stopped {
    fn from(err: codec::Error) -> Stopped {
        let sign = if matches!(err, codec::Error::Video) { Sign::Video } else { Sign::Broken };
        Stopped::Problem(Problem::new(sign, &err))
    }
}

impl From<render::Error> for Stopped {
    fn from(err: render::Error) -> Stopped {
        Stopped::Problem(Problem::new(Sign::Broken, &err))
    }
}

/// Frames are counted by a 32-bit number, which every address space of ours holds.
fn index(frame0: u32) -> usize {
    usize::try_from(frame0).unwrap_or(usize::MAX)
}

impl Problem {
    fn new(sign: Sign, err: &dyn std::fmt::Display) -> Problem {
        Problem { sentence: sentence(&err.to_string()), sign }
    }

    fn no_pixels(kind: Kind) -> Problem {
        let sentence = match kind {
            Kind::Image => "This image has no pixel data.".to_owned(),
            kind => format!("This is not an image ({}).", kind.label()),
        };
        let sign = if kind == Kind::Image { Sign::Broken } else { sign_of(kind) };
        Problem { sentence, sign }
    }

    /// The fault is ours, and the log has it.
    fn of_file(holding: &Holding, err: &archive::Error) -> Problem {
        tracing::error!(
            instance = holding.row().sop_instance_uid,
            path = holding.row().path,
            ?err,
            "a stored file cannot be read"
        );
        let sentence = "The stored file of this instance cannot be read. The log of the server says why.";
        Problem { sentence: sentence.to_owned(), sign: Sign::Broken }
    }
}

/// A capital first, a full stop at the end.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters.next().map(|letter| letter.to_uppercase().collect()).unwrap_or_default();
    let rest = letters.as_str();
    let stop = if rest.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{rest}{stop}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_become_sentences() {
        assert_eq!(sentence("the image has no usable Rows"), "The image has no usable Rows.");
        assert_eq!(sentence("this is a video; download it."), "This is a video; download it.");
        assert_eq!(sentence(""), ".");
    }

    #[test]
    fn work_stops_when_the_asker_has_gone() {
        let gone = Gone(Arc::default());
        let asker = Asker(gone.clone());
        assert!(gone.check().is_ok());
        drop(asker);
        assert!(matches!(gone.check(), Err(Stopped::Abandoned)));
    }
}
