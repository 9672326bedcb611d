//! Whether instances are safely stored: their rows are there, and their files, read again from the disk, hold what was
//! received.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use sha2::{Digest, Sha256};

use super::{Archive, Error};
use crate::db::instance::{self, Kept};
use crate::dicom::commitment::{FailureReason, Reference, Verdict};
use crate::dicom::sop_class;
use crate::storage::Storage;

/// What is read of a file at once.
const PIECE: usize = 256 * 1024;

impl Archive {
    /// What is to be said of each of these, in their order. Never fails: what cannot be found out now has a reason of its
    /// own. Not for lists of more than a few hundred.
    pub(super) async fn verify(&self, references: Vec<Reference>) -> Vec<Verdict> {
        let unknown = vec![Err(FailureReason::RESOURCE_LIMITATION); references.len()];
        match self.try_to_verify(references).await {
            Ok(verdicts) => verdicts,
            Err(err) => {
                tracing::error!(
                    err = &err as &dyn std::error::Error,
                    "cannot find out whether {} instances are safely stored",
                    unknown.len()
                );
                unknown
            }
        }
    }

    async fn try_to_verify(&self, references: Vec<Reference>) -> Result<Vec<Verdict>, Error> {
        let uids: Vec<String> = references.iter().map(|one| one.sop_instance_uid.to_string()).collect();
        let rows = self
            .with_connection(async move |mut conn| {
                let uids: Vec<&str> = uids.iter().map(String::as_str).collect();
                Ok(instance::kept(&mut conn, &uids).await?)
            })
            .await?;
        let storage = self.storage().clone();
        self.blocking(move || {
            let rows: HashMap<&str, &Kept> =
                rows.iter().map(|row| (row.sop_instance_uid.as_str(), row)).collect();
            let verdict = |reference: &Reference| {
                verdict(&storage, reference, rows.get(reference.sop_instance_uid.as_str()).copied())
            };
            Ok(references.iter().map(verdict).collect())
        })
        .await
    }
}

/// PS3.3 C.14.1.1: what is wrong with the question comes before what is wrong with the instance.
fn verdict(storage: &Storage, reference: &Reference, row: Option<&Kept>) -> Verdict {
    let uid = &reference.sop_instance_uid;
    if !sop_class::is_storage(reference.sop_class_uid.as_str()) {
        return Err(FailureReason::REFERENCED_SOP_CLASS_NOT_SUPPORTED);
    }
    let Some(row) = row else { return Err(FailureReason::NO_SUCH_OBJECT_INSTANCE) };
    if row.sop_class_uid != reference.sop_class_uid {
        return Err(FailureReason::CLASS_INSTANCE_CONFLICT);
    }
    match is_as_received(storage, row) {
        Ok(true) => Ok(()),
        Ok(false) => {
            tracing::error!(sop_instance_uid = %uid, path = row.path, "the file of an instance is not what was received");
            Err(FailureReason::PROCESSING_FAILURE)
        }
        Err(err) => {
            tracing::error!(sop_instance_uid = %uid, path = row.path, %err, "cannot read the file of an instance");
            Err(match is_of_the_file(storage, &err) {
                true => FailureReason::PROCESSING_FAILURE,
                false => FailureReason::RESOURCE_LIMITATION,
            })
        }
    }
}

fn is_as_received(storage: &Storage, row: &Kept) -> io::Result<bool> {
    let mut file = storage.read(&row.path)?;
    if file.metadata()?.len() != row.size_bytes {
        return Ok(false);
    }
    forget_cached(&file);
    file.seek(SeekFrom::Start(row.data_set_offset.into()))?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => hasher.update(piece.get(..length).unwrap_or_default()),
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err),
        }
    }
    Ok(hasher.finalize().as_slice() == row.data_set_sha256)
}

/// What was just stored is still in memory, and reading that would say nothing of the disk. Only a hint.
#[cfg(target_os = "linux")]
fn forget_cached(file: &File) {
    use std::os::fd::AsRawFd;
    // SAFETY: asks for something on an open file and touches no memory of ours.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
}

#[cfg(not(target_os = "linux"))]
fn forget_cached(_: &File) {}

/// Whether the fault is that of the one file, and not of the whole disk or of a program that is short of something:
/// then asking later may help.
fn is_of_the_file(storage: &Storage, err: &io::Error) -> bool {
    match err.kind() {
        io::ErrorKind::NotFound => storage.is_there(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::PermissionDenied => true,
        _ => err.raw_os_error() == Some(libc::EIO),
    }
}
