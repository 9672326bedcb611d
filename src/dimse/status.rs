//! DIMSE status codes, PS3.7 Annex C and the tables of PS3.4 that the services name.

/// The value of Status (0000,0900) in a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Status(pub u16);

impl Status {
    /// PS3.7 C.1.1.
    pub const SUCCESS: Status = Status(0x0000);
    /// PS3.7 C.5.21: the service could not be performed.
    pub const PROCESSING_FAILURE: Status = Status(0x0110);
    /// PS3.7 C.5.14: the SOP instance is not known here.
    pub const NO_SUCH_SOP_INSTANCE: Status = Status(0x0112);
    /// PS3.7 C.5.11: the type of the event is not known.
    pub const NO_SUCH_EVENT_TYPE: Status = Status(0x0113);
    /// PS3.7 C.5.9: a value of the data set is missing or inappropriate.
    pub const INVALID_ARGUMENT_VALUE: Status = Status(0x0115);
    /// PS3.7 C.5.15: the SOP class is not known here.
    pub const NO_SUCH_SOP_CLASS: Status = Status(0x0118);
    /// PS3.7 C.5.10: the type of the action is not known.
    pub const NO_SUCH_ACTION: Status = Status(0x0123);
    /// PS3.7 C.5.23: the same may be asked again later, or less of it.
    pub const RESOURCE_LIMITATION: Status = Status(0x0213);
    /// PS3.7 C.5.26: the SCP does not offer this service.
    pub const UNRECOGNIZED_OPERATION: Status = Status(0x0211);
    /// PS3.7 C.5.13: a parameter of the command is missing or wrong.
    pub const MISTYPED_ARGUMENT: Status = Status(0x0212);
    /// PS3.7 C.5.25: the SOP class is not what the presentation context negotiated.
    pub const SOP_CLASS_NOT_SUPPORTED: Status = Status(0x0122);

    /// PS3.4 Table B.2-1: out of resources; the same instance may be sent again later.
    pub const OUT_OF_RESOURCES: Status = Status(0xA700);
    /// PS3.4 Table B.2-1, failure: data set does not match SOP class, or the instance that the command names.
    pub const DATA_SET_DOES_NOT_MATCH: Status = Status(0xA900);
    /// PS3.4 Tables C.4-2 and C.4-3: unable to calculate the number of matches.
    pub const UNABLE_TO_CALCULATE_MATCHES: Status = Status(0xA701);
    /// PS3.4 Tables C.4-2 and C.4-3: unable to perform the sub-operations.
    pub const UNABLE_TO_PERFORM_SUB_OPERATIONS: Status = Status(0xA702);
    /// PS3.4 Table C.4-2: the move destination is not known.
    pub const MOVE_DESTINATION_UNKNOWN: Status = Status(0xA801);
    /// PS3.4 Tables C.4-2 and C.4-3: done, and one or more failed or had a warning.
    pub const SUB_OPERATIONS_WITH_FAILURES: Status = Status(0xB000);
    /// PS3.4 Table C.4-1, failure: the identifier does not match the SOP class.
    pub const IDENTIFIER_DOES_NOT_MATCH: Status = Status(0xA900);
    /// PS3.4 Table C.4-1, failure: unable to process.
    pub const UNABLE_TO_PROCESS: Status = Status(0xC001);
    /// PS3.4 Tables C.4-1 to C.4-3: it was cancelled.
    pub const CANCEL: Status = Status(0xFE00);
    /// PS3.4 Tables C.4-1 to C.4-3: it goes on.
    pub const PENDING: Status = Status(0xFF00);
    /// PS3.4 Table C.4-1: likewise, and something that was asked for is not known here.
    pub const PENDING_WITH_UNSUPPORTED_KEYS: Status = Status(0xFF01);
    /// PS3.4 Table B.2-1, failure: cannot understand.
    pub const CANNOT_UNDERSTAND: Status = Status(0xC000);
    /// PS3.4 Table B.2-1, warning: what was stored is not filed exactly as it was sent.
    pub const COERCION_OF_DATA_ELEMENTS: Status = Status(0xB000);
    /// PS3.4 Table B.2-1, warning: stored, though the data set does not fit its SOP class.
    pub const DATA_SET_DOES_NOT_MATCH_WARNING: Status = Status(0xB007);

    /// Success or warning: the SCP has done what was asked.
    pub fn is_done(self) -> bool {
        self == Status::SUCCESS || self.0 & 0xF000 == 0xB000 || self.0 == 0x0001
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04X}H", self.0)
    }
}
