//! Instances on their way out: where their data sets are and what an association has to know of them. Plain functions
//! on a connection and a folder, so that a command can send while the server runs on the same archive.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use mysql_async::Conn;

use super::{Archive, Error};
use crate::db::instance::{self, OutgoingRow};
use crate::db::visibility::Visibility;
use crate::dicom::attributes::Attributes;
use crate::dicom::file_meta::file_meta;
use crate::dicom::prescan::{self, Limits};
use crate::dicom::uid::{SopClassUid, SopInstanceUid, StudyInstanceUid, TransferSyntaxUid};

/// What is read of a file to find out what it is.
const LIMITS: Limits = Limits {
    depth: 64,
    value_bytes: 64 * 1024,
    tree_bytes: 32 * 1024 * 1024,
    inflated_bytes: 4 * 1024 * 1024 * 1024,
    inflate_ratio: 250,
};

/// An instance that can be sent: a Part 10 file, and what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// (0008,0016)
    pub sop_class_uid: SopClassUid,
    /// (0008,0018)
    pub sop_instance_uid: SopInstanceUid,
    /// (0002,0010)
    pub transfer_syntax_uid: TransferSyntaxUid,
    /// The file.
    pub path: PathBuf,
    /// Where its data set begins, bytes.
    pub data_set_offset: u64,
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
        let root = self.storage().root().to_owned();
        self.with_connection(async move |mut conn| {
            let rows = instance::outgoing(&mut conn, &sop_instance_uids).await?;
            Ok(rows.into_iter().map(|row| Outgoing::of_row(&root, row)).collect())
        })
        .await
    }
}

impl Outgoing {
    fn of_row(root: &Path, row: OutgoingRow) -> Outgoing {
        Outgoing {
            sop_class_uid: row.sop_class_uid,
            sop_instance_uid: row.sop_instance_uid,
            transfer_syntax_uid: row.transfer_syntax_uid,
            path: root.join(row.path),
            data_set_offset: row.data_set_offset.into(),
        }
    }

    /// The instance in a Part 10 file, wherever that is. Blocks.
    pub fn of_file(path: &Path) -> Result<Outgoing, NotSendable> {
        let path = path.to_owned();
        let read = |file: &Path| -> io::Result<(File, u64)> {
            let file = File::open(file)?;
            let length = file.metadata()?.len();
            Ok((file, length))
        };
        let (mut file, length) = match read(&path) {
            Ok(opened) => opened,
            Err(cause) => return Err(NotSendable::Unreadable { path, cause }),
        };
        let Some((transfer_syntax_uid, data_set_offset)) = file_meta(&file) else {
            return Err(NotSendable::NotDicom(path));
        };
        let nameless = |reason: String| NotSendable::Nameless { path: path.clone(), reason };
        io::Seek::seek(&mut file, io::SeekFrom::Start(data_set_offset))
            .map_err(|err| nameless(err.to_string()))?;
        let rest = length.saturating_sub(data_set_offset);
        let scan = prescan::scan(&mut file, rest, transfer_syntax_uid.encoding(), &LIMITS)
            .map_err(|err| nameless(err.to_string()))?;
        let attributes = Attributes::from_scan(&scan, None, None).map_err(|err| nameless(err.to_string()))?;
        Ok(Outgoing {
            sop_class_uid: attributes.instance.sop_class_uid,
            sop_instance_uid: attributes.instance.sop_instance_uid,
            transfer_syntax_uid,
            path,
            data_set_offset,
        })
    }
}

/// The instances of a study in the order they are read, if it is visible; `data_dir` is the folder of the archive.
pub async fn of_study(
    conn: &mut Conn,
    data_dir: &Path,
    uid: &StudyInstanceUid,
    visibility: &Visibility,
) -> Result<Vec<Outgoing>, Error> {
    let rows = instance::outgoing_of_study(conn, uid, visibility).await?;
    Ok(rows.into_iter().map(|row| Outgoing::of_row(data_dir, row)).collect())
}
