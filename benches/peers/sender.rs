//! The load: C-STORE SCUs that cost as little as they can, and the sink that says what they can reach.
//!
//! Each association is a thread with blocking writes. A data set goes out with `writev` from where it lies, in P-DATA
//! PDUs of the size the acceptor asked for, and the next one when the response is there (no asynchronous operations,
//! as modalities do).

use std::io::{self, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use dicom_dictionary_std::uids;
use dicom_ul::pdu::{
    AssociationAC, AssociationRQ, PresentationContextProposed, PresentationContextResult,
    PresentationContextResultReason, UserVariableItem,
};
use dicom_ul::{Pdu, read_pdu, write_pdu};

use super::data::Instance;

/// The largest PDU a sender makes, and the sink takes.
const MAXIMUM_PDU: u32 = 131_072;

/// What a run of senders saw.
#[derive(Default, Clone)]
pub struct Sent {
    /// Instances answered with Success.
    pub stored: u64,
    /// Instances answered otherwise, or not at all.
    pub failed: u64,
    /// Bytes of the data sets that were stored.
    pub bytes: u64,
    /// From the first byte of a request to its response, in order of length.
    pub latencies: Vec<Duration>,
    /// From the first request to the last response.
    pub elapsed: Duration,
}

impl Sent {
    /// Instances stored in a second.
    pub fn per_second(&self) -> f64 {
        self.stored as f64 / self.elapsed.as_secs_f64()
    }

    /// Megabytes stored in a second.
    pub fn megabytes_per_second(&self) -> f64 {
        self.bytes as f64 / 1e6 / self.elapsed.as_secs_f64()
    }
}

/// Sends to `acceptor`, on as many associations as there are lists of instances.
pub fn send<I>(acceptor: SocketAddr, called: &str, loads: Vec<I>) -> io::Result<Sent>
where
    I: Iterator<Item = Instance> + Send,
{
    let ready = Barrier::new(loads.len() + 1);
    let (results, elapsed) = std::thread::scope(|scope| {
        let senders: Vec<_> = loads
            .into_iter()
            .map(|load| {
                scope.spawn(|| {
                    let mut instances = load.peekable();
                    let class = instances.peek().map_or(uids::CT_IMAGE_STORAGE, |first| first.sop_class_uid);
                    let association = Association::open(acceptor, called, class);
                    ready.wait();
                    association.and_then(|association| association.send(instances))
                })
            })
            .collect();
        ready.wait();
        let start = Instant::now();
        let results: Vec<_> = senders.into_iter().map(|sender| sender.join()).collect();
        (results, start.elapsed())
    });
    let mut sent = Sent { elapsed, ..Sent::default() };
    for result in results {
        let one = result.map_err(|_| io::Error::other("a sender panicked"))??;
        sent.stored += one.stored;
        sent.failed += one.failed;
        sent.bytes += one.bytes;
        sent.latencies.extend(one.latencies);
    }
    sent.latencies.sort();
    Ok(sent)
}

struct Association {
    stream: TcpStream,
    /// Largest variable field of a P-DATA PDU the acceptor takes, bytes.
    pdu: usize,
}

impl Association {
    fn open(acceptor: SocketAddr, called: &str, sop_class_uid: &str) -> io::Result<Association> {
        let mut stream = TcpStream::connect(acceptor)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let request = Pdu::AssociationRQ(AssociationRQ {
            protocol_version: 1,
            calling_ae_title: "BENCH".into(),
            called_ae_title: called.into(),
            application_context_name: uids::DICOM_APPLICATION_CONTEXT.into(),
            presentation_contexts: vec![PresentationContextProposed {
                id: 1,
                abstract_syntax: sop_class_uid.to_owned(),
                transfer_syntaxes: vec![uids::EXPLICIT_VR_LITTLE_ENDIAN.into()],
            }],
            user_variables: vec![
                UserVariableItem::MaxLength(MAXIMUM_PDU),
                UserVariableItem::ImplementationClassUID("1.2.826.0.1.3680043.10.999".into()),
            ],
        });
        stream.write_all(&encoded(&request)?)?;
        let mut buffer = Vec::new();
        match dicom_pdu(&mut stream, &mut buffer)? {
            Pdu::AssociationAC(answer)
                if answer.presentation_contexts.iter().any(|context| {
                    context.id == 1 && context.reason == PresentationContextResultReason::Acceptance
                }) =>
            {
                let asked = answer.user_variables.iter().find_map(|item| match item {
                    UserVariableItem::MaxLength(length) => Some(*length),
                    _ => None,
                });
                let pdu = asked.filter(|length| *length > 0).unwrap_or(MAXIMUM_PDU).min(MAXIMUM_PDU);
                Ok(Association { stream, pdu: pdu as usize })
            }
            other => Err(io::Error::other(format!("the association was not accepted: {other:?}"))),
        }
    }

    fn send(mut self, instances: impl Iterator<Item = Instance>) -> io::Result<Sent> {
        let mut sent = Sent::default();
        let mut buffer = Vec::new();
        for (number, instance) in instances.enumerate() {
            let start = Instant::now();
            self.request(number as u16, &instance)?;
            read_whole_pdu(&mut self.stream, &mut buffer)?;
            sent.latencies.push(start.elapsed());
            match status(&buffer) {
                Some(0) => {
                    sent.stored += 1;
                    sent.bytes += instance.len() as u64;
                }
                _ => sent.failed += 1,
            }
        }
        self.stream.write_all(&encoded(&Pdu::ReleaseRQ)?)?;
        read_whole_pdu(&mut self.stream, &mut buffer)?;
        Ok(sent)
    }

    fn request(&mut self, message_id: u16, instance: &Instance) -> io::Result<()> {
        let command = store_command(message_id, instance);
        let whole = [instance.header.as_slice(), instance.pixels.as_slice()];
        let length = instance.len();
        let fragment = self.pdu - 6;
        let headers: Vec<[u8; 12]> = (0..length.div_ceil(fragment))
            .map(|number| {
                let start = number * fragment;
                pdv_header(fragment.min(length - start), false, start + fragment >= length)
            })
            .collect();
        let command_header = pdv_header(command.len(), true, true);
        let mut slices = vec![IoSlice::new(&command_header), IoSlice::new(&command)];
        for (number, header) in headers.iter().enumerate() {
            slices.push(IoSlice::new(header));
            let (mut start, end) = (number * fragment, ((number + 1) * fragment).min(length));
            if start < whole[0].len() {
                slices.push(IoSlice::new(&whole[0][start..end.min(whole[0].len())]));
                start = whole[0].len();
            }
            if start < end {
                slices.push(IoSlice::new(&whole[1][start - whole[0].len()..end - whole[0].len()]));
            }
        }
        let mut rest = slices.as_mut_slice();
        while !rest.is_empty() {
            let written = self.stream.write_vectored(rest)?;
            IoSlice::advance_slices(&mut rest, written);
        }
        Ok(())
    }
}

fn encoded(pdu: &Pdu) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    write_pdu(&mut bytes, pdu).map_err(io::Error::other)?;
    Ok(bytes)
}

/// P-DATA-TF with one presentation data value, PS3.8 9.3.5.
fn pdv_header(length: usize, is_command: bool, is_last: bool) -> [u8; 12] {
    let mut header = [4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
    header[2..6].copy_from_slice(&(length as u32 + 6).to_be_bytes());
    header[6..10].copy_from_slice(&(length as u32 + 2).to_be_bytes());
    header[11] = u8::from(is_command) | (u8::from(is_last) << 1);
    header
}

/// C-STORE-RQ, PS3.7 9.3.1.1.
fn store_command(message_id: u16, instance: &Instance) -> Vec<u8> {
    let uid = |uid: &str| {
        let mut value = uid.as_bytes().to_vec();
        value.resize(value.len().next_multiple_of(2), 0);
        value
    };
    let mut elements = Vec::new();
    for (element, value) in [
        (0x0002_u16, uid(instance.sop_class_uid)),
        (0x0100, 1_u16.to_le_bytes().to_vec()),
        (0x0110, message_id.to_le_bytes().to_vec()),
        (0x0700, 0_u16.to_le_bytes().to_vec()),
        (0x0800, 0_u16.to_le_bytes().to_vec()),
        (0x1000, uid(&instance.sop_instance_uid)),
    ] {
        elements.extend_from_slice(&[0, 0]);
        elements.extend_from_slice(&element.to_le_bytes());
        elements.extend_from_slice(&(value.len() as u32).to_le_bytes());
        elements.extend_from_slice(&value);
    }
    let mut command = vec![0, 0, 0, 0, 4, 0, 0, 0];
    command.extend_from_slice(&(elements.len() as u32).to_le_bytes());
    command.extend_from_slice(&elements);
    command
}

/// Status (0000,0900) of a response that came in one PDU.
fn status(pdu: &[u8]) -> Option<u16> {
    let mut elements = pdu.get(12..)?;
    while let Some((head, rest)) = elements.split_at_checked(8) {
        let length = u32::from_le_bytes(head[4..8].try_into().ok()?) as usize;
        let (value, rest) = rest.split_at_checked(length)?;
        if head[..4] == [0, 0, 0, 9] {
            return Some(u16::from_le_bytes(value.try_into().ok()?));
        }
        elements = rest;
    }
    None
}

/// Reads a whole PDU into `buffer`.
fn read_whole_pdu(stream: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.resize(6, 0);
    stream.read_exact(buffer)?;
    let length = u32::from_be_bytes([buffer[2], buffer[3], buffer[4], buffer[5]]) as usize;
    buffer.resize(6 + length, 0);
    stream.read_exact(&mut buffer[6..])
}

fn dicom_pdu(stream: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<Pdu> {
    read_whole_pdu(stream, buffer)?;
    read_pdu(&buffer[..], MAXIMUM_PDU, false)
        .map_err(io::Error::other)?
        .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
}

/// What a sink does with the data set of each instance before it answers.
pub trait Keep: Send {
    /// A fragment has arrived.
    fn fragment(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// The data set is complete.
    fn complete(&mut self) -> io::Result<()>;
}

/// Forgets everything.
pub struct ThrowAway;

impl Keep for ThrowAway {
    fn fragment(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn complete(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sends `loads` to a sink of our own, which does no more than `keep` for each association.
pub fn send_to_sink<I, K>(loads: Vec<I>, keep: impl Fn(usize) -> io::Result<K>) -> io::Result<Sent>
where
    I: Iterator<Item = Instance> + Send,
    K: Keep,
{
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    let keepers = (0..loads.len()).map(keep).collect::<io::Result<Vec<K>>>()?;
    std::thread::scope(|scope| {
        let sinks: Vec<_> = keepers
            .into_iter()
            .map(|keeper| {
                let listener = listener.try_clone();
                scope.spawn(move || swallow(listener?.accept()?.0, keeper))
            })
            .collect();
        let sent = send(address, "SINK", loads);
        for sink in sinks {
            sink.join().map_err(|_| io::Error::other("the sink panicked"))??;
        }
        sent
    })
}

fn swallow(mut stream: TcpStream, mut keeper: impl Keep) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    let Pdu::AssociationRQ(request) = dicom_pdu(&mut stream, &mut buffer)? else {
        return Err(io::Error::other("no association request"));
    };
    let answer = Pdu::AssociationAC(AssociationAC {
        protocol_version: 1,
        calling_ae_title: request.calling_ae_title,
        called_ae_title: request.called_ae_title,
        application_context_name: request.application_context_name,
        presentation_contexts: vec![PresentationContextResult {
            id: 1,
            reason: PresentationContextResultReason::Acceptance,
            transfer_syntax: uids::EXPLICIT_VR_LITTLE_ENDIAN.into(),
        }],
        user_variables: vec![UserVariableItem::MaxLength(MAXIMUM_PDU)],
    });
    stream.write_all(&encoded(&answer)?)?;
    let response = sink_response();
    loop {
        read_whole_pdu(&mut stream, &mut buffer)?;
        match (buffer.first(), buffer.get(11)) {
            (Some(4), Some(control)) if control & 1 == 0 => {
                keeper.fragment(&buffer[12..])?;
                if control & 2 != 0 {
                    keeper.complete()?;
                    stream.write_all(&response)?;
                }
            }
            (Some(4), _) => {}
            _ => return stream.write_all(&encoded(&Pdu::ReleaseRP)?),
        }
    }
}

/// A Success that no sender would look at more closely than ours does.
fn sink_response() -> Vec<u8> {
    let command = [0, 0, 0, 9, 2, 0, 0, 0, 0, 0];
    let mut response = pdv_header(command.len(), true, true).to_vec();
    response.extend_from_slice(&command);
    response
}
