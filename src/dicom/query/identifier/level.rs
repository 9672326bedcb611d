//! Query/Retrieve Levels, and which of them a model has, PS3.4 C.6.

use dicom_dictionary_std::tags;

use super::Refused;
use crate::dicom::data_set::DataSet;
use crate::dicom::query::Level;
use crate::dicom::service::Model;

/// The levels of a model, from its top.
pub(super) fn levels(model: Model) -> &'static [Level] {
    match model {
        Model::PatientRoot => &Level::ALL,
        Model::StudyRoot => &[Level::Study, Level::Series, Level::Image],
        Model::PatientStudyOnly => &[Level::Patient, Level::Study],
    }
}

/// The level an identifier of this model asks for.
pub fn level(model: Model, identifier: &DataSet) -> Result<Level, Refused> {
    let refused = |sentence: String| Refused::of(tags::QUERY_RETRIEVE_LEVEL, sentence);
    let Some(text) = identifier.text(tags::QUERY_RETRIEVE_LEVEL) else {
        return Err(refused("There is no Query/Retrieve Level".to_owned()));
    };
    let Ok(level) = text.parse::<Level>() else {
        return Err(refused("The Query/Retrieve Level is none of the standard's".to_owned()));
    };
    if !levels(model).contains(&level) {
        return Err(refused(format!("This information model has no {} level", level.as_str())));
    }
    Ok(level)
}
