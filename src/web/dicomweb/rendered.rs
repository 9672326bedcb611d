//! Pictures of instances and frames, and thumbnails, PS3.18 sections 10.4.1.1.3 and 10.4.1.1.6: as the pages draw them, as
//! JPEG or PNG. A document comes as what it is.

use actix_web::http::header::{self, ETag, EntityTag};
use actix_web::web::{Bytes, Data, block};
use actix_web::{HttpRequest, HttpResponse};

use super::wado::{is_seen, ranges};
use super::{Named, media};
use crate::archive::retrieve::Holding;
use crate::db::audit::Action;
use crate::db::role::Right;
use crate::dicom::sop_class::Kind;
use crate::people::trail::Shown;
use crate::render::View;
use crate::web::App;
use crate::web::access::{Caller, NOT_ALLOWED};
use crate::web::error::Error;
use crate::web::instance::document_of;
use crate::web::picture::{Made, NamedView, frame_of, kind_of, series_seen, tag, window};

/// Side of a thumbnail in pixels, unless another viewport is asked for.
const THUMBNAIL: u32 = 256;
/// The largest side of a picture that is asked for.
const MOST_PIXELS: u32 = 8192;
/// Quality of a JPEG, of 100, unless another is asked for.
const QUALITY: u8 = 90;

/// What a picture can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Jpeg,
    Png,
}

/// JPEG first, PS3.18 table 8.7.4-1.
const FORMS: [(&str, Form); 2] = [("image/jpeg", Form::Jpeg), ("image/png", Form::Png)];

/// `GET …/instances/{instance}/rendered`: the middle frame, or the document.
pub async fn instance(
    caller: Caller,
    app: Data<App>,
    request: HttpRequest,
    named: Named,
) -> Result<HttpResponse, Error> {
    let holding = named.only(&app, &caller).await?;
    if matches!(kind_of(&holding), Kind::Pdf | Kind::Cda | Kind::Model) {
        return document(&caller, &app, &request, &holding).await;
    }
    let frame0 = holding.row().number_of_frames / 2;
    answer(&caller, &app, &request, &holding, frame0, None).await
}

/// `GET …/instances/{instance}/frames/{frame}/rendered`
pub async fn frame(
    caller: Caller,
    app: Data<App>,
    request: HttpRequest,
    named: Named,
) -> Result<HttpResponse, Error> {
    let holding = named.only(&app, &caller).await?;
    let frame0 = frame_of(&holding, request.match_info().query("frame"))?;
    answer(&caller, &app, &request, &holding, frame0, None).await
}

/// `GET …/thumbnail` of a study, a series or an instance.
pub async fn thumbnail(
    caller: Caller,
    app: Data<App>,
    request: HttpRequest,
    named: Named,
) -> Result<HttpResponse, Error> {
    let holding = named.middle(&app, &caller).await?;
    let frame0 = holding.row().number_of_frames / 2;
    answer(&caller, &app, &request, &holding, frame0, Some(THUMBNAIL)).await
}

async fn answer(
    caller: &Caller,
    app: &App,
    request: &HttpRequest,
    holding: &Holding,
    frame0: u32,
    side: Option<u32>,
) -> Result<HttpResponse, Error> {
    let asked = Asked::parse(request.query_string(), side)?;
    let form = media::choose(&ranges(request), &FORMS)?;
    let named = NamedView::of(asked.view);
    let drawn = tag(holding, frame0, &named.name);
    let tag = EntityTag::new_strong(format!("{}-{form:?}-{}", drawn.tag(), asked.quality));
    if side.is_some() {
        let study = &holding.row().study_instance_uid;
        let part_of = [Shown::Study(study.clone()), Shown::Listed(study.clone())];
        caller.show_once(app, &part_of, caller.did(Action::ViewStudy, "small picture").study(study)).await?;
    } else {
        series_seen(app, caller, holding).await?;
    }
    if is_seen(request, &tag) {
        return Ok(HttpResponse::NotModified().insert_header(ETag(tag)).finish());
    }
    let png = match app.pictures.picture(app, holding, frame0, &named, drawn.tag()).await? {
        Made::Picture(png) => png,
        Made::Problem(problem) => return Err(Error::NotAcceptable(problem.sentence)),
    };
    let (kind, bytes) = match form {
        Form::Png => ("image/png", png),
        Form::Jpeg => {
            let quality = asked.quality;
            let made = block(move || jpeg(&png, quality)).await;
            ("image/jpeg", made.map_err(|err| Error::Unavailable(err.into()))?.map_err(Error::internal)?)
        }
    };
    Ok(HttpResponse::Ok()
        .insert_header(ETag(tag))
        .insert_header((header::CACHE_CONTROL, "private, no-cache"))
        .insert_header((header::VARY, "Accept, Cookie, Authorization"))
        .insert_header(header::ContentEncoding::Identity)
        .content_type(kind)
        .body(bytes))
}

/// An encapsulated document, which is taken away rather than looked at.
async fn document(
    caller: &Caller,
    app: &App,
    request: &HttpRequest,
    holding: &Holding,
) -> Result<HttpResponse, Error> {
    if !caller.may(Right::Download) {
        return Err(Error::Forbidden(NOT_ALLOWED));
    }
    let (bytes, mime, _) = document_of(app, holding).await?;
    media::choose(&ranges(request), &[(mime, ())])?;
    let row = holding.row();
    let entry = caller.did(Action::Download, format!("instance {}", row.sop_instance_uid));
    caller.record(app, entry.study(&row.study_instance_uid).series(&row.series_instance_uid)).await?;
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'"))
        .insert_header((header::CACHE_CONTROL, "private, no-cache"))
        .content_type(mime)
        .body(bytes))
}

/// What stands behind the question mark, PS3.18 section 8.3.5.1.
#[derive(Debug, PartialEq)]
struct Asked {
    view: View,
    quality: u8,
}

impl Asked {
    fn parse(query_string: &str, side: Option<u32>) -> Result<Asked, Error> {
        let mut view = View {
            window: None,
            window_index: None,
            invert: false,
            width: side,
            height: side,
            overlays: true,
        };
        let mut quality = QUALITY;
        for (name, value) in url::form_urlencoded::parse(query_string.as_bytes()) {
            let parts: Vec<&str> = value.split(',').map(str::trim).collect();
            match (name.as_ref(), parts.as_slice()) {
                ("viewport", [width, height]) => {
                    (view.width, view.height) = (Some(pixels(width)?), Some(pixels(height)?));
                }
                ("viewport", _) => {
                    return Err(invalid(
                        "viewport is a width and a height: parts of a picture are not drawn.",
                    ));
                }
                ("window", [center, width, rest @ ..]) => {
                    if rest.iter().any(|function| !function.eq_ignore_ascii_case("linear")) {
                        return Err(invalid(
                            "window is a centre, a width and linear: other functions are not drawn.",
                        ));
                    }
                    view.window = window(Some(center), Some(width))?;
                }
                ("window", _) => return Err(invalid("window is a centre, a width and a function.")),
                ("quality", [text]) => {
                    let number = text.parse().ok().filter(|quality| (1..=100).contains(quality));
                    quality = number.ok_or_else(|| invalid("quality is a whole number from 1 to 100."))?;
                }
                // Annotation, ICC profile, and what others have beyond the standard: a picture without is a picture.
                _ => {}
            }
        }
        Ok(Asked { view, quality })
    }
}

fn pixels(text: &str) -> Result<u32, Error> {
    let number = text.parse().ok().filter(|pixels| (1..=MOST_PIXELS).contains(pixels));
    number.ok_or_else(|| Error::Invalid(format!("viewport is of whole numbers from 1 to {MOST_PIXELS}.")))
}

fn invalid(sentence: &str) -> Error {
    Error::Invalid(sentence.to_owned())
}

/// The same picture as a JPEG.
fn jpeg(png: &[u8], quality: u8) -> Result<Bytes, crate::web::error::Cause> {
    let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info()?;
    let length = reader.output_buffer_size().ok_or("a picture that fits in no memory")?;
    let mut samples = vec![0; length];
    let frame = reader.next_frame(&mut samples)?;
    samples.truncate(frame.buffer_size());
    let colour = match frame.color_type {
        png::ColorType::Grayscale => jpeg_encoder::ColorType::Luma,
        png::ColorType::Rgb => jpeg_encoder::ColorType::Rgb,
        other => return Err(format!("a picture of kind {other:?}").into()),
    };
    let (width, height) = (u16::try_from(frame.width)?, u16::try_from(frame.height)?);
    let mut bytes = Vec::new();
    jpeg_encoder::Encoder::new(&mut bytes, quality).encode(&samples, width, height, colour)?;
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_viewport_a_window_and_a_quality_are_read() {
        let asked = Asked::parse("viewport=256,128&window=40,400,linear&quality=75&annotation=patient", None);
        let Ok(Asked { view, quality }) = asked else { panic!("{asked:?}") };
        assert_eq!((view.width, view.height, quality), (Some(256), Some(128), 75));
        assert_eq!(view.window.map(|window| (window.center, window.width)), Some((40.0, 400.0)));
        assert_eq!(Asked::parse("", Some(99)).ok().and_then(|asked| asked.view.width), Some(99));
        for wrong in [
            "viewport=0,1",
            "viewport=1",
            "viewport=1,2,3,4,5,6",
            "window=40",
            "window=40,0,linear",
            "window=40,400,sigmoid",
            "quality=0",
            "quality=best",
        ] {
            assert!(Asked::parse(wrong, None).is_err(), "{wrong}");
        }
    }
}
