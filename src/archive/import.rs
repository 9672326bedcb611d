//! Files on their way in: what people and programs bring over HTTP, one by one or in ZIP files. Behind the head of a file
//! it is the way of every instance, [`receive`](super::receive).

mod directory;
mod spool;
mod upload;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufReader, Read, Seek};

use bytes::{Bytes, BytesMut};
use chrono::Utc;
use dicom_dictionary_std::uids;
use tokio::task::JoinHandle;

pub use self::spool::Spool;
pub use self::upload::Upload;
use super::receive::{Provenance, Reception, Refusal, Said, Source, Stored};
use super::{Archive, Error};
use crate::dicom::file_meta::{FileMeta, LONGEST_META};
use crate::dicom::uid::{SopClassUid, SopInstanceUid, StudyInstanceUid, TransferSyntaxUid};

/// Instances of one sender that are made durable at once, while it sends the next: they share transactions.
const AT_ONCE: usize = 8;

/// Files that are taken out of one ZIP file.
pub const MOST_ENTRIES: usize = 100_000;

/// How many times longer than itself what is in a ZIP file may be.
const MOST_RATIO: u64 = 200;
/// And so much of a small one, bytes.
const LEAST_UNZIPPED: u64 = 1 << 30;

/// How much of an entry of a ZIP file is taken out at once, bytes.
const PIECE: usize = 64 * 1024;

/// A file that is being received. Its methods wait for the disk: they belong on a thread that may.
pub struct FileReception {
    archive: Archive,
    source: Source,
    only_study: Option<StudyInstanceUid>,
    part: Part,
}

enum Part {
    /// What came is not enough to tell what it is.
    Head(BytesMut),
    DataSet {
        reception: Box<Reception>,
        said: Said,
    },
    Refused(NotAnInstance),
}

#[derive(Debug, Clone, Copy)]
enum NotAnInstance {
    NotDicom,
    Directory,
}

/// Which instance a file says it holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// SOP Class UID.
    pub sop_class: Option<SopClassUid>,
    /// SOP Instance UID.
    pub sop_instance: Option<SopInstanceUid>,
}

impl FileReception {
    fn new(archive: Archive, source: Source, only_study: Option<StudyInstanceUid>) -> FileReception {
        FileReception { archive, source, only_study, part: Part::Head(BytesMut::new()) }
    }

    /// Takes the next bytes of the file.
    pub fn push(&mut self, bytes: Bytes) {
        match &mut self.part {
            Part::DataSet { reception, .. } => reception.push(bytes),
            Part::Refused(_) => {}
            Part::Head(head) => {
                head.extend_from_slice(&bytes);
                if head.len() as u64 >= LONGEST_META {
                    self.begin();
                }
            }
        }
    }

    /// Whether what still comes makes no difference: this is no instance, or none that can be kept.
    pub fn is_settled(&self) -> bool {
        match &self.part {
            Part::Head(_) => false,
            Part::DataSet { reception, .. } => reception.is_lost(),
            Part::Refused(_) => true,
        }
    }

    /// The head is there.
    fn begin(&mut self) {
        let Part::Head(head) = &mut self.part else { return };
        let head = std::mem::take(head).freeze();
        let longest = usize::try_from(LONGEST_META).unwrap_or(usize::MAX);
        self.part = match FileMeta::of(head.get(..longest).unwrap_or(&head)) {
            None => Part::Refused(NotAnInstance::NotDicom),
            Some(FileMeta { sop_class: Some(class), .. })
                if class.as_str() == uids::MEDIA_STORAGE_DIRECTORY_STORAGE =>
            {
                Part::Refused(NotAnInstance::Directory)
            }
            Some(meta) => {
                let said = Said::ByFile(meta.sop_class, meta.sop_instance);
                let mut reception = self.receive(said.clone(), meta.transfer_syntax);
                let start = usize::try_from(meta.offset).unwrap_or(usize::MAX).min(head.len());
                reception.push(head.slice(start..));
                Part::DataSet { reception: Box::new(reception), said }
            }
        };
    }

    fn receive(&self, said: Said, transfer_syntax: TransferSyntaxUid) -> Reception {
        self.archive.receive(Provenance {
            said,
            transfer_syntax,
            source: self.source.clone(),
            only_study: self.only_study.clone(),
            received_at: Utc::now(),
        })
    }

    /// Which instance the file says it holds, as far as it has come.
    fn identity(&self) -> Identity {
        match &self.part {
            Part::DataSet { said, .. } => {
                Identity { sop_class: said.sop_class().cloned(), sop_instance: said.sop_instance().cloned() }
            }
            Part::Head(_) | Part::Refused(_) => Identity::default(),
        }
    }

    /// Puts the instance into the archive. When this returns `Ok`, file and rows are durable.
    async fn finish(mut self) -> Result<Stored, Refusal> {
        self.begin();
        match self.part {
            Part::DataSet { reception, .. } => reception.finish().await,
            Part::Refused(NotAnInstance::Directory) => Err(Refusal::Directory),
            Part::Refused(NotAnInstance::NotDicom) | Part::Head(_) => Err(Refusal::NotDicom),
        }
    }
}

/// How a file came in.
#[derive(Debug)]
pub struct Received {
    /// What its sender calls it.
    pub name: String,
    /// Which instance it said it was.
    pub identity: Identity,
    /// What became of it.
    pub result: Result<Stored, Refusal>,
}

/// Files of one sender, one after another. Its methods wait: they belong on a thread that may.
pub struct Intake {
    archive: Archive,
    source: Source,
    only_study: Option<StudyInstanceUid>,
    finishing: VecDeque<Finishing>,
    /// Complete, and so far the last: where none follows, this thread finishes it itself.
    last: Option<(String, FileReception)>,
}

/// A file that is complete and not yet answered.
struct Finishing {
    name: String,
    identity: Identity,
    result: JoinHandle<Result<Stored, Refusal>>,
}

impl Intake {
    /// Nothing has come yet. Where a study is named, instances of others are refused.
    pub fn new(archive: &Archive, source: Source, only_study: Option<StudyInstanceUid>) -> Intake {
        Intake { archive: archive.clone(), source, only_study, finishing: VecDeque::new(), last: None }
    }

    /// The next file.
    pub fn file(&mut self) -> FileReception {
        self.finish_last();
        FileReception::new(self.archive.clone(), self.source.clone(), self.only_study.clone())
    }

    /// A data set without a file's head, of this transfer syntax.
    pub fn data_set(&mut self, said: Said, transfer_syntax: TransferSyntaxUid) -> FileReception {
        let mut file = self.file();
        let reception = Box::new(file.receive(said.clone(), transfer_syntax));
        file.part = Part::DataSet { reception, said };
        file
    }

    /// A place for what has to wait.
    pub fn spool(&self) -> Spool {
        Spool::new(&self.archive)
    }

    /// A file is complete. It is put into the archive while others come; what has become of earlier ones is returned.
    pub fn complete(&mut self, name: String, file: FileReception) -> Option<Received> {
        self.finish_last();
        self.last = Some((name, file));
        if self.finishing.len() >= AT_ONCE { self.next_answer() } else { None }
    }

    /// Has the last file finished by another thread.
    fn finish_last(&mut self) {
        let Some((name, mut file)) = self.last.take() else { return };
        file.begin();
        let identity = file.identity();
        let runtime = self.archive.inner.runtime.clone();
        // The threads that may wait are those of everybody.
        let place = runtime.block_on(self.archive.inner.finishing.clone().acquire_owned());
        let result = runtime.clone().spawn_blocking(move || {
            let _place = place;
            runtime.block_on(file.finish())
        });
        self.finishing.push_back(Finishing { name, identity, result });
    }

    /// Waits for the next file that is not yet answered; none where all are.
    pub fn next_answer(&mut self) -> Option<Received> {
        if self.finishing.is_empty()
            && let Some((name, mut file)) = self.last.take()
        {
            file.begin();
            let identity = file.identity();
            let result = self.archive.inner.runtime.block_on(file.finish());
            return Some(Received { name, identity, result });
        }
        self.finish_last();
        let Finishing { name, identity, result } = self.finishing.pop_front()?;
        let result = self.archive.inner.runtime.block_on(result);
        let result = result.unwrap_or(Err(Refusal::Archive(Error::Stopping)));
        Some(Received { name, identity, result })
    }

    /// Takes every file out of a ZIP file, in its order.
    pub fn unzip(&mut self, zip: File, each: &mut dyn FnMut(Received)) -> Result<(), NotUnzipped> {
        directory::check(&zip).map_err(NotUnzipped)?;
        let length = zip.metadata().map_or(0, |file| file.len());
        let mut zip = zip;
        zip.rewind().map_err(|err| NotUnzipped(err.to_string()))?;
        let mut zip =
            zip::ZipArchive::new(BufReader::new(zip)).map_err(|err| NotUnzipped(err.to_string()))?;
        // Real ones are shorter than what is in them by much less, and no two entries share their bytes.
        let mut left = length.saturating_mul(MOST_RATIO).saturating_add(LEAST_UNZIPPED);
        let mut piece = vec![0; PIECE];
        for number in 0..zip.len().min(MOST_ENTRIES) {
            let name = zip.name_for_index(number).and_then(Result::ok);
            let name = name.map(|name| name.into_owned()).unwrap_or_default();
            let mut entry = match zip.by_index(number) {
                Ok(entry) if entry.is_dir() => continue,
                Ok(entry) => entry,
                Err(err) => {
                    each(Received::not_unzipped(name, err.to_string()));
                    continue;
                }
            };
            if is_of_the_system(&name) {
                continue;
            }
            let mut file = self.file();
            let broken = loop {
                match entry.read(&mut piece) {
                    Ok(0) => break None,
                    Ok(length) => {
                        left = left.saturating_sub(length as u64);
                        if left == 0 {
                            break Some("what is in the file is too much for its length".to_owned());
                        }
                        file.push(Bytes::copy_from_slice(piece.get(..length).unwrap_or_default()));
                        if file.is_settled() {
                            break None;
                        }
                    }
                    Err(err) => break Some(err.to_string()),
                }
            };
            let received = match broken {
                None => self.complete(name, file),
                Some(why) => Some(Received::not_unzipped(name, why)),
            };
            if let Some(received) = received {
                each(received);
            }
            if left == 0 {
                break;
            }
        }
        while let Some(received) = self.next_answer() {
            each(received);
        }
        Ok(())
    }
}

impl Received {
    fn not_unzipped(name: String, why: String) -> Received {
        Received { name, identity: Identity::default(), result: Err(Refusal::NotUnzipped(why)) }
    }
}

/// Why nothing could be taken out of a ZIP file.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotUnzipped(String);

/// What systems and disks put beside the files of their users.
pub fn is_of_the_system(name: &str) -> bool {
    let file = name.rsplit(['/', '\\']).next().unwrap_or_default();
    name.split(['/', '\\']).any(|part| part == "__MACOSX")
        || file.starts_with("._")
        || [".DS_Store", "Thumbs.db", "desktop.ini"].contains(&file)
}
