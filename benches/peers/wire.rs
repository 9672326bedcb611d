//! The bench's own end of an association, PS3.7 and PS3.8: blocking, and of a data set nothing is copied.

use std::io::{self, BufRead, BufReader, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use dicom_dictionary_std::uids;
use dicom_ul::pdu::{
    AssociationAC, AssociationRQ, PresentationContextProposed, PresentationContextResultReason,
    RequestorRoles, UserVariableItem,
};
use dicom_ul::{Pdu, read_pdu, write_pdu};

/// The AE title the bench has, as caller and as destination.
pub const AE_TITLE: &str = "BENCH";
/// The largest PDU that is made or taken.
pub const MAXIMUM_PDU: u32 = 131_072;

/// Command Fields, PS3.7 E.1.
pub mod field {
    pub const C_STORE_RQ: u16 = 0x0001;
    pub const C_STORE_RSP: u16 = 0x8001;
    pub const C_GET_RQ: u16 = 0x0010;
    pub const C_FIND_RQ: u16 = 0x0020;
    pub const C_MOVE_RQ: u16 = 0x0021;
    pub const C_CANCEL_RQ: u16 = 0x0FFF;
}

/// Elements of group 0000, PS3.7 E.1.
pub mod element {
    pub const AFFECTED_SOP_CLASS_UID: u16 = 0x0002;
    pub const COMMAND_FIELD: u16 = 0x0100;
    pub const MESSAGE_ID: u16 = 0x0110;
    pub const MESSAGE_ID_BEING_RESPONDED_TO: u16 = 0x0120;
    pub const MOVE_DESTINATION: u16 = 0x0600;
    pub const PRIORITY: u16 = 0x0700;
    pub const COMMAND_DATA_SET_TYPE: u16 = 0x0800;
    pub const STATUS: u16 = 0x0900;
    pub const AFFECTED_SOP_INSTANCE_UID: u16 = 0x1000;
}

/// Command Data Set Type where none follows.
const NO_DATA_SET: u16 = 0x0101;

/// What one presentation context is proposed for. All are proposed in Explicit VR Little Endian.
pub enum Purpose {
    /// To ask for this service.
    Scu(&'static str),
    /// To be sent instances of this SOP class over the same association, PS3.7 D.3.3.4.
    Scp(&'static str),
}

/// A message that has come.
pub struct Message {
    /// Presentation context ID.
    pub context: u8,
    pub command: Command,
    /// Bytes of its data set.
    pub data_set: u64,
}

/// A command set, Implicit VR Little Endian, with its group length.
pub struct Command(Vec<u8>);

/// An open association.
pub struct Association {
    stream: BufReader<TcpStream>,
    /// Bytes of the P-DATA-TF PDU that is being read which have not been.
    left: usize,
    /// Largest variable field of a P-DATA-TF PDU the other end takes, bytes.
    pdu: usize,
}

impl Command {
    /// A command set of these elements, which are in order.
    pub fn new(elements: &[(u16, Vec<u8>)]) -> Command {
        let length: usize = elements.iter().map(|(_, value)| 8 + value.len()).sum();
        let mut bytes = vec![0, 0, 0, 0, 4, 0, 0, 0];
        bytes.extend_from_slice(&(length as u32).to_le_bytes());
        for (element, value) in elements {
            bytes.extend_from_slice(&[0, 0]);
            bytes.extend_from_slice(&element.to_le_bytes());
            bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
            bytes.extend_from_slice(value);
        }
        Command(bytes)
    }

    /// Success for this C-STORE-RQ, PS3.7 9.3.1.2.
    pub fn stored(request: &Command) -> Command {
        let value = |element: u16| request.value(element).unwrap_or_default().to_vec();
        Command::new(&[
            (element::AFFECTED_SOP_CLASS_UID, value(element::AFFECTED_SOP_CLASS_UID)),
            (element::COMMAND_FIELD, number(field::C_STORE_RSP)),
            (element::MESSAGE_ID_BEING_RESPONDED_TO, value(element::MESSAGE_ID)),
            (element::COMMAND_DATA_SET_TYPE, number(NO_DATA_SET)),
            (element::STATUS, number(0)),
            (element::AFFECTED_SOP_INSTANCE_UID, value(element::AFFECTED_SOP_INSTANCE_UID)),
        ])
    }

    /// C-CANCEL-RQ, PS3.7 9.3.2.3.
    pub fn cancel(message_id: u16) -> Command {
        Command::new(&[
            (element::COMMAND_FIELD, number(field::C_CANCEL_RQ)),
            (element::MESSAGE_ID_BEING_RESPONDED_TO, number(message_id)),
            (element::COMMAND_DATA_SET_TYPE, number(NO_DATA_SET)),
        ])
    }

    /// The value of an element, where it is there.
    pub fn value(&self, element: u16) -> Option<&[u8]> {
        let mut elements = self.0.as_slice();
        while let Some((head, rest)) = elements.split_at_checked(8) {
            let length = u32::from_le_bytes(head[4..8].try_into().ok()?) as usize;
            let (value, rest) = rest.split_at_checked(length)?;
            if head[..2] == [0, 0] && head[2..4] == element.to_le_bytes() {
                return Some(value);
            }
            elements = rest;
        }
        None
    }

    /// The number in an element, where it is there.
    pub fn number(&self, element: u16) -> Option<u16> {
        Some(u16::from_le_bytes(self.value(element)?.try_into().ok()?))
    }

    /// Status.
    pub fn status(&self) -> Option<u16> {
        self.number(element::STATUS)
    }
}

/// A number as an element has it.
pub fn number(number: u16) -> Vec<u8> {
    number.to_le_bytes().to_vec()
}

/// A UID as an element has it.
pub fn uid(uid: &str) -> Vec<u8> {
    let mut value = uid.as_bytes().to_vec();
    value.resize(value.len().next_multiple_of(2), 0);
    value
}

/// An AE title as an element has it.
pub fn ae_title(title: &str) -> Vec<u8> {
    let mut value = title.as_bytes().to_vec();
    value.resize(value.len().next_multiple_of(2), b' ');
    value
}

impl Association {
    /// Takes over a connection on which none is open yet.
    pub fn over(stream: TcpStream) -> io::Result<Association> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        let stream = BufReader::with_capacity(256 * 1024, stream);
        Ok(Association { stream, left: 0, pdu: MAXIMUM_PDU as usize })
    }

    /// Opens one with `acceptor`. The contexts get the IDs 1, 3, 5 and so on, and all have to be accepted.
    pub fn open(acceptor: SocketAddr, called: &str, purposes: &[Purpose]) -> io::Result<Association> {
        let mut association = Association::over(TcpStream::connect(acceptor)?)?;
        let mut user_variables = vec![
            UserVariableItem::MaxLength(MAXIMUM_PDU),
            UserVariableItem::ImplementationClassUID("1.2.826.0.1.3680043.10.999".into()),
        ];
        let mut presentation_contexts = Vec::new();
        for (number, purpose) in purposes.iter().enumerate() {
            let (Purpose::Scu(abstract_syntax) | Purpose::Scp(abstract_syntax)) = purpose;
            if matches!(purpose, Purpose::Scp(_)) {
                let roles = RequestorRoles { scu: false, scp: true };
                let syntax = (*abstract_syntax).to_owned();
                user_variables.push(UserVariableItem::ScuScpRoleSelectionSubItem(syntax, roles));
            }
            presentation_contexts.push(PresentationContextProposed {
                id: context_id(number),
                abstract_syntax: (*abstract_syntax).to_owned(),
                transfer_syntaxes: vec![uids::EXPLICIT_VR_LITTLE_ENDIAN.into()],
            });
        }
        association.send_pdu(&Pdu::AssociationRQ(AssociationRQ {
            protocol_version: 1,
            calling_ae_title: AE_TITLE.into(),
            called_ae_title: called.into(),
            application_context_name: uids::DICOM_APPLICATION_CONTEXT.into(),
            presentation_contexts,
            user_variables,
        }))?;
        let Pdu::AssociationAC(answer) = association.read_pdu()? else {
            return Err(io::Error::other("the association was not accepted"));
        };
        association.pdu = longest_pdu(&answer);
        let accepted = answer.presentation_contexts.iter();
        let accepted = accepted.filter(|it| it.reason == PresentationContextResultReason::Acceptance).count();
        if accepted < purposes.len() {
            let all = purposes.len();
            return Err(io::Error::other(format!("{accepted} of {all} presentation contexts were accepted")));
        }
        Ok(association)
    }

    /// The next PDU, which is none of P-DATA-TF.
    pub fn read_pdu(&mut self) -> io::Result<Pdu> {
        let mut bytes = vec![0; 6];
        self.stream.read_exact(&mut bytes)?;
        let length = u32::from_be_bytes([bytes[2], bytes[3], bytes[4], bytes[5]]) as usize;
        bytes.resize(6 + length, 0);
        self.stream.read_exact(&mut bytes[6..])?;
        read_pdu(&bytes[..], MAXIMUM_PDU, false)
            .map_err(io::Error::other)?
            .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
    }

    /// Sends any PDU but those of P-DATA-TF.
    pub fn send_pdu(&mut self, pdu: &Pdu) -> io::Result<()> {
        let mut bytes = Vec::new();
        write_pdu(&mut bytes, pdu).map_err(io::Error::other)?;
        self.stream.get_mut().write_all(&bytes)
    }

    /// The next message, or none where the other end wants to release the association. `keep` gets its data set, in
    /// pieces as they come.
    pub fn next_message(
        &mut self,
        mut keep: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<Option<Message>> {
        let mut command = Vec::new();
        let mut data_set = 0;
        loop {
            if self.left == 0 {
                let mut header = [0; 6];
                self.stream.read_exact(&mut header)?;
                let length = u32::from_be_bytes([header[2], header[3], header[4], header[5]]) as usize;
                match header[0] {
                    4 => self.left = length,
                    5 => {
                        self.pass(length, |_| Ok(()))?;
                        return Ok(None);
                    }
                    kind => return Err(io::Error::other(format!("a PDU of type {kind} between messages"))),
                }
            }
            let mut header = [0; 6];
            self.stream.read_exact(&mut header)?;
            let length = u32::from_be_bytes([header[0], header[1], header[2], header[3]]) as usize;
            let too_long = || io::Error::other("a presentation data value longer than its PDU");
            self.left = self.left.checked_sub(4 + length).ok_or_else(too_long)?;
            let length = length.saturating_sub(2);
            let (context, is_command, is_last) = (header[4], header[5] & 1 != 0, header[5] & 2 != 0);
            if is_command {
                self.pass(length, |bytes| {
                    command.extend_from_slice(bytes);
                    Ok(())
                })?;
            } else {
                data_set += length as u64;
                self.pass(length, &mut keep)?;
            }
            let follows = || Command(command.clone()).number(element::COMMAND_DATA_SET_TYPE);
            if is_last && (!is_command || follows() == Some(NO_DATA_SET)) {
                return Ok(Some(Message { context, command: Command(command), data_set }));
            }
        }
    }

    /// Passes over so many bytes.
    fn pass(&mut self, mut length: usize, mut keep: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        while length > 0 {
            let bytes = self.stream.fill_buf()?;
            if bytes.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let taken = bytes.len().min(length);
            keep(&bytes[..taken])?;
            self.stream.consume(taken);
            length -= taken;
        }
        Ok(())
    }

    /// Sends a message, its data set in parts, with as few writes as the kernel lets it.
    pub fn send(&mut self, context: u8, command: &Command, data_set: &[&[u8]]) -> io::Result<()> {
        let length: usize = data_set.iter().map(|part| part.len()).sum();
        let fragment = self.pdu - 6;
        let headers: Vec<[u8; 12]> = (0..length.div_ceil(fragment))
            .map(|number| {
                let start = number * fragment;
                pdv_header(
                    context,
                    fragment.min(length - start),
                    Fragment::DataSet,
                    start + fragment >= length,
                )
            })
            .collect();
        let command_header = pdv_header(context, command.0.len(), Fragment::Command, true);
        let mut slices = vec![IoSlice::new(&command_header), IoSlice::new(&command.0)];
        let mut parts = data_set.iter().copied().filter(|part| !part.is_empty());
        let mut part: &[u8] = &[];
        for header in &headers {
            slices.push(IoSlice::new(header));
            let mut room = fragment;
            while room > 0 {
                if part.is_empty() {
                    let Some(next) = parts.next() else { break };
                    part = next;
                }
                let (taken, rest) = part.split_at(part.len().min(room));
                slices.push(IoSlice::new(taken));
                room -= taken.len();
                part = rest;
            }
        }
        let mut rest = slices.as_mut_slice();
        while !rest.is_empty() {
            let written = self.stream.get_mut().write_vectored(rest)?;
            IoSlice::advance_slices(&mut rest, written);
        }
        Ok(())
    }

    /// Ends it from our side.
    pub fn release(mut self) -> io::Result<()> {
        self.send_pdu(&Pdu::ReleaseRQ)?;
        self.read_pdu().map(|_| ())
    }
}

/// The ID of presentation context number `number`, from 0 on.
pub fn context_id(number: usize) -> u8 {
    (number * 2 + 1) as u8
}

fn longest_pdu(answer: &AssociationAC) -> usize {
    let asked = answer.user_variables.iter().find_map(|item| match item {
        UserVariableItem::MaxLength(length) => Some(*length),
        _ => None,
    });
    asked.filter(|length| *length > 0).unwrap_or(MAXIMUM_PDU).min(MAXIMUM_PDU) as usize
}

#[derive(PartialEq)]
enum Fragment {
    Command,
    DataSet,
}

/// P-DATA-TF with one presentation data value, PS3.8 9.3.5.
fn pdv_header(context: u8, length: usize, of: Fragment, is_last: bool) -> [u8; 12] {
    let mut header = [4, 0, 0, 0, 0, 0, 0, 0, 0, 0, context, 0];
    header[2..6].copy_from_slice(&(length as u32 + 6).to_be_bytes());
    header[6..10].copy_from_slice(&(length as u32 + 2).to_be_bytes());
    header[11] = u8::from(of == Fragment::Command) | (u8::from(is_last) << 1);
    header
}
