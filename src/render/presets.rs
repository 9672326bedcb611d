//! Windows by modality, for the instances that do not bring what the reader wants to see.

use std::borrow::Cow;

use super::voi::{NamedWindow, VoiFunction};

const fn preset(explanation: &'static str, center: f64, width: f64) -> NamedWindow {
    NamedWindow { center, width, explanation: Cow::Borrowed(explanation), function: VoiFunction::Linear }
}

/// In Hounsfield units, as they are in common use.
const CT: &[NamedWindow] = &[
    preset("Brain", 40.0, 80.0),
    preset("Stroke", 40.0, 40.0),
    preset("Subdural", 75.0, 215.0),
    preset("Soft tissue", 50.0, 400.0),
    preset("Mediastinum", 40.0, 350.0),
    preset("Lung", -600.0, 1500.0),
    preset("Abdomen", 60.0, 400.0),
    preset("Liver", 90.0, 150.0),
    preset("Spine", 50.0, 250.0),
    preset("Bone", 500.0, 2000.0),
    preset("Temporal bone", 600.0, 2800.0),
    preset("Angiography", 300.0, 600.0),
];

/// The presets for a Modality (0008,0060); none where values have no fixed scale.
pub fn presets(modality: &str) -> &'static [NamedWindow] {
    if modality == "CT" { CT } else { &[] }
}
