//! WADO-URI, PS3.18 section 9: one instance, or a picture of it, by the parameters of one address. The rights and the
//! trace are those of the same thing by WADO-RS.

use std::str::FromStr;

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::Named;
use super::media::{self, Range};
use super::rendered::{self, Asked, FORMS, Form, Order, PartOfImage, ShownAs, pixels};
use super::wado::Wanted;
use crate::archive::retrieve::Holding;
use crate::db::audit::Action;
use crate::db::role::Right;
use crate::dicom::sop_class::Kind;
use crate::web::App;
use crate::web::access::{Caller, NOT_ALLOWED};
use crate::web::error::Error;
use crate::web::instance::about;
use crate::web::picture::{frame_of, kind_of};

/// What stands behind the question mark.
#[derive(Debug)]
struct Parameters {
    named: Named,
    /// Before the Accept header.
    content_type: Option<String>,
    transfer_syntax: Option<String>,
    frame: Option<String>,
    charset: Option<String>,
    asked: Asked,
}

/// What an instance comes as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comes {
    /// A Part 10 file.
    File,
    Picture(Form),
    /// Whatever it is shown as that is no picture.
    Shown,
}

/// `GET /wado?requestType=WADO&studyUID=&seriesUID=&objectUID=`
pub async fn get(caller: Caller, app: Data<App>, request: HttpRequest) -> Result<HttpResponse, Error> {
    let parameters = Parameters::parse(request.query_string())?;
    let Parameters { named, content_type, transfer_syntax, frame, charset, asked } = parameters;
    let holding = named.only(&app, &caller).await?;
    let ranges = media::ranges(&request, content_type.as_deref());
    let shown_as = ShownAs::of(&holding);
    let comes = comes(&ranges, &holding, shown_as, frame.is_some())?;
    match (comes, shown_as) {
        (Comes::File, _) => file(&caller, &app, holding, transfer_syntax.as_deref()).await,
        (Comes::Picture(form), _) => {
            let order = Order { asked: asked.clone(), form };
            match frame {
                Some(frame) => {
                    let frame0 = frame_of(&holding, &frame)?;
                    rendered::one(&caller, &app, &request, &holding, frame0, &order).await
                }
                None => {
                    let form = [Range::of(form.name())];
                    rendered::pictures(&caller, app, &request, &form, holding, asked).await
                }
            }
        }
        (Comes::Shown, ShownAs::Video) => rendered::video(&caller, &app, &request, &ranges, &holding).await,
        (Comes::Shown, ShownAs::Document) => rendered::document(&caller, &app, &ranges, &holding).await,
        (Comes::Shown, _) => {
            is_utf8(charset.as_deref())?;
            rendered::report(&caller, &app, &ranges, &holding).await
        }
    }
}

/// In which form, of those that are taken: one frame as a picture and a report as a page, if nothing is said, and
/// everything else as the file.
fn comes(ranges: &[Range], holding: &Holding, shown_as: ShownAs, is_frame: bool) -> Result<Comes, Error> {
    const FILE: (&str, Comes) = ("application/dicom", Comes::File);
    let pictures = FORMS.map(|(name, form)| (name, Comes::Picture(form)));
    let is_single = is_frame || holding.row().number_of_frames == 1;
    match shown_as {
        ShownAs::Pictures if is_single => media::choose(ranges, &[pictures.as_slice(), &[FILE]].concat()),
        ShownAs::Pictures => media::choose(ranges, &[[FILE].as_slice(), &pictures].concat()),
        ShownAs::Report if matches!(kind_of(holding), Kind::Report | Kind::KeyObjects) => {
            media::choose(ranges, &[("text/html", Comes::Shown), FILE])
        }
        ShownAs::Report => media::choose(ranges, &[FILE, ("text/html", Comes::Shown)]),
        // Which type these are stands within them.
        ShownAs::Video | ShownAs::Document => Ok(media::choose(ranges, &[FILE]).unwrap_or(Comes::Shown)),
    }
}

async fn file(
    caller: &Caller,
    app: &App,
    holding: Holding,
    transfer_syntax: Option<&str>,
) -> Result<HttpResponse, Error> {
    if !caller.may(Right::Download) {
        return Err(Error::Forbidden(NOT_ALLOWED));
    }
    let entry = about(caller, Action::Download, &holding);
    let wanted = Wanted::of(holding, transfer_syntax)?;
    caller.record(app, entry).await?;
    wanted.answer(app).await
}

/// Text comes in UTF-8, whatever it is stored in.
fn is_utf8(charset: Option<&str>) -> Result<(), Error> {
    let names =
        charset.unwrap_or("*").split(',').map(|name| name.split(';').next().unwrap_or_default().trim());
    let is_taken = |name: &str| name == "*" || name.eq_ignore_ascii_case("utf-8");
    if names.into_iter().any(is_taken) {
        return Ok(());
    }
    Err(Error::NotAcceptable("Text comes in UTF-8: leave charset out, or ask for UTF-8.".to_owned()))
}

impl Parameters {
    fn parse(query_string: &str) -> Result<Parameters, Error> {
        let pairs: Vec<(String, String)> =
            url::form_urlencoded::parse(query_string.as_bytes()).into_owned().collect();
        let value = |name: &str| {
            let found = pairs.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
        };
        if value("requestType") != Some("WADO") {
            return Err(invalid("requestType has to be WADO."));
        }
        if value("anonymize").is_some_and(|word| word != "no") {
            return Err(invalid(
                "Nothing is anonymized here: ask without anonymize, and anonymize what comes.",
            ));
        }
        if value("presentationUID").is_some() || value("presentationSeriesUID").is_some() {
            return Err(invalid("Presentation states are not applied to pictures here."));
        }
        let named = Named {
            study: Some(uid("studyUID", value("studyUID"))?),
            series: Some(uid("seriesUID", value("seriesUID"))?),
            instance: Some(uid("objectUID", value("objectUID"))?),
        };
        let mut asked = Asked::nothing(None);
        let side = |name| value(name).map(|text| pixels(name, text)).transpose();
        let (rows, columns) = (side("rows")?, side("columns")?);
        if rows.or(columns).is_some() {
            asked.set_size(columns, rows);
        }
        if let Some(region) = value("region") {
            asked.set_part(part(region)?);
        }
        asked.set_center_and_width(value("windowCenter"), value("windowWidth"))?;
        if let Some(quality) = value("imageQuality") {
            asked.set_quality("imageQuality", quality)?;
        }
        if let Some(annotation) = value("annotation") {
            asked.set_annotation(annotation)?;
        }
        let owned = |name| value(name).map(str::to_owned);
        Ok(Parameters {
            named,
            content_type: owned("contentType"),
            transfer_syntax: owned("transferSyntax"),
            // The second is what some viewers call it.
            frame: owned("frameNumber").or_else(|| owned("frame")),
            charset: owned("charset"),
            asked,
        })
    }
}

fn uid<T: FromStr>(name: &str, value: Option<&str>) -> Result<T, Error> {
    let value = value.ok_or_else(|| Error::Invalid(format!("{name} is missing.")))?;
    value.parse().map_err(|_| Error::NotFound)
}

/// `region=left,top,right,bottom`, each from 0 to 1, PS3.18 section 9.1.2.2.
fn part(text: &str) -> Result<PartOfImage, Error> {
    let numbers: Vec<f64> = text.split(',').filter_map(|number| number.trim().parse().ok()).collect();
    let wrong = || invalid("region is left, top, right and bottom of a part, each from 0 to 1.");
    let [left, top, right, bottom] = *numbers.as_slice() else { return Err(wrong()) };
    let is_within = [left, top, right, bottom].iter().all(|edge| (0.0..=1.0).contains(edge));
    if text.split(',').count() != 4 || !is_within || left >= right || top >= bottom {
        return Err(wrong());
    }
    Ok(PartOfImage::Shares([left, top, right, bottom]))
}

fn invalid(sentence: &str) -> Error {
    Error::Invalid(sentence.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "requestType=WADO&studyUID=1.2&seriesUID=1.2.3&objectUID=1.2.3.4";

    fn refused(query: &str) -> String {
        Parameters::parse(query).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn the_parameters_of_the_standard_are_read() {
        let query = format!("{ONE}&contentType=image/png,image/jpeg&frameNumber=3&rows=64&region=0,0.5,1,1");
        let parameters = Parameters::parse(&query).unwrap();
        assert_eq!(parameters.content_type.as_deref(), Some("image/png,image/jpeg"));
        assert_eq!(parameters.frame.as_deref(), Some("3"));
        let view = parameters.asked.view(100, 100).unwrap();
        assert_eq!(
            (view.height, view.width, view.region.map(|region| region.top)),
            (Some(64), None, Some(50))
        );
    }

    #[test]
    fn what_is_not_done_is_refused_in_words() {
        assert!(refused("studyUID=1.2").contains("requestType"));
        assert!(refused("requestType=WADO&studyUID=1.2&seriesUID=1.3").contains("objectUID"));
        for (more, word) in [
            ("anonymize=yes", "anonymized"),
            ("presentationUID=1.2", "Presentation"),
            ("region=0,0,1", "region"),
            ("region=0.5,0,0.5,1", "region"),
            ("region=0,0,1,x", "region"),
            ("rows=0", "rows"),
            ("windowCenter=40", "window"),
            ("imageQuality=101", "imageQuality"),
            ("annotation=all", "annotation"),
        ] {
            let sentence = refused(&format!("{ONE}&{more}"));
            assert!(sentence.contains(word), "{more}: {sentence}");
        }
    }

    #[test]
    fn text_is_in_utf8() {
        assert!(is_utf8(None).is_ok() && is_utf8(Some("ISO-8859-1, UTF-8;q=0.5")).is_ok());
        assert!(is_utf8(Some("ISO-8859-1")).is_err());
    }
}
