//! An instance on its way in: from the first bytes of its data set to the answer its sender gets.
//!
//! ```text
//! bytes -> incoming/*.part (group 0002 by us, then as received; SHA-256 on the way)
//!       -> prescan -> attributes -> fsync, final path, fsync of the directory
//!       -> committer -> answer
//! ```
//! What is in memory is what was read and not yet hashed, at most a megabyte whatever the instance's size: it is
//! hashed while the disk works.

mod audited;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

pub use self::audited::Audited;
use super::commit::{Durable, Failure, NewInstance, Outcome};
use super::{Archive, Error};
use crate::db::audit::{self, Action, Actor, Entry};
use crate::dicom::attributes::{self, Attributes, Note};
use crate::dicom::file_meta;
use crate::dicom::frame_index::FrameIndex;
use crate::dicom::prescan::{self, Limits};
use crate::dicom::uid::{Encoding, SopClassUid, SopInstanceUid, StudyInstanceUid, TransferSyntaxUid};
use crate::storage::{Incoming, Placed, Storage, StoredPath};

/// Files up to this size are on the disk so soon that their rows may be written meanwhile, bytes.
const SOON_DURABLE: u64 = 1024 * 1024;

/// Fragments are collected up to this many bytes; what is longer is written as it came.
const WORTH_WRITING: usize = 64 * 1024;

/// Bytes that may wait to be hashed.
const MOST_UNHASHED: usize = 1024 * 1024;

/// Bytes after which the disk is told to begin.
const BEGIN_EVERY: usize = 1024 * 1024;

/// The longest instance taken. Native Pixel Data ends at 4 GiB (PS3.5 7.1), so this is for encapsulated ones.
const MAXIMUM_BYTES: u64 = 16 * 1024 * 1024 * 1024;

/// What of a data set is looked at when it arrives.
pub const LIMITS: Limits = Limits {
    depth: 64,
    value_bytes: 64 * 1024,
    tree_bytes: 32 * 1024 * 1024,
    inflated_bytes: 4 * 1024 * 1024 * 1024,
    inflate_ratio: 250,
};

/// Where an instance came from and what its sender said of it.
#[derive(Debug, Clone)]
pub struct Provenance {
    /// What it is said to be.
    pub said: Said,
    /// How the data set is encoded.
    pub transfer_syntax: TransferSyntaxUid,
    /// Who it is from.
    pub source: Source,
    /// The one study it may be of, where its sender named one.
    pub only_study: Option<StudyInstanceUid>,
    /// When it began to arrive.
    pub received_at: DateTime<Utc>,
}

/// What an instance is said to be by what comes before its data set.
#[derive(Debug, Clone)]
pub enum Said {
    /// A command said so, and the data set has to be of the same instance.
    ByCommand(SopClassUid, SopInstanceUid),
    /// Group 0002 of a file may have said so. What changes a data set often leaves it as it was, so that it counts only
    /// where the data set says nothing.
    ByFile(Option<SopClassUid>, Option<SopInstanceUid>),
}

impl Said {
    /// Its SOP class.
    pub fn sop_class(&self) -> Option<&SopClassUid> {
        match self {
            Said::ByCommand(uid, _) => Some(uid),
            Said::ByFile(uid, _) => uid.as_ref(),
        }
    }

    /// Its UID.
    pub fn sop_instance(&self) -> Option<&SopInstanceUid> {
        match self {
            Said::ByCommand(_, uid) => Some(uid),
            Said::ByFile(_, uid) => uid.as_ref(),
        }
    }
}

/// Who sends instances.
#[derive(Debug, Clone)]
pub struct Source {
    /// For the audit trail.
    pub actor: Actor,
    /// Likewise: with which token.
    pub details: String,
    /// Calling AE title; empty for who has none.
    pub ae_title: String,
    /// IP address.
    pub address: String,
    /// The studies whose receipt from there stands in the audit trail.
    pub audited: Audited,
}

/// An instance that was stored, or that the archive held already.
#[derive(Debug)]
pub struct Stored {
    /// Stored, held already, or kept beside the one that was there first.
    pub outcome: Outcome,
    /// What it is.
    pub sop_class_uid: SopClassUid,
    /// Which it is.
    pub sop_instance_uid: SopInstanceUid,
    /// What was made up because the data set lacks it.
    pub notes: Vec<Note>,
    /// The study it is filed under.
    pub study_instance_uid: String,
    /// And the series.
    pub series_instance_uid: String,
    /// The SOP class its data set names, which counts, where that is not the command's.
    pub other_sop_class: Option<SopClassUid>,
    /// Likewise the SOP instance, where the command named what cannot be one.
    pub other_sop_instance: Option<SopInstanceUid>,
}

/// Why an instance was not stored.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Its data set cannot be read through.
    #[error("{0}")]
    Unreadable(#[from] prescan::Error),
    /// An identifier in it cannot be used.
    #[error("{0}")]
    Unusable(#[from] attributes::Error),
    /// It is another instance than its sender said.
    #[error("the data set is of another SOP Instance UID than the command")]
    OtherInstance,
    /// It is of another study than the one its sender named.
    #[error("the instance is of another study than the one it was to be stored in")]
    OtherStudy,
    /// It is no DICOM file.
    #[error("this is not a DICOM file")]
    NotDicom,
    /// It is a list of files.
    #[error("a DICOMDIR is a list of files and not an image")]
    Directory,
    /// It came as metadata that is no data set.
    #[error("{0}")]
    Metadata(String),
    /// It could not be taken out of the ZIP file it came in.
    #[error("the ZIP file cannot be read here ({0})")]
    NotUnzipped(String),
    /// It is longer than anything we take.
    #[error("the instance is longer than 16 GiB")]
    TooLong,
    /// Nothing is wrong with it, but it cannot be kept now.
    #[error(transparent)]
    Archive(#[from] Error),
}

/// An instance that is being received. Its methods wait for the disk: they belong on a thread that may.
pub struct Reception {
    archive: Archive,
    provenance: Provenance,
    writing: Writing,
    /// Fragments too small to be written one by one.
    gathered: BytesMut,
    received: u64,
}

enum Writing {
    /// Nothing has been written: the file is made with the first bytes.
    Unopened,
    /// The file is there.
    Open(Box<Written>),
    /// Writing failed; the rest of the bytes is only counted.
    Failed(Error),
}

struct Written {
    incoming: Incoming,
    data_set_offset: u32,
    hash: Sha256,
    /// What has been written and not yet hashed: that is done while the disk is waited for.
    unhashed: VecDeque<Bytes>,
    unhashed_bytes: usize,
    /// Bytes since the disk was last told to begin.
    unbegun: usize,
}

impl Archive {
    /// Starts receiving an instance. Nothing is made on disk before its first bytes.
    pub fn receive(&self, provenance: Provenance) -> Reception {
        Reception {
            archive: self.clone(),
            provenance,
            writing: Writing::Unopened,
            gathered: BytesMut::new(),
            received: 0,
        }
    }
}

impl Reception {
    /// Takes the next bytes of the data set. What goes wrong is told by [`Reception::finish`]: a sender has to be
    /// heard to the end before it can be answered.
    pub fn push(&mut self, bytes: Bytes) {
        self.received += bytes.len() as u64;
        if self.is_lost() {
            return;
        }
        if self.gathered.is_empty() && bytes.len() >= WORTH_WRITING {
            return self.write(bytes);
        }
        self.gathered.extend_from_slice(&bytes);
        if self.gathered.len() >= WORTH_WRITING {
            let gathered = self.gathered.split().freeze();
            self.write(gathered);
        }
    }

    /// Whether nothing that still comes can make it an instance we keep.
    pub fn is_lost(&self) -> bool {
        matches!(self.writing, Writing::Failed(_)) || self.received > MAXIMUM_BYTES
    }

    fn write(&mut self, bytes: Bytes) {
        if matches!(self.writing, Writing::Unopened) {
            self.writing = match open(&self.archive.inner.storage, &self.provenance) {
                Ok(written) => Writing::Open(Box::new(written)),
                Err(err) => Writing::Failed(err),
            };
        }
        if let Writing::Open(written) = &mut self.writing
            && let Err(err) = written.append(bytes, &self.archive.inner.storage)
        {
            self.writing = Writing::Failed(err);
        }
    }

    /// Puts the instance into the archive. When this returns `Ok`, file and rows are durable.
    pub async fn finish(mut self) -> Result<Stored, Refusal> {
        if self.received > MAXIMUM_BYTES {
            return Err(Refusal::TooLong);
        }
        let gathered = self.gathered.split().freeze();
        self.write(gathered);
        let Reception { archive, provenance, writing, .. } = self;
        let written = match writing {
            Writing::Open(written) => *written,
            Writing::Failed(err) => return Err(err.into()),
            Writing::Unopened => open(&archive.inner.storage, &provenance)?,
        };
        let source = provenance.source.clone();
        let said = provenance.said.clone();
        let (mut pending, placed) = seal(&archive.inner.storage, written, provenance)?;
        let notes = pending.attributes.notes.clone();
        let instance = &pending.attributes.instance;
        let (sop_class_uid, sop_instance_uid) =
            (instance.sop_class_uid.clone(), instance.sop_instance_uid.clone());
        let other_sop_class =
            said.sop_class().filter(|uid| **uid != sop_class_uid).map(|_| sop_class_uid.clone());
        let other_sop_instance =
            said.sop_instance().filter(|uid| **uid != sop_instance_uid).map(|_| sop_instance_uid.clone());
        let study_instance_uid = pending.attributes.study.study_instance_uid.as_str().to_owned();
        let series_instance_uid = pending.attributes.series.series_instance_uid.as_str().to_owned();
        let path = placed.path().clone();
        let receipt = source.audited.receipt(&study_instance_uid).await;
        pending.audit = receipt.is_some().then(|| received(&pending.attributes, &source));
        let outcome = match store(&archive, pending, placed).await? {
            Ok(outcome) => outcome,
            Err(failure) => {
                if failure.nothing_was_committed {
                    remove(&archive, &path);
                }
                return Err(failure.error.into());
            }
        };
        if let Some(receipt) = receipt {
            receipt.stands();
        }
        if !outcome.keeps_file() {
            remove(&archive, &path);
        }
        Ok(Stored {
            outcome,
            sop_class_uid,
            sop_instance_uid,
            notes,
            study_instance_uid,
            series_instance_uid,
            other_sop_class,
            other_sop_instance,
        })
    }
}

impl Written {
    fn append(&mut self, bytes: Bytes, storage: &Storage) -> Result<(), Error> {
        self.incoming.append(&bytes).map_err(file_error)?;
        self.unbegun += bytes.len();
        if self.unbegun >= BEGIN_EVERY {
            if !storage.has_room()? {
                return Err(Error::DiskFull);
            }
            self.incoming.begin_writing();
            self.unbegun = 0;
        }
        self.unhashed_bytes += bytes.len();
        self.unhashed.push_back(bytes);
        while self.unhashed_bytes > MOST_UNHASHED {
            self.hash_next();
        }
        Ok(())
    }

    fn hash_next(&mut self) {
        match self.unhashed.pop_front() {
            Some(bytes) => {
                self.unhashed_bytes -= bytes.len();
                self.hash.update(&bytes);
            }
            None => self.unhashed_bytes = 0,
        }
    }
}

/// Makes the file durable, then its rows. The committer writes the rows while this thread waits for the disk, and holds
/// back the COMMIT until the file is there; it is not to wait long, so a large file is made durable before.
async fn store(
    archive: &Archive,
    pending: NewInstance,
    placed: Placed,
) -> Result<Result<Outcome, Failure>, Error> {
    let committer = &archive.inner.committer;
    if pending.size_bytes > SOON_DURABLE {
        placed.sync().map_err(file_error)?;
        return Ok(committer.commit(pending, Durable::Yes).await.await);
    }
    let (is_durable, told) = oneshot::channel();
    let outcome = committer.commit(pending, Durable::Soon(told)).await;
    match placed.sync() {
        Ok(_) => {
            let _ = is_durable.send(()); // where the committer has gone, its answer says so
            Ok(outcome.await)
        }
        Err(err) => {
            drop(is_durable);
            // Told only when the rows are certain not to be there.
            drop(outcome.await);
            Err(file_error(err))
        }
    }
}

/// Makes the file and writes its preamble and group 0002, PS3.10 section 7.1.
fn open(storage: &Storage, provenance: &Provenance) -> Result<Written, Error> {
    if !storage.has_room()? {
        return Err(Error::DiskFull);
    }
    let head = file_meta::head(
        provenance.said.sop_class(),
        provenance.said.sop_instance(),
        &provenance.transfer_syntax,
        &provenance.source.ae_title,
    )?;
    let mut incoming = storage.begin()?;
    incoming.append(&head).map_err(file_error)?;
    let data_set_offset = u32::try_from(head.len()).map_err(io::Error::other)?;
    Ok(Written {
        incoming,
        data_set_offset,
        hash: Sha256::new(),
        unhashed: VecDeque::new(),
        unhashed_bytes: 0,
        unbegun: 0,
    })
}

/// Reads through the complete file, and gives it its final path.
fn seal(
    storage: &Storage,
    mut written: Written,
    provenance: Provenance,
) -> Result<(NewInstance, Placed), Refusal> {
    // The disk works while this thread hashes and reads.
    written.incoming.begin_writing();
    while !written.unhashed.is_empty() {
        written.hash_next();
    }
    let Written { mut incoming, hash, mut data_set_offset, .. } = written;
    let file = incoming.file();
    let length = file.stream_position().map_err(file_error)?.saturating_sub(data_set_offset.into());
    file.seek(SeekFrom::Start(data_set_offset.into())).map_err(file_error)?;
    let encoding = provenance.transfer_syntax.encoding();
    let scan = prescan::scan(&mut *file, length, encoding, &LIMITS)?;
    let (sop_class, sop_instance) = (provenance.said.sop_class(), provenance.said.sop_instance());
    let attributes = Attributes::from_scan(&scan, sop_class, sop_instance)?;
    let instance = &attributes.instance;
    if let Said::ByCommand(_, uid) = &provenance.said
        && instance.sop_instance_uid != *uid
        && uid.is_possible()
    {
        return Err(Refusal::OtherInstance);
    }
    if provenance.only_study.as_ref().is_some_and(|only| *only != attributes.study.study_instance_uid) {
        return Err(Refusal::OtherStudy);
    }
    if sop_instance != Some(&instance.sop_instance_uid) || sop_class != Some(&instance.sop_class_uid) {
        // The data set is what is kept, so group 0002 has to say what the data set says.
        file.seek(SeekFrom::Start(data_set_offset.into())).map_err(file_error)?;
        let said =
            Said::ByFile(Some(instance.sop_class_uid.clone()), Some(instance.sop_instance_uid.clone()));
        let mut again = open(storage, &Provenance { said, ..provenance.clone() })?;
        copy(file, &mut again.incoming, storage)?;
        (incoming, data_set_offset) = (again.incoming, again.data_set_offset);
    }
    let file = incoming.file();
    let size_bytes = length + u64::from(data_set_offset);
    let located = scan.pixel_data.as_ref().filter(|_| encoding != Encoding::Deflated);
    // Frames that cannot be told apart make no index; whoever wants to see them is told so then.
    let read_at = |offset: u64, buffer: &mut [u8]| {
        std::os::unix::fs::FileExt::read_exact_at(&*file, buffer, offset + u64::from(data_set_offset))
    };
    let frame_index = located
        .filter(|pixels| pixels.length.is_none())
        .and_then(|pixels| FrameIndex::build(pixels, attributes.instance.number_of_frames, read_at).ok())
        .map(|index| index.encode());
    let pixel_data_offset = located.map(|pixels| pixels.offset + u64::from(data_set_offset));
    let pixel_data_length = located.and_then(|pixels| pixels.length);
    let placed = storage.place(incoming, provenance.received_at).map_err(file_error)?;
    let pending = NewInstance {
        attributes,
        path: placed.path().as_str().to_owned(),
        transfer_syntax_uid: provenance.transfer_syntax.as_str().to_owned(),
        size_bytes,
        data_set_offset,
        data_set_sha256: hash.finalize().into(),
        pixel_data_offset,
        pixel_data_length,
        frame_index,
        source_ae_title: provenance.source.ae_title,
        source_address: provenance.source.address,
        received_at: provenance.received_at,
        audit: None,
    };
    Ok((pending, placed))
}

/// Copies the rest of a file, as long as there is room.
fn copy(from: &mut File, to: &mut Incoming, storage: &Storage) -> Result<(), Error> {
    let mut piece = vec![0; BEGIN_EVERY];
    loop {
        let read = from.read(&mut piece).map_err(file_error)?;
        if read == 0 {
            return Ok(());
        }
        if !storage.has_room()? {
            return Err(Error::DiskFull);
        }
        to.append(piece.get(..read).unwrap_or_default()).map_err(file_error)?;
    }
}

/// The line of the audit trail for the first instance of a study from somebody.
fn received(attributes: &Attributes, source: &Source) -> Entry {
    let study = attributes.study.study_instance_uid.as_str();
    let patient = audit::Patient {
        patient_id: attributes.patient.patient_id.clone(),
        issuer_of_patient_id: attributes.patient.issuer_of_patient_id.clone(),
        patient_name: attributes.patient.patient_name.clone(),
    };
    Entry::of(source.actor.clone(), Action::Receive, source.details.as_str()).study(study).patient(patient)
}

/// A full disk has a name of its own, because its cure is another one.
pub(super) fn file_error(err: io::Error) -> Error {
    match err.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => Error::DiskFull,
        _ => Error::File(err),
    }
}

/// Removes a file that no row refers to. If that fails it stays as a file without a row, which harms nothing.
fn remove(archive: &Archive, path: &StoredPath) {
    if let Err(err) = archive.inner.storage.remove(path.as_str()) {
        tracing::warn!(path = path.as_str(), %err, "cannot remove a file that no row refers to");
    }
}
