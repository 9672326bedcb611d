//! Command sets, PS3.7 section 6.3.1 and Annex E: the elements of group 0000 in front of every DIMSE message.
//!
//! They are always Implicit VR Little Endian, whatever the presentation context says, and small. What a peer sends
//! is kept element by element and read by tag, so that one strange element costs that element and not the message.

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use thiserror::Error;

use super::status::Status;

/// C-STORE request, PS3.7 Table E.1-1, Command Field (0000,0100).
pub const C_STORE_RQ: u16 = 0x0001;
/// C-STORE response.
pub const C_STORE_RSP: u16 = 0x8001;
/// C-GET request.
pub const C_GET_RQ: u16 = 0x0010;
/// C-GET response.
pub const C_GET_RSP: u16 = 0x8010;
/// C-FIND request.
pub const C_FIND_RQ: u16 = 0x0020;
/// C-FIND response.
pub const C_FIND_RSP: u16 = 0x8020;
/// C-MOVE request.
pub const C_MOVE_RQ: u16 = 0x0021;
/// C-MOVE response.
pub const C_MOVE_RSP: u16 = 0x8021;
/// C-ECHO request.
pub const C_ECHO_RQ: u16 = 0x0030;
/// C-ECHO response.
pub const C_ECHO_RSP: u16 = 0x8030;
/// N-EVENT-REPORT request.
pub const N_EVENT_REPORT_RQ: u16 = 0x0100;
/// N-EVENT-REPORT response.
pub const N_EVENT_REPORT_RSP: u16 = 0x8100;
/// N-GET request.
pub const N_GET_RQ: u16 = 0x0110;
/// N-GET response.
pub const N_GET_RSP: u16 = 0x8110;
/// N-SET request.
pub const N_SET_RQ: u16 = 0x0120;
/// N-SET response.
pub const N_SET_RSP: u16 = 0x8120;
/// N-ACTION request.
pub const N_ACTION_RQ: u16 = 0x0130;
/// N-ACTION response.
pub const N_ACTION_RSP: u16 = 0x8130;
/// N-CREATE request.
pub const N_CREATE_RQ: u16 = 0x0140;
/// N-CREATE response.
pub const N_CREATE_RSP: u16 = 0x8140;
/// N-DELETE request.
pub const N_DELETE_RQ: u16 = 0x0150;
/// N-DELETE response.
pub const N_DELETE_RSP: u16 = 0x8150;
/// C-CANCEL request, which has no response.
pub const C_CANCEL_RQ: u16 = 0x0FFF;

/// Set in the Command Field of every response.
pub const RESPONSE: u16 = 0x8000;

/// Command Data Set Type (0000,0800) when no data set follows.
pub const NO_DATA_SET: u16 = 0x0101;
/// Command Data Set Type (0000,0800) when one does: any other value would say the same.
pub const DATA_SET_FOLLOWS: u16 = 0x0001;

/// Priority (0000,0700): neither HIGH nor LOW.
pub const PRIORITY_MEDIUM: u16 = 0x0000;

/// Commands are a few hundred bytes; nothing longer is read.
pub const MAXIMUM_LENGTH: usize = 64 * 1024;

/// Error Comment (0000,0902) is an LO: 64 characters of the default repertoire.
const ERROR_COMMENT_CHARACTERS: usize = 64;

/// Bytes before the value of an element: tag and length.
const HEADER: usize = 8;

/// Why bytes are no command set.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum Invalid {
    /// More than [`MAXIMUM_LENGTH`].
    #[error("the command set is longer than {MAXIMUM_LENGTH} bytes")]
    TooLong,
    /// The bytes end within an element.
    #[error("the command set ends within {tag}, which says it has {length} bytes")]
    Truncated {
        /// The element that is cut.
        tag: Tag,
        /// The length it declares.
        length: u32,
    },
    /// The bytes end within the tag and length of an element.
    #[error("the command set ends within the header of an element")]
    TruncatedHeader,
    /// An element of another group than 0000.
    #[error("the command set holds {0}, which is not an element of group 0000")]
    NotACommandElement(Tag),
    /// The same element twice, so that two readers could understand two things.
    #[error("the command set holds {0} twice")]
    Twice(Tag),
}

/// The elements of one command, by ascending tag, without the group length, which is made anew when encoding.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandSet(Vec<(Tag, Vec<u8>)>);

impl CommandSet {
    /// An empty one.
    pub fn new() -> CommandSet {
        CommandSet::default()
    }

    /// The response to a request, PS3.7 section 9.3: to the same message, of the same SOP class, without a data set.
    pub fn response_to(request: &CommandSet, status: Status) -> CommandSet {
        let mut response = CommandSet::new();
        if let Some(uid) = request.uid(tags::AFFECTED_SOP_CLASS_UID).filter(|uid| uid.len() <= 64) {
            response.set_uid(tags::AFFECTED_SOP_CLASS_UID, &uid);
        }
        response.set_u16(tags::COMMAND_FIELD, request.u16(tags::COMMAND_FIELD).unwrap_or(0) | RESPONSE);
        response.set_u16(tags::MESSAGE_ID_BEING_RESPONDED_TO, request.u16(tags::MESSAGE_ID).unwrap_or(0));
        response.set_u16(tags::COMMAND_DATA_SET_TYPE, NO_DATA_SET);
        response.set_u16(tags::STATUS, status.0);
        response
    }

    /// Reads the fragments of one command, put together. The group length is not believed, nor needed.
    pub fn parse(bytes: &[u8]) -> Result<CommandSet, Invalid> {
        if bytes.len() > MAXIMUM_LENGTH {
            return Err(Invalid::TooLong);
        }
        let mut command = CommandSet::new();
        let mut rest = bytes;
        while !rest.is_empty() {
            let Some((&[g0, g1, e0, e1, l0, l1, l2, l3], after)) = rest.split_first_chunk::<HEADER>() else {
                return Err(Invalid::TruncatedHeader);
            };
            let tag = Tag(u16::from_le_bytes([g0, g1]), u16::from_le_bytes([e0, e1]));
            let length = u32::from_le_bytes([l0, l1, l2, l3]);
            if tag.group() != 0x0000 {
                return Err(Invalid::NotACommandElement(tag));
            }
            let value = usize::try_from(length).ok().and_then(|length| after.split_at_checked(length));
            let Some((value, after)) = value else {
                return Err(Invalid::Truncated { tag, length });
            };
            if tag != tags::COMMAND_GROUP_LENGTH && command.put(tag, value.to_vec()).is_some() {
                return Err(Invalid::Twice(tag));
            }
            rest = after;
        }
        Ok(command)
    }

    /// As it goes over the wire, Command Group Length (0000,0000) first.
    pub fn encode(&self) -> Vec<u8> {
        let length: usize = self.0.iter().map(|(_, value)| HEADER + value.len()).sum();
        let mut bytes = Vec::with_capacity(HEADER + 4 + length);
        element(&mut bytes, tags::COMMAND_GROUP_LENGTH, &length_field(length));
        for (tag, value) in &self.0 {
            element(&mut bytes, *tag, value);
        }
        bytes
    }

    /// The raw value, padding included.
    pub fn bytes(&self, tag: Tag) -> Option<&[u8]> {
        let at = self.0.binary_search_by_key(&tag, |(tag, _)| *tag).ok()?;
        self.0.get(at).map(|(_, value)| value.as_slice())
    }

    /// A US element such as Status (0000,0900); none when absent or not exactly two bytes.
    pub fn u16(&self, tag: Tag) -> Option<u16> {
        self.bytes(tag)?.try_into().ok().map(u16::from_le_bytes)
    }

    /// An AE or LO element without its padding; none when absent or empty.
    ///
    /// Only the default repertoire is allowed here, so a byte above 7FH, which is no character of it, is shown as ISO 8859-1.
    pub fn text(&self, tag: Tag) -> Option<String> {
        let text: String = self.bytes(tag)?.iter().copied().map(char::from).collect();
        let text = text.trim_matches([' ', '\0']);
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// A UI element without its padding; none when absent or empty. Whether it is a UID is for the reader to find.
    pub fn uid(&self, tag: Tag) -> Option<String> {
        self.text(tag)
    }

    /// The values of an AT element such as Offending Element (0000,0901).
    pub fn tags(&self, tag: Tag) -> Vec<Tag> {
        let pairs = self.bytes(tag).unwrap_or_default().chunks_exact(4);
        pairs
            .filter_map(|pair| <[u8; 4]>::try_from(pair).ok())
            .map(|[g0, g1, e0, e1]| Tag(u16::from_le_bytes([g0, g1]), u16::from_le_bytes([e0, e1])))
            .collect()
    }

    /// Whether a data set follows: Command Data Set Type (0000,0800) is there and not 0101H.
    pub fn has_data_set(&self) -> bool {
        self.u16(tags::COMMAND_DATA_SET_TYPE).is_some_and(|kind| kind != NO_DATA_SET)
    }

    /// Puts a US element.
    pub fn set_u16(&mut self, tag: Tag, value: u16) {
        self.put(tag, value.to_le_bytes().to_vec());
    }

    /// Puts an AE or LO element, padded with a space. What is not in the default repertoire becomes a question mark.
    pub fn set_text(&mut self, tag: Tag, value: &str) {
        let mut bytes: Vec<u8> = value.chars().map(default_repertoire).collect();
        if bytes.len() % 2 == 1 {
            bytes.push(b' ');
        }
        self.put(tag, bytes);
    }

    /// Puts Error Comment (0000,0902), cut to the 64 characters it may have.
    pub fn set_error_comment(&mut self, comment: &str) {
        let cut: String = comment.chars().take(ERROR_COMMENT_CHARACTERS).collect();
        self.set_text(tags::ERROR_COMMENT, &cut);
    }

    /// Puts a UI element, padded with a NUL.
    pub fn set_uid(&mut self, tag: Tag, value: &str) {
        let mut bytes: Vec<u8> = value.chars().map(default_repertoire).collect();
        if bytes.len() % 2 == 1 {
            bytes.push(0);
        }
        self.put(tag, bytes);
    }

    /// Puts an AT element.
    pub fn set_tags(&mut self, tag: Tag, values: &[Tag]) {
        let bytes = values.iter().flat_map(|value| {
            let ([g0, g1], [e0, e1]) = (value.group().to_le_bytes(), value.element().to_le_bytes());
            [g0, g1, e0, e1]
        });
        self.put(tag, bytes.collect());
    }

    /// Puts a value in its place by tag; gives back the one that stood there.
    fn put(&mut self, tag: Tag, value: Vec<u8>) -> Option<Vec<u8>> {
        match self.0.binary_search_by_key(&tag, |(tag, _)| *tag) {
            Ok(at) => self.0.get_mut(at).map(|(_, old)| std::mem::replace(old, value)),
            Err(at) => {
                self.0.insert(at, (tag, value));
                None
            }
        }
    }
}

fn element(bytes: &mut Vec<u8>, tag: Tag, value: &[u8]) {
    bytes.extend_from_slice(&tag.group().to_le_bytes());
    bytes.extend_from_slice(&tag.element().to_le_bytes());
    bytes.extend_from_slice(&length_field(value.len()));
    bytes.extend_from_slice(value);
}

/// Values come from [`CommandSet::parse`], which is bounded, or from this program, whose texts are short.
fn length_field(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

/// ISO 646 without control characters and without the backslash, which would begin a second value.
fn default_repertoire(character: char) -> u8 {
    match u8::try_from(character) {
        Ok(byte) if (byte.is_ascii_graphic() || byte == b' ') && byte != b'\\' => byte,
        _ => b'?',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo_request() -> CommandSet {
        let mut command = CommandSet::new();
        command.set_u16(tags::COMMAND_DATA_SET_TYPE, NO_DATA_SET);
        command.set_u16(tags::MESSAGE_ID, 7);
        command.set_uid(tags::AFFECTED_SOP_CLASS_UID, "1.2.840.10008.1.1");
        command.set_u16(tags::COMMAND_FIELD, C_ECHO_RQ);
        command
    }

    #[test]
    fn a_c_echo_request_is_encoded_as_the_standard_says() {
        let bytes = echo_request().encode();

        let mut expected = vec![0, 0, 0, 0, 4, 0, 0, 0, 56, 0, 0, 0];
        expected.extend_from_slice(b"\0\0\x02\0\x12\0\0\x001.2.840.10008.1.1\0");
        expected.extend_from_slice(&[0, 0, 0, 1, 2, 0, 0, 0, 0x30, 0]);
        expected.extend_from_slice(&[0, 0, 0x10, 1, 2, 0, 0, 0, 7, 0]);
        expected.extend_from_slice(&[0, 0, 0, 8, 2, 0, 0, 0, 1, 1]);
        assert_eq!(bytes, expected);
    }

    #[test]
    fn what_is_encoded_is_read_again() {
        let mut command = echo_request();
        command.set_text(tags::MOVE_ORIGINATOR_APPLICATION_ENTITY_TITLE, "STORE01");
        command.set_tags(tags::OFFENDING_ELEMENT, &[tags::PATIENT_ID, tags::STUDY_INSTANCE_UID]);

        let read = CommandSet::parse(&command.encode()).expect("our own encoding is valid");

        assert_eq!(read, command);
        assert_eq!(read.u16(tags::MESSAGE_ID), Some(7));
        assert_eq!(read.uid(tags::AFFECTED_SOP_CLASS_UID).as_deref(), Some("1.2.840.10008.1.1"));
        assert_eq!(read.text(tags::MOVE_ORIGINATOR_APPLICATION_ENTITY_TITLE).as_deref(), Some("STORE01"));
        assert_eq!(read.tags(tags::OFFENDING_ELEMENT), [tags::PATIENT_ID, tags::STUDY_INSTANCE_UID]);
        assert!(!read.has_data_set());
    }

    #[test]
    fn a_cut_command_set_is_refused_wherever_it_is_cut() {
        let bytes = echo_request().encode();
        let boundaries = [0, 12, 38, 48, 58, bytes.len()];
        for length in 0..=bytes.len() {
            let read = CommandSet::parse(bytes.get(..length).expect("shorter"));
            assert_eq!(read.is_ok(), boundaries.contains(&length), "cut to {length} bytes: {read:?}");
        }
    }

    #[test]
    fn a_length_that_lies_allocates_nothing_and_is_refused() {
        let bytes = [0, 0, 2, 0, 0xF0, 0xFF, 0xFF, 0xFF, 1];
        assert_eq!(
            CommandSet::parse(&bytes),
            Err(Invalid::Truncated { tag: tags::AFFECTED_SOP_CLASS_UID, length: 0xFFFF_FFF0 })
        );
    }

    #[test]
    fn another_group_a_second_value_and_an_endless_set_are_refused() {
        let patient_id = [0x10, 0, 0x20, 0, 0, 0, 0, 0];
        assert_eq!(CommandSet::parse(&patient_id), Err(Invalid::NotACommandElement(tags::PATIENT_ID)));

        let status = [0, 0, 0, 9, 2, 0, 0, 0, 0, 0];
        assert_eq!(CommandSet::parse(&[status, status].concat()), Err(Invalid::Twice(tags::STATUS)));

        assert_eq!(CommandSet::parse(&vec![0; MAXIMUM_LENGTH + 1]), Err(Invalid::TooLong));
    }

    #[test]
    fn a_number_of_the_wrong_length_is_no_number() {
        let mut command = CommandSet::new();
        command.set_text(tags::STATUS, "long");
        assert_eq!(command.u16(tags::STATUS), None);
    }

    #[test]
    fn an_error_comment_keeps_to_64_characters_of_the_default_repertoire() {
        let mut command = CommandSet::new();
        command.set_error_comment(&format!("größer\\{}", "x".repeat(100)));

        let comment = command.text(tags::ERROR_COMMENT).expect("set");
        assert!(comment.starts_with("gr??er?xxx"), "{comment}");
        assert_eq!(comment.len(), 64);
    }
}
