//! A requestor scripted byte by byte: what no well-behaved SCU would send.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use dicom_dictionary_std::uids;
use dicom_ul::pdu::{AssociationRQ, PresentationContextProposed, UserVariableItem};
use dicom_ul::{Pdu, read_pdu, write_pdu};
use filmroom::dimse::command::CommandSet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::instance::Instance;

/// A connection on which everything is allowed.
pub struct Peer {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// An association request of CT storage and verification.
pub fn request() -> AssociationRQ {
    let context = |id, abstract_syntax: &str| PresentationContextProposed {
        id,
        abstract_syntax: abstract_syntax.into(),
        transfer_syntaxes: vec![uids::EXPLICIT_VR_LITTLE_ENDIAN.into()],
    };
    AssociationRQ {
        protocol_version: 1,
        calling_ae_title: "SCRIPT".into(),
        called_ae_title: "FILMROOM".into(),
        application_context_name: uids::DICOM_APPLICATION_CONTEXT.into(),
        presentation_contexts: vec![context(1, uids::CT_IMAGE_STORAGE), context(3, uids::VERIFICATION)],
        user_variables: vec![
            UserVariableItem::MaxLength(16_384),
            UserVariableItem::ImplementationClassUID("1.2.3.4".into()),
        ],
    }
}

impl Peer {
    /// Connects.
    pub async fn connect(to: SocketAddr) -> Peer {
        let stream = TcpStream::connect(to).await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        Peer { stream, buffer: Vec::new() }
    }

    /// Connects from this address.
    pub async fn connect_from(from: IpAddr, to: SocketAddr) -> Peer {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::new(from, 0)).expect("an address of this machine");
        let stream = socket.connect(to).await.expect("a connection");
        Peer { stream, buffer: Vec::new() }
    }

    /// Connects and opens the association of [`request`].
    pub async fn associate(to: SocketAddr) -> Peer {
        Peer::associate_with(to, request()).await
    }

    /// Connects and opens an association.
    pub async fn associate_with(to: SocketAddr, request: AssociationRQ) -> Peer {
        let mut peer = Peer::connect(to).await;
        peer.send_pdu(&Pdu::AssociationRQ(request)).await;
        match peer.read_pdu().await {
            Some(Pdu::AssociationAC(_)) => peer,
            other => panic!("not accepted: {other:?}"),
        }
    }

    /// Sends bytes. Returns false where the peer has gone.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// Sends a PDU.
    pub async fn send_pdu(&mut self, pdu: &Pdu) {
        let mut bytes = Vec::new();
        write_pdu(&mut bytes, pdu).expect("a PDU");
        assert!(self.send(&bytes).await, "the peer has gone");
    }

    /// The next PDU; none where the connection is closed or reset.
    pub async fn read_pdu(&mut self) -> Option<Pdu> {
        loop {
            if let Ok(Some(pdu)) = read_pdu(&self.buffer[..], 1 << 20, false) {
                let length = u32::from_be_bytes(self.buffer[2..6].try_into().expect("a length"));
                self.buffer.drain(..6 + usize::try_from(length).expect("a length"));
                return Some(pdu);
            }
            let mut bytes = [0; 4096];
            match tokio::time::timeout(Duration::from_secs(60), self.stream.read(&mut bytes)).await {
                Ok(Ok(0) | Err(_)) => return None,
                Ok(Ok(length)) => self.buffer.extend_from_slice(&bytes[..length]),
                Err(_) => panic!("no answer within a minute"),
            }
        }
    }

    /// The next command set.
    pub async fn read_command(&mut self) -> Option<CommandSet> {
        match self.read_pdu().await {
            Some(Pdu::PData { data }) => {
                let bytes: Vec<u8> = data.into_iter().flat_map(|value| value.data).collect();
                Some(CommandSet::parse(&bytes).expect("a command set"))
            }
            _ => None,
        }
    }

    /// Sends a C-STORE request and its data set in fragments of `size` bytes, and returns the status.
    pub async fn store(&mut self, instance: &Instance, size: usize) -> Option<u16> {
        self.send(&fragments(1, true, &store_command(instance).encode(), size)).await;
        self.send(&fragments(1, false, &instance.data_set, size)).await;
        self.read_command().await?.u16(dicom_dictionary_std::tags::STATUS)
    }

    /// Whether the association still answers a C-ECHO.
    pub async fn echoes(&mut self) -> bool {
        let mut command = CommandSet::new();
        command.set_uid(dicom_dictionary_std::tags::AFFECTED_SOP_CLASS_UID, uids::VERIFICATION);
        command.set_u16(dicom_dictionary_std::tags::COMMAND_FIELD, 0x30);
        command.set_u16(dicom_dictionary_std::tags::MESSAGE_ID, 77);
        command.set_u16(dicom_dictionary_std::tags::COMMAND_DATA_SET_TYPE, 0x0101);
        self.send(&fragments(3, true, &command.encode(), 16_000)).await;
        match self.read_command().await {
            Some(answer) => answer.u16(dicom_dictionary_std::tags::MESSAGE_ID_BEING_RESPONDED_TO) == Some(77),
            None => false,
        }
    }
}

/// The command of a C-STORE request.
pub fn store_command(instance: &Instance) -> CommandSet {
    let mut command = CommandSet::new();
    command.set_uid(dicom_dictionary_std::tags::AFFECTED_SOP_CLASS_UID, &instance.sop_class_uid);
    command.set_u16(dicom_dictionary_std::tags::COMMAND_FIELD, 1);
    command.set_u16(dicom_dictionary_std::tags::MESSAGE_ID, 1);
    command.set_u16(dicom_dictionary_std::tags::PRIORITY, 0);
    command.set_u16(dicom_dictionary_std::tags::COMMAND_DATA_SET_TYPE, 1);
    command.set_uid(dicom_dictionary_std::tags::AFFECTED_SOP_INSTANCE_UID, &instance.sop_instance_uid);
    command
}

/// P-DATA-TF PDUs of one fragment each.
pub fn fragments(context_id: u8, is_command: bool, bytes: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let count = bytes.chunks(size).count();
    for (index, chunk) in bytes.chunks(size).enumerate() {
        let value_length = u32::try_from(chunk.len() + 2).expect("a short fragment");
        let control = u8::from(is_command) | if index + 1 == count { 2 } else { 0 };
        out.extend_from_slice(&[4, 0]);
        out.extend_from_slice(&(value_length + 4).to_be_bytes());
        out.extend_from_slice(&value_length.to_be_bytes());
        out.extend_from_slice(&[context_id, control]);
        out.extend_from_slice(chunk);
    }
    out
}
