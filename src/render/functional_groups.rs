//! Functional groups of multi-frame instances, PS3.3 C.7.6.16.

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use crate::dicom::data_set::DataSet;

/// The item of a functional group macro for a frame: its own, or the one all frames share.
pub fn of_frame(attributes: &DataSet, frame0: usize, group: Tag) -> Option<&DataSet> {
    let own = attributes
        .items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE)
        .get(frame0)
        .and_then(|frame| frame.first_item(group));
    own.or_else(|| attributes.first_item(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE)?.first_item(group))
}
