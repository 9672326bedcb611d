//! Frames and pixel data, PS3.18 sections 10.4.1.1.5 and 10.4.1.1.7: as they are stored, or without their compression for
//! those who do not take that.

use std::io;
use std::sync::Arc;

use actix_web::body::SizedStream;
use actix_web::web::{Data, block};
use actix_web::{HttpRequest, HttpResponse};
use dicom_dictionary_std::{tags, uids};
use futures_util::future::ready;
use futures_util::{Stream, StreamExt, stream};

use super::found::Found;
use super::{
    VARY, broken, broken_in_words, bulkdata, bytes, content_type, first_of_each_series, is_seen,
    not_modified, ranges, tag_of, tagged, unconvertible,
};
use crate::archive::retrieve::transcode::{Target, targets};
use crate::archive::retrieve::{Bulk, Header, Holding};
use crate::dicom::json::ElementPath;
use crate::dicom::uid::{Encoding, TransferSyntaxUid};
use crate::web::App;
use crate::web::access::Caller;
use crate::web::dicomweb::media::{self, Range};
use crate::web::dicomweb::multipart::{self, Part, cut_off};
use crate::web::dicomweb::rendered::{self, ShownAs};
use crate::web::dicomweb::{Named, address, root};
use crate::web::error::Error;
use crate::web::picture::{frame_of, series_seen};

/// Frames in one answer.
const MOST_FRAMES: usize = 1000;
const BYTES: &str = "application/octet-stream";

/// `GET /dicom-web/studies/{study}/series/{series}/instances/{instance}/frames/{frames}`
pub async fn get(
    caller: Caller,
    app: Data<App>,
    request: HttpRequest,
    named: Named,
) -> Result<HttpResponse, Error> {
    let holding = named.only(&app, &caller).await?;
    let list = request.match_info().query("frames");
    let wanted = listed(&holding, list)?;
    let count = u64::try_from(wanted.len()).unwrap_or(u64::MAX);
    let chosen = chosen(&ranges(&request), holding.transfer_syntax(), count)?;
    if chosen.is_single && wanted.len() > 1 {
        return Err(Error::NotAcceptable("Several frames come as multipart/related.".to_owned()));
    }
    series_seen(&app, &caller, &holding).await?;
    let form = format!("{} {} {}", chosen.name, chosen.syntax, chosen.is_single);
    let tag = tag_of(&holding, &format!("frames {list}"), &form);
    if is_seen(&request, &tag) {
        return Ok(not_modified(tag, VARY));
    }
    let location = address(&root(&caller), &holding);
    let frames = Frames::open(app, holding, &chosen, location).await?;
    // What cannot be read is found out before anything is sent.
    let first = wanted.first().copied().ok_or(Error::NotFound)?;
    let first_found = frames.clone().read(first).await?;
    if chosen.is_single {
        return tagged(frames.alone(first_found), tag);
    }
    let first = stream::once(ready(Ok(frames.part(first, first_found))));
    let all = first.chain(frames.parts(wanted.into_iter().skip(1)));
    tagged(multipart::answer(chosen.name, all), tag)
}

/// `GET …/pixeldata` of an instance, a series or a study: all frames of all of its images. A video comes as a stream.
pub async fn pixel_data(
    caller: Caller,
    app: Data<App>,
    request: HttpRequest,
    named: Named,
) -> Result<HttpResponse, Error> {
    let mut holdings = named.holdings(&app, &caller).await?;
    let ranges = ranges(&request);
    if let [only] = holdings.as_slice()
        && ShownAs::of(only) == ShownAs::Video
        && ranges.iter().any(|range| range.name.starts_with("video/") || range.name == "*/*")
    {
        return rendered::video(&caller, &app, &request, &ranges, only).await;
    }
    holdings.retain(|holding| holding.row().number_of_frames > 0);
    let frames: u64 = holdings.iter().map(|holding| u64::from(holding.row().number_of_frames)).sum();
    let mut wanted = Vec::with_capacity(holdings.len());
    for holding in &holdings {
        wanted.push((holding.clone(), chosen(&ranges, holding.transfer_syntax(), frames)?));
    }
    let (name, is_single) = match wanted.first() {
        None => return Err(Error::NotFound),
        Some((_, first)) => (first.name, first.is_single),
    };
    if is_single && frames > 1 {
        return Err(Error::NotAcceptable("Several frames come as multipart/related.".to_owned()));
    }
    for holding in first_of_each_series(&holdings) {
        series_seen(&app, &caller, holding).await?;
    }
    let root = root(&caller);
    if is_single && let Some((holding, chosen)) = wanted.pop() {
        let location = address(&root, &holding);
        let frames = Frames::open(app, holding, &chosen, location).await?;
        let only = frames.clone().read(0).await?;
        return Ok(frames.alone(only));
    }
    let parts = stream::iter(wanted).then(move |(holding, chosen)| {
        let (app, location) = (app.clone(), address(&root, &holding));
        async move { of_instance(app, holding, chosen, location).await.map_err(|err| cut_off(&err)) }
    });
    let parts = parts.flat_map(|of_instance| match of_instance {
        Ok(parts) => parts,
        Err(err) => stream::once(ready(Err(err))).boxed_local(),
    });
    Ok(multipart::answer(name, parts))
}

/// All frames of an instance; of a video its stream.
async fn of_instance(
    app: Data<App>,
    holding: Holding,
    chosen: Chosen,
    location: String,
) -> Result<stream::LocalBoxStream<'static, io::Result<Part>>, Error> {
    if ShownAs::of(&holding) == ShownAs::Video {
        let path = ElementPath { items: Vec::new(), tag: tags::PIXEL_DATA };
        let found = bulkdata::value(&app, &holding, &path).await?.ok_or(Error::NotFound)?;
        let kind = content_type(chosen.name, &chosen.syntax);
        let part = Part { kind, location, body: found.whole() };
        return Ok(stream::once(ready(Ok(part))).boxed_local());
    }
    let count = holding.row().number_of_frames;
    let frames = Frames::open(app, holding, &chosen, location).await?;
    let there = frames.header.frames(&frames.holding);
    let missing = (there < count).then(|| {
        let words = format!("there are {there} frames, and not {count}");
        Err(cut_off(&broken_in_words(&words)))
    });
    Ok(frames.parts(0..there).chain(stream::iter(missing)).boxed_local())
}

/// The frames that an address names, counted from 0: `1,5,2`.
pub fn listed(holding: &Holding, list: &str) -> Result<Vec<u32>, Error> {
    let numbers = list.split(',').take(MOST_FRAMES + 1).map(str::trim);
    let frames = numbers.map(|number| frame_of(holding, number)).collect::<Result<Vec<u32>, Error>>()?;
    if frames.len() > MOST_FRAMES {
        return Err(Error::Invalid(format!("At most {MOST_FRAMES} frames come in one answer.")));
    }
    Ok(frames)
}

/// The frames of an instance.
struct Frames {
    app: Data<App>,
    holding: Holding,
    header: Arc<Header>,
    form: Form,
    /// Media type and transfer syntax.
    kind: String,
    /// Of the instance.
    location: String,
}

impl Frames {
    async fn open(
        app: Data<App>,
        holding: Holding,
        chosen: &Chosen,
        location: String,
    ) -> Result<Arc<Frames>, Error> {
        let _processor = app.pictures.processor().await?;
        let header = app.archive.header(&holding).await.map_err(broken)?;
        if header.pixel_data.is_none() {
            return Err(Error::NotFound);
        }
        let kind = content_type(chosen.name, &chosen.syntax);
        Ok(Arc::new(Frames { app: app.clone(), holding, header, form: chosen.form, kind, location }))
    }

    /// A frame, counted from 0.
    async fn read(self: Arc<Frames>, frame0: u32) -> Result<Found, Error> {
        // Decoding takes a processor; reading does not.
        let permit = match self.form {
            Form::Native => Some(self.app.pictures.processor().await?),
            Form::Stored => None,
        };
        let read = move || {
            let _permit = permit;
            let Frames { app, holding, header, form, .. } = &*self;
            let bulk = match form {
                Form::Stored => app.archive.stored(holding, header, frame0).map_err(broken)?,
                Form::Native => {
                    let frame = app.archive.native_frame(holding, header, frame0);
                    Bulk::Read(frame.map_err(unconvertible)?)
                }
            };
            Found::new(&app.pictures, bulk)
        };
        block(read).await.map_err(|err| Error::Unavailable(err.into()))?
    }

    fn parts(self: Arc<Frames>, wanted: impl Iterator<Item = u32>) -> impl Stream<Item = io::Result<Part>> {
        stream::iter(wanted).then(move |frame0| {
            let frames = Arc::clone(&self);
            async move {
                let read = frames.clone().read(frame0).await.map_err(|err| cut_off(&err))?;
                Ok(frames.part(frame0, read))
            }
        })
    }

    fn part(&self, frame0: u32, frame: Found) -> Part {
        let location = format!("{}/frames/{}", self.location, frame0.saturating_add(1));
        Part { kind: self.kind.clone(), location, body: frame.whole() }
    }

    /// An answer of nothing but this frame.
    fn alone(&self, frame: Found) -> HttpResponse {
        let body = SizedStream::new(frame.length(), frame.whole());
        bytes(HttpResponse::Ok(), &self.kind).body(body)
    }
}

/// How frames are to come.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Chosen {
    /// The media type.
    name: &'static str,
    syntax: TransferSyntaxUid,
    form: Form,
    /// Without parts.
    is_single: bool,
}

/// What is done to a frame before it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Nothing.
    Stored,
    /// It is decoded.
    Native,
}

/// As they are stored where that is taken, also where nothing is said; without compression, PS3.18 table 8.7.3-5, where
/// plain bytes are asked for without a transfer syntax, or in Explicit VR Little Endian. `count` is how many are wanted.
fn chosen(ranges: &[Range], stored: &TransferSyntaxUid, count: u64) -> Result<Chosen, Error> {
    const NATIVE: Target = Target::ExplicitVrLittleEndian;
    let own = own_type(stored);
    // What was deflated is the data set, and not a frame of it.
    let stored_as = match stored.encoding() {
        Encoding::Deflated => NATIVE.transfer_syntax(),
        _ => stored.clone(),
    };
    let is_native = |syntax: Option<&str>| syntax.is_none_or(|syntax| syntax == NATIVE.uid());
    let takes_stored = |range: &Range| match range.parameter("transfer-syntax") {
        Some(syntax) => syntax == "*" || syntax == stored.as_str() || syntax == stored_as.as_str(),
        None => range.of_a_part() != BYTES || stored_as.as_str() == NATIVE.uid(),
    };
    let takes_native =
        |range: &Range| is_native(range.parameter("transfer-syntax")) && !targets(stored).is_empty();
    let offered =
        [(BYTES, (BYTES, Form::Stored)), (own, (own, Form::Stored)), (BYTES, (BYTES, Form::Native))];
    let takes_form = |form: Form, range: &Range| match form {
        Form::Stored => takes_stored(range),
        Form::Native => takes_native(range),
    };
    let found = media::choose_where(ranges, &offered, |(_, form), range| {
        takes_form(form, range) && (count == 1 || range.takes_several())
    });
    // Those who take only one are told so.
    let found =
        found.or_else(|| media::choose_where(ranges, &offered, |(_, form), range| takes_form(form, range)));
    if let Some(((name, form), range)) = found {
        return Ok(Chosen {
            name,
            syntax: if form == Form::Native { NATIVE.transfer_syntax() } else { stored_as },
            form,
            is_single: !range.takes_several(),
        });
    }
    let also =
        if targets(stored).is_empty() { "" } else { ", or without compression for application/octet-stream" };
    Err(Error::NotAcceptable(format!(
        "These frames are stored in {stored}. They come as they are for application/octet-stream; \
         transfer-syntax=*{also}."
    )))
}

/// What frames of a transfer syntax are, PS3.18 table 8.7.3-5.
fn own_type(stored: &TransferSyntaxUid) -> &'static str {
    match stored.as_str() {
        uids::JPEG_BASELINE8_BIT
        | uids::JPEG_EXTENDED12_BIT
        | uids::JPEG_LOSSLESS
        | uids::JPEG_LOSSLESS_SV1 => "image/jpeg",
        uids::JPEGLS_LOSSLESS | uids::JPEGLS_NEAR_LOSSLESS => "image/jls",
        uids::JPEG2000_LOSSLESS | uids::JPEG2000 => "image/jp2",
        uids::JPEG2000MC_LOSSLESS | uids::JPEG2000MC => "image/jpx",
        uids::HTJ2K_LOSSLESS | uids::HTJ2K_LOSSLESS_RPCL | uids::HTJ2K => "image/jphc",
        uids::RLE_LOSSLESS => "image/dicom-rle",
        uids::JPEGXL | uids::JPEGXL_LOSSLESS | uids::JPEGXLJPEG_RECOMPRESSION => "image/jxl",
        _ => BYTES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header;
    use actix_web::test::TestRequest;

    /// Media type, transfer syntax, and whether it comes alone.
    fn found(accept: &str, stored: &str) -> Option<(&'static str, String, bool)> {
        let request = TestRequest::get().insert_header((header::ACCEPT, accept)).to_http_request();
        let stored = stored.parse().unwrap();
        let chosen = chosen(&media::ranges(&request, None), &stored, 1).ok()?;
        assert_eq!(chosen.form == Form::Native, chosen.syntax != stored);
        Some((chosen.name, chosen.syntax.to_string(), chosen.is_single))
    }

    #[test]
    fn what_is_taken_is_as_stored_or_without_compression() {
        const NATIVE: &str = "1.2.840.10008.1.2.1";
        const JPEG: &str = uids::JPEG_BASELINE8_BIT;
        const MPEG: &str = uids::MPEG4HP41;
        for (accept, stored, name, syntax, is_single) in [
            ("*/*", JPEG, BYTES, JPEG, false),
            ("multipart/related; type=application/octet-stream; transfer-syntax=*", JPEG, BYTES, JPEG, false),
            ("multipart/related; type=\"application/octet-stream\"", JPEG, BYTES, NATIVE, false),
            ("application/octet-stream", JPEG, BYTES, NATIVE, true),
            ("application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1", JPEG, BYTES, NATIVE, true),
            ("multipart/related; type=image/jpeg", JPEG, "image/jpeg", JPEG, false),
            // Of equals the stored one, and otherwise what is taken more gladly.
            ("application/octet-stream, image/jpeg", JPEG, "image/jpeg", JPEG, true),
            ("application/octet-stream, image/jpeg; q=0.5", JPEG, BYTES, NATIVE, true),
            ("image/jls, application/octet-stream; q=0.5", JPEG, BYTES, NATIVE, true),
            ("application/octet-stream", NATIVE, BYTES, NATIVE, true),
            ("application/octet-stream", "1.2.840.10008.1.2", BYTES, NATIVE, true),
            ("application/octet-stream; transfer-syntax=*", MPEG, BYTES, MPEG, true),
        ] {
            let expected = Some((name, syntax.to_owned(), is_single));
            assert_eq!(found(accept, stored), expected, "{accept} of {stored}");
        }
        for (accept, stored) in [
            ("image/jpeg", NATIVE),
            ("image/jls", JPEG),
            ("application/octet-stream; transfer-syntax=1.2.840.10008.1.2.5", JPEG),
            ("application/octet-stream", MPEG),
            ("application/octet-stream; q=0", JPEG),
            ("application/octet-stream; q=0, image/jpeg; q=0, */*", JPEG),
        ] {
            assert_eq!(found(accept, stored), None, "{accept} of {stored}");
        }
    }
}
