//! DICOMweb, PS3.18, below `/dicom-web`: for viewers and programs. What is found and shown is what the pages find and
//! show, with the same rights and the same trace.

pub mod media;
mod multipart;
mod parameters;
pub mod qido;
pub mod rendered;
pub mod stow;
pub mod wado;
pub mod wado_uri;
mod xml;

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};

use super::App;
use super::access::Caller;
use super::error::Error;
use crate::archive::retrieve::{ExtentRow, Holding};
use crate::dicom::uid::{SeriesInstanceUid, SopInstanceUid, StudyInstanceUid};

/// Where all of it is.
pub const ROOT: &str = "/dicom-web";
/// But WADO-URI.
pub const WADO_URI: &str = "/wado";

/// The beginning of the addresses of a caller's own view: `https://pacs.local/dicom-web`.
pub(super) fn root(caller: &Caller) -> String {
    format!("{}{}{ROOT}", caller.client.site(), caller.client.prefix)
}

/// The address of an instance, below the beginning that is the same for all.
fn address(root: &str, holding: &Holding) -> String {
    let row = holding.row();
    let (study, series) = (&row.study_instance_uid, &row.series_instance_uid);
    format!("{root}/studies/{study}/series/{series}/instances/{}", row.sop_instance_uid)
}

/// What an address names: the UIDs that stand in it.
#[derive(Debug, Clone)]
pub struct Named {
    study: Option<StudyInstanceUid>,
    series: Option<SeriesInstanceUid>,
    instance: Option<SopInstanceUid>,
}

impl FromRequest for Named {
    type Error = Error;
    type Future = Ready<Result<Named, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        fn uid<T: std::str::FromStr>(request: &HttpRequest, name: &str) -> Result<Option<T>, Error> {
            let text = request.match_info().get(name);
            text.map(str::parse).transpose().map_err(|_| Error::NotFound)
        }
        let named = || {
            let (study, series) = (uid(request, "study")?, uid(request, "series")?);
            Ok(Named { study, series, instance: uid(request, "instance")? })
        };
        ready(named())
    }
}

impl Named {
    /// All of the instances, in the order they are read, if the caller may see them and there is any.
    async fn holdings(&self, app: &App, caller: &Caller) -> Result<Vec<Holding>, Error> {
        let study = self.study.as_ref().ok_or(Error::NotFound)?;
        let (series, instance) = (self.series.as_ref(), self.instance.as_ref());
        let found = app.archive.instances_of(study, series, instance, &caller.visibility).await?;
        if found.is_empty() { Err(Error::NotFound) } else { Ok(found) }
    }

    /// What there is of it, a row for each series, if the caller may see it and there is any.
    async fn extents(&self, app: &App, caller: &Caller) -> Result<Vec<ExtentRow>, Error> {
        let study = self.study.as_ref().ok_or(Error::NotFound)?;
        let (series, instance) = (self.series.as_ref(), self.instance.as_ref());
        let found = app.archive.extents_of(study, series, instance, &caller.visibility).await?;
        if found.is_empty() { Err(Error::NotFound) } else { Ok(found) }
    }

    /// The UIDs, from the study down.
    fn uids(&self) -> Vec<&str> {
        let study = self.study.iter().map(StudyInstanceUid::as_str);
        let series = self.series.iter().map(SeriesInstanceUid::as_str);
        study.chain(series).chain(self.instance.iter().map(SopInstanceUid::as_str)).collect()
    }

    /// The one instance, if the caller may see it.
    async fn only(&self, app: &App, caller: &Caller) -> Result<Holding, Error> {
        self.holdings(app, caller).await?.into_iter().next().ok_or(Error::NotFound)
    }

    /// The instance that stands for what is named, if the caller may see it.
    async fn middle(&self, app: &App, caller: &Caller) -> Result<Holding, Error> {
        let found = match self {
            Named { instance: Some(_), .. } => return self.only(app, caller).await,
            Named { series: Some(series), study, .. } => {
                app.archive.middle_of_series(series, study.as_ref(), &caller.visibility).await?
            }
            Named { study: Some(study), .. } => {
                app.archive.middle_of_study(study, &caller.visibility).await?
            }
            Named { study: None, .. } => None,
        };
        found.map(|(holding, _)| holding).ok_or(Error::NotFound)
    }
}
