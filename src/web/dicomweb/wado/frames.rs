//! Frames, PS3.18 section 10.4.1.1.5.

use std::sync::Arc;

use actix_web::web::{Bytes, Data, block};
use actix_web::{HttpRequest, HttpResponse};
use dicom_dictionary_std::uids;
use futures_util::{StreamExt, stream};

use super::{boundary, broken, bytes, content_type, one, ranges};
use crate::archive::Archive;
use crate::archive::retrieve::{Frame, Header, Holding};
use crate::codec::FrameFormat;
use crate::dicom::reencode::Target;
use crate::dicom::uid::{Encoding, TransferSyntaxUid};
use crate::web::App;
use crate::web::access::Caller;
use crate::web::dicomweb::Named;
use crate::web::dicomweb::media::{self, Range};
use crate::web::error::Error;
use crate::web::picture::series_seen;

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
    let list = request.match_info().query("frames");
    let last = usize::try_from(holding.row().number_of_frames.max(1)).unwrap_or(usize::MAX);
    let wanted: Option<Vec<usize>> = list
        .split(',')
        .take(MOST_FRAMES + 1)
        .map(|number| number.trim().parse().ok().filter(|number| (1..=last).contains(number)))
        .collect();
    let wanted = wanted.ok_or(Error::NotFound)?;
    if wanted.len() > MOST_FRAMES {
        return Err(Error::Invalid(format!("At most {MOST_FRAMES} frames come in one answer.")));
    }
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
    let first = frames.clone().read(wanted.first().copied().unwrap_or(1)).await?;
    if is_single {
        return Ok(bytes(HttpResponse::Ok(), &kind).body(first));
    }
    let boundary = boundary();
    let multipart = format!("multipart/related; type=\"{name}\"; boundary={boundary}");
    let end = format!("--{boundary}--\r\n");
    let head = format!("--{boundary}\r\nContent-Type: {kind}\r\n\r\n");
    let part = move |frame: Vec<u8>| Bytes::from([head.as_bytes(), &frame, b"\r\n"].concat());
    let first = one(part(first).to_vec());
    let others = stream::iter(wanted.into_iter().skip(1)).then(move |number| {
        let read = frames.clone().read(number);
        let part = part.clone();
        async move { read.await.map(part).map_err(std::io::Error::other) }
    });
    Ok(bytes(HttpResponse::Ok(), &multipart).streaming(first.chain(others).chain(one(end.into()))))
}

/// The frames of an instance.
struct Frames {
    archive: Archive,
    holding: Holding,
    header: Arc<Header>,
}

impl Frames {
    /// A frame, counted from 1, as it is stored.
    async fn read(self: Arc<Frames>, number: usize) -> Result<Vec<u8>, Error> {
        let read = move || {
            let Frames { archive, holding, header } = &*self;
            let frame0 = number.saturating_sub(1);
            let format = header.pixel_data.as_ref().and_then(|pixels| {
                FrameFormat::from_data_set(&header.data_set, holding.transfer_syntax(), pixels).ok()
            });
            let native = format.and_then(|format| format.native_frame(u32::try_from(frame0).ok()?));
            let frame = match native {
                Some(native) => Frame::Native { offset: native.offset, length: native.length },
                None => Frame::Encapsulated(frame0),
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
