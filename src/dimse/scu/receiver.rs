//! Where what is retrieved by C-GET goes: into the archive, by the same path as what is sent to us, or into a folder.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::Called;
use crate::archive::Archive;
use crate::archive::activity::{Presence, Requestor};
use crate::archive::receive::{Audited, Reception};
use crate::dicom::file_meta;
use crate::dicom::uid::SopInstanceUid;
use crate::dimse::c_store;
use crate::dimse::command::CommandSet;
use crate::dimse::negotiation::PresentationContext;
use crate::dimse::scp::Caller;
use crate::dimse::status::Status;

/// Refusals that are kept in words.
const KEPT_REFUSALS: usize = 5;

/// Takes instances one after the other, and remembers how that went. Its methods wait for the disk.
pub struct Receiver {
    into: Into,
    current: Current,
    /// Instances that were taken.
    pub stored: u32,
    /// Instances that were not.
    pub refused: u32,
    /// Why, of the first few.
    pub refusals: Vec<String>,
}

enum Into {
    Archive { archive: Archive, caller: Caller, presence: Presence },
    Folder { caller: Caller, folder: PathBuf, next: u32 },
}

enum Current {
    Nothing,
    Archive(Box<Reception>, Option<SopInstanceUid>),
    /// The bytes of a file to be; a data set that is written to a folder has to fit into memory.
    Folder(Vec<u8>),
    Refused(Status, String),
}

impl Receiver {
    /// Into the archive, as sent by this peer.
    pub fn archive(archive: &Archive, from: &Called) -> Receiver {
        let caller = caller(from);
        let presence = archive.activity().begin(Requestor {
            ae_title: caller.ae_title.clone(),
            address: caller.address.clone(),
            is_tls: from.tls.is_some(),
        });
        Receiver::into(Into::Archive { archive: archive.clone(), caller, presence })
    }

    /// Into Part 10 files in this folder, `00001.dcm` and so on behind those that are there.
    pub fn folder(folder: &Path, from: &Called) -> io::Result<Receiver> {
        std::fs::create_dir_all(folder)?;
        Ok(Receiver::into(Into::Folder { caller: caller(from), folder: folder.to_owned(), next: 1 }))
    }

    fn into(into: Into) -> Receiver {
        Receiver { into, current: Current::Nothing, stored: 0, refused: 0, refusals: Vec::new() }
    }

    /// Completes when somebody wants the end of what is under way, on the peers page. Cancel-safe.
    pub(super) async fn aborted(&self) {
        match &self.into {
            Into::Archive { presence, .. } => presence.aborted().await,
            Into::Folder { .. } => std::future::pending().await,
        }
    }

    /// An instance begins.
    pub(super) fn begin(&mut self, context: &PresentationContext, command: &CommandSet) {
        self.current = match &self.into {
            Into::Archive { archive, caller, .. } => match c_store::provenance(caller, context, command) {
                Ok(provenance) => {
                    let uid = provenance.said.sop_instance().cloned();
                    Current::Archive(Box::new(archive.receive(provenance)), uid)
                }
                Err((status, comment)) => Current::Refused(status, comment),
            },
            Into::Folder { caller, .. } => match head(caller, context, command) {
                Ok(head) => Current::Folder(head),
                Err((status, comment)) => Current::Refused(status, comment),
            },
        };
    }

    /// More of its data set.
    pub(super) fn push(&mut self, fragment: Vec<u8>) {
        match &mut self.current {
            Current::Archive(reception, _) => reception.push(fragment.into()),
            Current::Folder(file) => file.extend_from_slice(&fragment),
            Current::Nothing | Current::Refused(..) => {}
        }
    }

    /// Its end, and what the peer is answered.
    pub(super) async fn finish(&mut self, context: &PresentationContext, command: &CommandSet) -> CommandSet {
        let current = std::mem::replace(&mut self.current, Current::Nothing);
        let (status, comment) = match (current, &mut self.into) {
            (Current::Archive(reception, uid), Into::Archive { presence, .. }) => {
                let result = presence.guarded(reception.finish()).await;
                if let Ok(stored) = &result {
                    presence.stored(&stored.study_instance_uid);
                }
                c_store::outcome(&result, context, uid.as_ref())
            }
            (Current::Folder(file), Into::Folder { folder, next, .. }) => match write(folder, next, &file) {
                Ok(()) => (Status::SUCCESS, String::new()),
                Err(err) => (Status::OUT_OF_RESOURCES, format!("Cannot write the file: {err}")),
            },
            (Current::Refused(status, comment), _) => (status, comment),
            _ => (Status::CANNOT_UNDERSTAND, "There was no instance".to_owned()),
        };
        if status.is_done() {
            self.stored += 1;
        } else {
            self.refused += 1;
            if self.refusals.len() < KEPT_REFUSALS {
                self.refusals.push(comment.clone());
            }
        }
        c_store::response(command, status, &comment)
    }
}

fn caller(from: &Called) -> Caller {
    Caller {
        ae_title: from.ae_title.to_string(),
        address: from.host.clone(),
        called_ae_title: from.ae_title.clone(),
        audited: Audited::default(),
    }
}

/// What stands before the data set in its file.
fn head(
    caller: &Caller,
    context: &PresentationContext,
    command: &CommandSet,
) -> Result<Vec<u8>, (Status, String)> {
    let named = c_store::provenance(caller, context, command)?;
    let head = file_meta::head(
        named.said.sop_class(),
        named.said.sop_instance(),
        &named.transfer_syntax,
        &named.source.ae_title,
    );
    head.map_err(|err| (Status::CANNOT_UNDERSTAND, err.to_string()))
}

/// Under the next number that is free.
fn write(folder: &Path, next: &mut u32, bytes: &[u8]) -> io::Result<()> {
    loop {
        let path = folder.join(format!("{next:05}.dcm"));
        *next += 1;
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(mut file) => {
                file.write_all(bytes)?;
                return file.sync_all();
            }
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {}
            Err(err) => return Err(err),
        }
    }
}
