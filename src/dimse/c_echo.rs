//! C-ECHO SCP, PS3.4 Annex A and PS3.7 section 9.3.5.

use dicom_dictionary_std::{tags, uids};

use super::command::{C_ECHO_RSP, CommandSet, NO_DATA_SET};
use super::status::Status;

/// The response: whoever got this far may verify.
pub fn respond(request: &CommandSet) -> CommandSet {
    let mut response = CommandSet::new();
    response.set_uid(tags::AFFECTED_SOP_CLASS_UID, uids::VERIFICATION);
    response.set_u16(tags::COMMAND_FIELD, C_ECHO_RSP);
    response.set_u16(tags::MESSAGE_ID_BEING_RESPONDED_TO, request.u16(tags::MESSAGE_ID).unwrap_or(0));
    response.set_u16(tags::COMMAND_DATA_SET_TYPE, NO_DATA_SET);
    response.set_u16(tags::STATUS, Status::SUCCESS.0);
    response
}
