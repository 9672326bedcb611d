//! Instances that are to be sent: of the archive, where they may be converted, or Part 10 files as they are. Those of the
//! archive can be had as files too, so that a command sends while the server runs on the same folder.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use mysql_async::Conn;

use super::sendable::Sendable;
use super::{Holding, Place};
use crate::archive::receive::LIMITS;
use crate::archive::{Archive, Error};
use crate::db::frame;
use crate::db::instance::{self, OutgoingRow};
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
    /// With where its data set begins, bytes.
    File(PathBuf, u64),
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
        let outgoing = |row: frame::StoredRow| {
            let uids = (row.sop_class_uid.parse().ok()?, row.sop_instance_uid.parse().ok()?);
            let holding = Holding::new(Place::Archive(row.holding_key), row).ok()?;
            Some(Outgoing {
                sop_class_uid: uids.0,
                sop_instance_uid: uids.1,
                transfer_syntax_uid: holding.transfer_syntax().clone(),
                source: Source::Archive(self.clone(), Box::new(holding)),
            })
        };
        Ok(rows.into_iter().filter_map(outgoing).collect())
    }
}

impl Outgoing {
    /// The data set in a transfer syntax that `is_taken` says is taken, and which that is: as it is stored, or else
    /// converted where that can be. Blocks, for as long as the conversion takes.
    ///
    /// # Errors
    /// Why that cannot be, in words.
    pub async fn data_set(
        &self,
        is_taken: impl Fn(&str) -> bool,
    ) -> Result<(TransferSyntaxUid, Sendable), String> {
        let stored = &self.transfer_syntax_uid;
        match &self.source {
            Source::Archive(archive, holding) if is_taken(stored.as_str()) => {
                let data_set = archive.as_stored(holding).map_err(|err| err.to_string())?;
                Ok((stored.clone(), data_set))
            }
            Source::Archive(archive, holding) => {
                let (data_set, target) = archive.converted(holding, is_taken).await?;
                let target = target.uid().parse().map_err(|_| "a target is no UID".to_owned())?;
                Ok((target, data_set))
            }
            Source::File(path, offset) if is_taken(stored.as_str()) => {
                let data_set = Sendable::of_file(path, *offset);
                Ok((stored.clone(), data_set.map_err(|err| format!("its file cannot be read: {err}"))?))
            }
            Source::File(..) => Err(format!("it is stored in {stored}, which is not taken")),
        }
    }

    fn of_row(root: &Path, row: OutgoingRow) -> Outgoing {
        Outgoing {
            sop_class_uid: row.sop_class_uid,
            sop_instance_uid: row.sop_instance_uid,
            transfer_syntax_uid: row.transfer_syntax_uid,
            source: Source::File(root.join(row.path), row.data_set_offset.into()),
        }
    }

    /// The instance in a Part 10 file, wherever that is. Blocks.
    pub fn of_file(path: &Path) -> Result<Outgoing, NotSendable> {
        let path = path.to_owned();
        let opened = File::open(&path).and_then(|file| {
            let length = file.metadata()?.len();
            Ok((file, length))
        });
        let (mut file, length) = match opened {
            Ok(opened) => opened,
            Err(cause) => return Err(NotSendable::Unreadable { path, cause }),
        };
        let Some((transfer_syntax_uid, data_set_offset)) = file_meta(&file) else {
            return Err(NotSendable::NotDicom(path));
        };
        let nameless = |reason: String| NotSendable::Nameless { path: path.clone(), reason };
        file.seek(SeekFrom::Start(data_set_offset)).map_err(|err| nameless(err.to_string()))?;
        let rest = length.saturating_sub(data_set_offset);
        let scan = prescan::scan(&mut file, rest, transfer_syntax_uid.encoding(), &LIMITS)
            .map_err(|err| nameless(err.to_string()))?;
        let attributes = Attributes::from_scan(&scan, None, None).map_err(|err| nameless(err.to_string()))?;
        Ok(Outgoing {
            sop_class_uid: attributes.instance.sop_class_uid,
            sop_instance_uid: attributes.instance.sop_instance_uid,
            transfer_syntax_uid,
            source: Source::File(path, data_set_offset),
        })
    }
}

/// The instances of a study as files, in the order they are read; `data_dir` is the folder of the archive.
pub async fn of_study(
    conn: &mut Conn,
    data_dir: &Path,
    uid: &StudyInstanceUid,
) -> Result<Vec<Outgoing>, Error> {
    let rows = instance::outgoing_of_study(conn, uid, &Visibility::All).await?;
    Ok(rows.into_iter().map(|row| Outgoing::of_row(data_dir, row)).collect())
}
