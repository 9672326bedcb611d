//! A picture from what was asked for to the bytes of a file.

use actix_web::http::header::EntityTag;
use actix_web::web::{Bytes, block};
use dicom_dictionary_std::tags;

use super::annotation;
use super::asked::{Asked, Profile};
use super::form::{self, Colours, Form};
use crate::archive::retrieve::Holding;
use crate::dicom::data_set::DataSet;
use crate::render::{Picture, Pixels, View, annotate};
use crate::web::App;
use crate::web::dicomweb::wado::broken;
use crate::web::error::{Cause, Error};
use crate::web::picture::{Made, NamedView, tag};

const NOT_CONVERTED: &str = "The colours of this image are described by a profile of their own, and are not converted \
                             to sRGB: ask for iccprofile=yes.";

const TOO_LONG: &str = "The colours of this image are described by a profile that is too long to be read here: ask \
                        without iccprofile.";

/// How pictures are to be made.
#[derive(Debug, Clone)]
pub struct Order {
    /// How they are to look.
    pub asked: Asked,
    /// As which file.
    pub form: Form,
}

impl Order {
    /// What the bytes of a picture follow from.
    pub async fn tag(&self, app: &App, holding: &Holding, frame0: u32) -> Result<EntityTag, Error> {
        let drawn = tag(holding, frame0, &self.view(app, holding).await?.name);
        let Asked { quality, annotation, profile, .. } = &self.asked;
        let words = u8::from(annotation.patient) + 2 * u8::from(annotation.technique);
        let kind = format!("{:?}-{quality}-{words}-{profile:?}", self.form);
        Ok(EntityTag::new_strong(format!("{}-{kind}", drawn.tag())))
    }

    /// The picture of a frame as a file.
    ///
    /// # Errors
    /// `NotAcceptable` with a sentence, where there is no picture of it.
    pub async fn file(&self, app: &App, holding: &Holding, frame0: u32) -> Result<Bytes, Error> {
        let named = self.view(app, holding).await?;
        let png = drawn(app, holding, frame0, &named).await?;
        let (form, Asked { quality, annotation, profile, .. }) = (self.form, self.asked.clone());
        if form == Form::Png && annotation == Default::default() && profile.is_none() {
            return Ok(png);
        }
        self.finished(app, holding, frame0, &named.view, png, move |picture, data_set| {
            let colours = match (profile, data_set) {
                (Some(profile), Some(data_set)) if form != Form::Gif => colours(profile, data_set, &picture)?,
                _ => Colours::Unsaid,
            };
            form::fits(&picture, form)?;
            form::encoded(picture, form, quality, &colours).map_err(Error::internal)
        })
        .await
    }

    /// The picture of a frame with its words, off the asynchronous threads, where `then` makes something of it.
    pub async fn with<T: Send + 'static>(
        &self,
        app: &App,
        holding: &Holding,
        frame0: u32,
        then: impl FnOnce(Picture) -> Result<T, Cause> + Send + 'static,
    ) -> Result<T, Error> {
        let named = self.view(app, holding).await?;
        let png = drawn(app, holding, frame0, &named).await?;
        let form = self.form;
        let then = move |picture, _: Option<&DataSet>| {
            form::fits(&picture, form)?;
            then(picture).map_err(Error::internal)
        };
        self.finished(app, holding, frame0, &named.view, png, then).await
    }

    async fn finished<T: Send + 'static>(
        &self,
        app: &App,
        holding: &Holding,
        frame0: u32,
        view: &View,
        png: Bytes,
        then: impl FnOnce(Picture, Option<&DataSet>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = app.pictures.processor().await?;
        let Asked { annotation, profile, .. } = self.asked;
        let needs_header = annotation != Default::default() || profile.is_some();
        let header = match needs_header {
            true => Some(app.archive.header(holding).await.map_err(broken)?),
            false => None,
        };
        let (view, frames) = (view.clone(), holding.row().number_of_frames);
        let work = move || {
            let _permit = permit;
            let mut picture = form::decoded(&png).map_err(Error::internal)?;
            drop(png);
            let data_set = header.as_ref().map(|header| &header.data_set);
            if let Some(data_set) = data_set {
                annotate(&mut picture, &annotation::corners(data_set, frame0, frames, &view, annotation));
            }
            then(picture, data_set)
        };
        block(work).await.map_err(|err| Error::Unavailable(err.into()))?
    }

    async fn view(&self, app: &App, holding: &Holding) -> Result<NamedView, Error> {
        let (mut rows, mut columns) = (0, 0);
        if self.asked.is_of_a_part() {
            let _processor = app.pictures.processor().await?;
            let header = app.archive.header(holding).await.map_err(broken)?;
            let side = |tag| header.data_set.integer(tag).and_then(|side| u32::try_from(side).ok());
            (rows, columns) = (side(tags::ROWS).unwrap_or(0), side(tags::COLUMNS).unwrap_or(0));
        }
        Ok(NamedView::of(self.asked.view(rows, columns)?))
    }
}

async fn drawn(app: &App, holding: &Holding, frame0: u32, named: &NamedView) -> Result<Bytes, Error> {
    let drawn = tag(holding, frame0, &named.name);
    match app.pictures.picture(app, holding, frame0, named, drawn.tag()).await? {
        Made::Picture(png) => Ok(png),
        Made::Problem(problem) => Err(Error::NotAcceptable(problem.sentence)),
    }
}

/// What can be said of the colours of a picture: PS3.3 C.11.15, also where it stands with the optical path.
fn colours(profile: Profile, data_set: &DataSet, picture: &Picture) -> Result<Colours, Error> {
    let path = data_set.first_item(tags::OPTICAL_PATH_SEQUENCE);
    let item =
        [Some(data_set), path].into_iter().flatten().find(|item| item.element(tags::ICC_PROFILE).is_some());
    let own = item.and_then(|item| item.bytes(tags::ICC_PROFILE));
    if item.is_some() && own.is_none() && matches!(picture.pixels, Pixels::Rgb(_)) {
        return Err(Error::NotAcceptable(TOO_LONG.to_owned()));
    }
    match (own.filter(|own| !own.is_empty()), &picture.pixels) {
        (None, _) | (Some(_), Pixels::Grey(_)) => Ok(Colours::Srgb),
        (Some(own), Pixels::Rgb(_)) => {
            let space = item.and_then(|item| item.text(tags::COLOR_SPACE));
            match profile {
                Profile::Srgb if space.as_deref() != Some("SRGB") => {
                    Err(Error::NotAcceptable(NOT_CONVERTED.to_owned()))
                }
                Profile::Any | Profile::Srgb => Ok(Colours::Own(own.to_vec())),
            }
        }
    }
}
