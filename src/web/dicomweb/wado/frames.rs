//! Frames, PS3.18 section 10.4.1.1.5.

use std::future::ready;
use std::sync::Arc;

use actix_web::web::{Data, block};
use actix_web::{HttpRequest, HttpResponse};
use dicom_dictionary_std::uids;
use futures_util::{StreamExt, stream};

use super::{broken, bytes, content_type, ranges};
use crate::archive::Archive;
use crate::archive::retrieve::{Frame, Header, Holding};
use crate::codec::FrameFormat;
use crate::dicom::reencode::Target;
use crate::dicom::uid::{Encoding, TransferSyntaxUid};
use crate::web::App;
use crate::web::access::Caller;
use crate::web::dicomweb::media::{self, Range};
use crate::web::dicomweb::multipart::{self, Part, cut_off};
use crate::web::dicomweb::{Named, address, root};
use crate::web::error::Error;
use crate::web::picture::{frame_of, series_seen};

/// Frames in one answer.
const MOST_FRAMES: usize = 1000;

/// `GET /dicom-web/studies/{study}/series/{series}/instances/{instance}/frames/{frames}`: the frames as they are stored.
pub async fn get(
    caller: Caller,
    app: Data<App>,
    request: HttpRequest,
    named: Named,
) -> Result<HttpResponse, Error> {
    let holding = named.only(&app, &caller).await?;
    let wanted = listed(&holding, request.match_info().query("frames"))?;
    let stored = holding.transfer_syntax().clone();
    let (name, is_single) = frame_type(&ranges(&request), &stored)?;
    if is_single && wanted.len() > 1 {
        return Err(Error::NotAcceptable("Several frames come as multipart/related.".to_owned()));
    }
    series_seen(&app, &caller, &holding).await?;
    let _processor = app.pictures.processor().await?;
    let header = app.archive.header(&holding).await.map_err(|err| broken(&err))?;
    if header.pixel_data.is_none() {
        return Err(Error::NotFound);
    }
    // What was deflated is the data set, and not a frame of it.
    let syntax = match stored.encoding() {
        Encoding::Deflated => Target::ExplicitVrLittleEndian.transfer_syntax(),
        _ => stored,
    };
    let kind = content_type(name, &syntax);
    let frames = Arc::new(Frames { archive: app.archive.clone(), holding, header });
    // What cannot be read is found out before anything is sent.
    let first0 = wanted.first().copied().ok_or(Error::NotFound)?;
    let first = frames.clone().read(first0).await?;
    if is_single {
        return Ok(bytes(HttpResponse::Ok(), &kind).body(first));
    }
    let instance = address(&root(&caller), &frames.holding);
    let part = move |frame0: u32, frame: Vec<u8>| {
        Part::of(&kind, format!("{instance}/frames/{}", frame0.saturating_add(1)), frame.into())
    };
    let first = stream::once(ready(Ok(part(first0, first))));
    let others = stream::iter(wanted.into_iter().skip(1)).then(move |frame0| {
        let read = frames.clone().read(frame0);
        let part = part.clone();
        async move { read.await.map(|frame| part(frame0, frame)).map_err(|err| cut_off(&err)) }
    });
    Ok(multipart::answer(name, first.chain(others)))
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
    archive: Archive,
    holding: Holding,
    header: Arc<Header>,
}

impl Frames {
    /// A frame, counted from 0, as it is stored.
    async fn read(self: Arc<Frames>, frame0: u32) -> Result<Vec<u8>, Error> {
        let read = move || {
            let Frames { archive, holding, header } = &*self;
            let format = header.pixel_data.as_ref().and_then(|pixels| {
                FrameFormat::from_data_set(&header.data_set, holding.transfer_syntax(), pixels).ok()
            });
            let native = format.and_then(|format| format.native_frame(frame0));
            let frame = match native {
                Some(native) => Frame::Native { offset: native.offset, length: native.length },
                None => Frame::Encapsulated(usize::try_from(frame0).unwrap_or(usize::MAX)),
            };
            archive.frame_bytes(holding, header, frame)
        };
        let read = block(read).await.map_err(|err| Error::Unavailable(err.into()))?;
        read.map_err(|err| broken(&err))
    }
}

/// What frames of a transfer syntax are, PS3.18 table 8.7.3-5, and whether they come alone.
fn frame_type(ranges: &[Range], stored: &TransferSyntaxUid) -> Result<(&'static str, bool), Error> {
    let own = match stored.as_str() {
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
        _ => "application/octet-stream",
    };
    let offered = [("application/octet-stream", "application/octet-stream"), (own, own)];
    let as_stored = |range: &&Range| {
        range.parameter("transfer-syntax").is_none_or(|syntax| syntax == "*" || syntax == stored.as_str())
    };
    let taken: Vec<Range> = ranges.iter().filter(as_stored).cloned().collect();
    let (name, range) = media::choose_for(&taken, &offered).map_err(|_| {
        Error::NotAcceptable(format!(
            "These frames are stored in {stored}: ask for application/octet-stream; transfer-syntax=*."
        ))
    })?;
    Ok((name, range.name != "multipart/related" && range.name != "*/*"))
}
