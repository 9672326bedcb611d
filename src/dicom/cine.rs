//! How fast a clip is to be played, PS3.3 C.7.6.5.

use dicom_dictionary_std::tags;

use super::data_set::DataSet;

/// For how long frames are shown, as far as the instance says.
#[derive(Debug, Clone, PartialEq)]
pub struct Cine {
    /// Milliseconds of each frame; of Frame Time Vector the mean.
    pub frame_time: Option<f64>,
    /// Milliseconds from each frame to the next one, where they differ.
    steps: Vec<f64>,
}

impl Cine {
    /// Recommended Display Frame Rate, Cine Rate, Frame Time or Frame Time Vector, whichever is there first.
    pub fn read(attributes: &DataSet) -> Cine {
        let positive = |tag| attributes.number(tag).filter(|number| number.is_finite() && *number > 0.0);
        let of_rate = |rate: f64| 1000.0 / rate;
        let one = positive(tags::RECOMMENDED_DISPLAY_FRAME_RATE)
            .map(of_rate)
            .or_else(|| positive(tags::CINE_RATE).map(of_rate))
            .or_else(|| positive(tags::FRAME_TIME));
        if one.is_some() {
            return Cine { frame_time: one, steps: Vec::new() };
        }
        // The first value belongs to no step.
        let steps: Vec<f64> = attributes.numbers(tags::FRAME_TIME_VECTOR).into_iter().skip(1).collect();
        let mean = steps.iter().sum::<f64>() / steps.len().max(1) as f64;
        Cine { frame_time: Some(mean).filter(|mean| mean.is_finite() && *mean > 0.0), steps }
    }

    /// Milliseconds for which a frame is shown, if the instance says.
    pub fn time_of(&self, frame0: usize) -> Option<f64> {
        let step = self.steps.get(frame0).copied().filter(|step| step.is_finite() && *step > 0.0);
        step.or(self.frame_time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::data_set::{Element, Value};
    use dicom_core::{Tag, VR};

    fn cine(elements: &[(Tag, &str)]) -> Cine {
        let element = |(tag, value): &(Tag, &str)| Element {
            tag: *tag,
            vr: VR::DS,
            value: Value::Bytes(value.as_bytes().to_vec()),
        };
        Cine::read(&DataSet::of(elements.iter().map(element)))
    }

    #[test]
    fn a_rate_comes_before_a_time_and_a_time_before_a_vector() {
        assert_eq!(cine(&[(tags::CINE_RATE, "25"), (tags::FRAME_TIME, "33")]).time_of(7), Some(40.0));
        assert_eq!(
            cine(&[(tags::FRAME_TIME, "33"), (tags::FRAME_TIME_VECTOR, "0\\9")]).time_of(0),
            Some(33.0)
        );
        assert_eq!(cine(&[(tags::FRAME_TIME, "0")]).time_of(0), None);
        assert_eq!(cine(&[]).frame_time, None);
    }

    #[test]
    fn each_step_of_a_vector_is_that_to_the_next_frame() {
        let cine = cine(&[(tags::FRAME_TIME_VECTOR, "0\\100\\200\\300")]);
        assert_eq!(
            (cine.time_of(0), cine.time_of(2), cine.time_of(3)),
            (Some(100.0), Some(300.0), Some(200.0))
        );
    }
}
