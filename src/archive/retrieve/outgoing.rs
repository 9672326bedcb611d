//! Instances that are to be sent: of the archive, or Part 10 files from anywhere. Those of the archive can be had as
//! files too, so that a command sends while the server runs on the same folder.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mysql_async::Conn;

use super::sendable::{Sendable, Unsendable, target_of};
use super::transcode::Transcoded;
use super::{Holding, Place, read_header};
use crate::archive::receive::LIMITS;
use crate::archive::{Archive, Error};
use crate::codec::Decoder;
use crate::db::frame::{self, StoredRow};
use crate::db::visibility::Visibility;
use crate::dicom::attributes::Attributes;
use crate::dicom::file_meta::file_meta;
use crate::dicom::prescan;
use crate::dicom::uid::{SopClassUid, SopInstanceUid, StudyInstanceUid, TransferSyntaxUid};

/// An instance that can be sent, and what an association has to know of it.
#[derive(Clone)]
pub struct Outgoing {
    /// (0008,0016)
    pub sop_class_uid: SopClassUid,
    /// (0008,0018)
    pub sop_instance_uid: SopInstanceUid,
    /// (0002,0010)
    pub transfer_syntax_uid: TransferSyntaxUid,
    source: Source,
}

#[derive(Clone)]
enum Source {
    Archive(Archive, Box<Holding>),
    File(Box<StoredFile>),
}

/// A file, and with what it is converted where that has to be.
#[derive(Clone)]
struct StoredFile {
    path: PathBuf,
    holding: Holding,
    decoder: Decoder,
}

/// Why a file cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum NotSendable {
    /// It cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// It is none of ours.
    #[error("{} is not a DICOM file", .0.display())]
    NotDicom(PathBuf),
    /// Its data set has no identity.
    #[error("{} cannot be sent: {reason}", path.display())]
    Nameless {
        /// The file.
        path: PathBuf,
        /// In words.
        reason: String,
    },
}

impl Archive {
    /// Those of these instances that are here, by their UIDs.
    pub async fn outgoing(&self, sop_instance_uids: Vec<String>) -> Result<Vec<Outgoing>, Error> {
        let find = async move |mut conn: Conn| Ok(frame::instances(&mut conn, &sop_instance_uids).await?);
        let rows = self.with_connection(find).await?;
        let outgoing = |row: StoredRow| {
            let holding = Holding::new(Place::Archive(row.holding_key), row).ok()?;
            Outgoing::of(&holding, Source::Archive(self.clone(), Box::new(holding.clone())))
        };
        Ok(rows.into_iter().filter_map(outgoing).collect())
    }
}

impl Outgoing {
    /// The data set in a transfer syntax that `is_taken` says is taken, and which that is: as it is stored, or else
    /// converted where that can be. Blocks, for as long as the conversion takes.
    pub async fn data_set(
        &self,
        is_taken: impl Fn(&str) -> bool,
    ) -> Result<(TransferSyntaxUid, Sendable), Unsendable> {
        let stored = &self.transfer_syntax_uid;
        match &self.source {
            Source::Archive(archive, holding) if is_taken(stored.as_str()) => {
                Ok((stored.clone(), archive.as_stored(holding)?))
            }
            Source::Archive(archive, holding) => {
                let (data_set, target) = archive.converted(holding, is_taken).await?;
                Ok((target.transfer_syntax(), data_set))
            }
            Source::File(file) if is_taken(stored.as_str()) => {
                Ok((stored.clone(), Sendable::of_file(&file.path, file.holding.start())?))
            }
            Source::File(file) => file.converted(is_taken),
        }
    }

    fn of(holding: &Holding, source: Source) -> Option<Outgoing> {
        Some(Outgoing {
            sop_class_uid: holding.row().sop_class_uid.parse().ok()?,
            sop_instance_uid: holding.row().sop_instance_uid.parse().ok()?,
            transfer_syntax_uid: holding.transfer_syntax().clone(),
            source,
        })
    }

    /// The instance in a Part 10 file, wherever that is. Blocks.
    pub fn of_file(path: &Path, decoder: &Decoder) -> Result<Outgoing, NotSendable> {
        let path = path.to_owned();
        let opened = File::open(&path).and_then(|file| {
            let length = file.metadata()?.len();
            Ok((file, length))
        });
        let (mut file, length) = match opened {
            Ok(opened) => opened,
            Err(cause) => return Err(NotSendable::Unreadable { path, cause }),
        };
        let Some(meta) = file_meta(&file) else {
            return Err(NotSendable::NotDicom(path));
        };
        let (transfer_syntax_uid, data_set_offset) = (meta.transfer_syntax, meta.offset);
        let nameless = |reason: String| NotSendable::Nameless { path: path.clone(), reason };
        file.seek(SeekFrom::Start(data_set_offset)).map_err(|err| nameless(err.to_string()))?;
        let rest = length.saturating_sub(data_set_offset);
        let scan = prescan::scan(&mut file, rest, transfer_syntax_uid.encoding(), &LIMITS)
            .map_err(|err| nameless(err.to_string()))?;
        let attributes = Attributes::from_scan(&scan, None, None).map_err(|err| nameless(err.to_string()))?;
        let Attributes { study, series, instance, .. } = attributes;
        let row = StoredRow {
            holding_key: 0,
            study_instance_uid: study.study_instance_uid.to_string(),
            series_instance_uid: series.series_instance_uid.to_string(),
            sop_instance_uid: instance.sop_instance_uid.to_string(),
            sop_class_uid: instance.sop_class_uid.to_string(),
            transfer_syntax_uid: transfer_syntax_uid.to_string(),
            number_of_frames: instance.number_of_frames,
            path: path.display().to_string(),
            size_bytes: length,
            data_set_offset: u32::try_from(data_set_offset).map_err(|err| nameless(err.to_string()))?,
            data_set_sha256: Vec::new(),
            pixel_data_offset: None,
            pixel_data_length: None,
        };
        let holding = Holding { place: Place::Nowhere, row, transfer_syntax: transfer_syntax_uid.clone() };
        let file = StoredFile { path: path.clone(), holding, decoder: decoder.clone() };
        Ok(Outgoing {
            sop_class_uid: instance.sop_class_uid,
            sop_instance_uid: instance.sop_instance_uid,
            transfer_syntax_uid,
            source: Source::File(Box::new(file)),
        })
    }
}

impl StoredFile {
    /// What fails half-way must fail before anything was sent, and nothing is written beside the file: it is converted
    /// twice, for nobody first.
    fn converted(
        &self,
        is_taken: impl Fn(&str) -> bool,
    ) -> Result<(TransferSyntaxUid, Sendable), Unsendable> {
        let target = target_of(&self.holding, is_taken)?;
        let open = || File::open(&self.path).map_err(Error::File);
        let header = Arc::new(read_header(&open()?, &self.holding, None)?);
        let begin = || Transcoded::new(open, &self.decoder, &self.holding, &header, target);
        io::copy(&mut begin()?, &mut io::sink())?;
        Ok((target.transfer_syntax(), Sendable::converting(begin()?)))
    }
}

/// The instances of a study as files, in the order they are read; `data_dir` is the folder of the archive.
pub async fn of_study(
    conn: &mut Conn,
    data_dir: &Path,
    uid: &StudyInstanceUid,
    decoder: &Decoder,
) -> Result<Vec<Outgoing>, Error> {
    let rows = frame::instances_of(conn, uid, None, None, &Visibility::All).await?;
    let outgoing = |row: StoredRow| {
        let path = data_dir.join(&row.path);
        let holding = Holding::new(Place::Nowhere, row).ok()?;
        let file = StoredFile { path, holding: holding.clone(), decoder: decoder.clone() };
        Outgoing::of(&holding, Source::File(Box::new(file)))
    };
    Ok(rows.into_iter().filter_map(outgoing).collect())
}
