//! Storage SCPs that do as little as can be done with what is stored in them: what the senders are measured against,
//! and where C-MOVE goes.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dicom_dictionary_std::uids;
use dicom_ul::Pdu;
use dicom_ul::pdu::{
    AssociationAC, AssociationRQ, PresentationContextResult, PresentationContextResultReason,
    UserVariableItem,
};

use super::wire::{Association, Command, MAXIMUM_PDU};

/// What a sink does with the data set of each instance before it answers.
pub trait Keep: Send {
    /// A part of it has arrived.
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

/// Takes one association and everything that is stored over it, until its release.
pub fn swallow(stream: TcpStream, mut keeper: impl Keep) -> io::Result<()> {
    let mut association = Association::over(stream)?;
    let Pdu::AssociationRQ(request) = association.read_pdu()? else {
        return Err(io::Error::other("no association request"));
    };
    association.send_pdu(&Pdu::AssociationAC(accepted(request)))?;
    while let Some(message) = association.next_message(|bytes| keeper.fragment(bytes))? {
        keeper.complete()?;
        association.send(message.context, &Command::stored(&message.command), &[])?;
    }
    association.send_pdu(&Pdu::ReleaseRP)
}

/// Yes to everything, where possible in Explicit VR Little Endian.
fn accepted(request: AssociationRQ) -> AssociationAC {
    let contexts = request.presentation_contexts.into_iter().map(|proposed| {
        let syntaxes = &proposed.transfer_syntaxes;
        let plain = syntaxes.iter().find(|syntax| syntax.as_str() == uids::EXPLICIT_VR_LITTLE_ENDIAN);
        PresentationContextResult {
            id: proposed.id,
            reason: PresentationContextResultReason::Acceptance,
            transfer_syntax: plain.or(syntaxes.first()).cloned().unwrap_or_default(),
        }
    });
    AssociationAC {
        protocol_version: 1,
        calling_ae_title: request.calling_ae_title,
        called_ae_title: request.called_ae_title,
        application_context_name: request.application_context_name,
        presentation_contexts: contexts.collect(),
        user_variables: vec![UserVariableItem::MaxLength(MAXIMUM_PDU)],
    }
}

/// A sink that is there for as long as the program, and counts.
pub struct Destination {
    /// Where it listens.
    pub address: SocketAddr,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    instances: AtomicU64,
    bytes: AtomicU64,
}

impl Destination {
    /// Starts to listen.
    pub fn start() -> io::Result<Destination> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let counts = Arc::new(Counts::default());
        let kept = Arc::clone(&counts);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let counts = Arc::clone(&kept);
                // An association that breaks is missed in the counts, and there it is looked for.
                std::thread::spawn(move || swallow(stream, Count { counts, bytes: 0 }));
            }
        });
        Ok(Destination { address, counts })
    }

    /// Instances that have come since this was last asked, and bytes of their data sets.
    pub fn taken(&self) -> (u64, u64) {
        (self.counts.instances.swap(0, Ordering::Relaxed), self.counts.bytes.swap(0, Ordering::Relaxed))
    }
}

struct Count {
    counts: Arc<Counts>,
    /// Of the data set that is coming.
    bytes: u64,
}

impl Keep for Count {
    fn fragment(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn complete(&mut self) -> io::Result<()> {
        self.counts.instances.fetch_add(1, Ordering::Relaxed);
        self.counts.bytes.fetch_add(std::mem::take(&mut self.bytes), Ordering::Relaxed);
        Ok(())
    }
}
