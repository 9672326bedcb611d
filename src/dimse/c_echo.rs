//! C-ECHO SCP, PS3.4 Annex A and PS3.7 section 9.3.5.

use super::command::CommandSet;
use super::status::Status;

/// The response: whoever got this far may verify.
pub fn respond(request: &CommandSet) -> CommandSet {
    CommandSet::response_to(request, Status::SUCCESS)
}
