//! A file that somebody brings, which may come in several stretches: what it is shows at its beginning.

use bytes::{Bytes, BytesMut};

use super::{FileReception, Identity, Intake, Received};
use crate::archive::receive::{Refusal, file_error};
use crate::archive::{Archive, Error};
use crate::storage::Incoming;

/// How a ZIP file begins: with a file in it, or with none.
const ZIP: [&[u8]; 2] = [b"PK\x03\x04", b"PK\x05\x06"];

/// A file that is being brought. Its methods wait for the disk: they belong on a thread that may.
pub struct Upload {
    archive: Archive,
    intake: Intake,
    name: String,
    received: u64,
    kind: Kind,
}

enum Kind {
    /// Too little of it is there to tell.
    Unknown(BytesMut),
    File(Box<FileReception>),
    /// Its list stands at its end, so that all of it has to be there first.
    Zip(Incoming),
    Failed(Error),
}

impl Upload {
    /// Nothing of it has come yet.
    pub fn new(archive: &Archive, intake: Intake, name: String) -> Upload {
        Upload { archive: archive.clone(), intake, name, received: 0, kind: Kind::Unknown(BytesMut::new()) }
    }

    /// How many bytes of it have come.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Takes the next bytes of it.
    pub fn push(&mut self, bytes: Bytes) {
        self.received += bytes.len() as u64;
        match &mut self.kind {
            Kind::Unknown(head) => {
                head.extend_from_slice(&bytes);
                if head.len() >= 4 {
                    self.begin();
                }
            }
            Kind::File(file) => file.push(bytes),
            Kind::Zip(incoming) => {
                if let Err(err) = append(&self.archive, incoming, &bytes) {
                    self.kind = Kind::Failed(err);
                }
            }
            Kind::Failed(_) => {}
        }
    }

    fn begin(&mut self) {
        let Kind::Unknown(head) = &mut self.kind else { return };
        let head = std::mem::take(head).freeze();
        self.kind = if ZIP.iter().any(|zip| head.starts_with(zip)) {
            let storage = &self.archive.inner.storage;
            let begun = storage.begin().map_err(Error::File);
            let begun = begun.and_then(|mut zip| append(&self.archive, &mut zip, &head).map(|()| zip));
            begun.map_or_else(Kind::Failed, Kind::Zip)
        } else {
            let mut file = self.intake.file();
            file.push(head);
            Kind::File(Box::new(file))
        };
    }

    /// All of it has come: puts what is in it into the archive, and says of each file what became of it.
    pub fn finish(mut self, each: &mut dyn FnMut(Received)) {
        self.begin();
        let Upload { mut intake, name, kind, .. } = self;
        let failed = |name, refusal| Received { name, identity: Identity::default(), result: Err(refusal) };
        match kind {
            Kind::File(file) => {
                let mut received = intake.complete(name, *file);
                while let Some(one) = received.or_else(|| intake.next_answer()) {
                    each(one);
                    received = None;
                }
            }
            Kind::Zip(mut incoming) => {
                let unzipped = incoming.file().try_clone().map_err(|err| Refusal::Archive(err.into()));
                let unzipped = unzipped.and_then(|zip| {
                    intake.unzip(zip, each).map_err(|err| Refusal::NotUnzipped(err.to_string()))
                });
                if let Err(refusal) = unzipped {
                    each(failed(name, refusal));
                }
            }
            Kind::Failed(err) => each(failed(name, Refusal::Archive(err))),
            Kind::Unknown(_) => {}
        }
    }
}

fn append(archive: &Archive, incoming: &mut Incoming, bytes: &[u8]) -> Result<(), Error> {
    if !archive.inner.storage.has_room()? {
        return Err(Error::DiskFull);
    }
    incoming.append(bytes).map_err(file_error)
}
