//! Two instances under one SOP Instance UID: what differs, and letting go of the second.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use flate2::read::DeflateDecoder;
use sha2::{Digest, Sha256};

use super::{Archive, Error};
use crate::db::audit::{self, Entry};
use crate::db::quarantine::{self, Quarantined, Version};
use crate::db::visibility::Visibility;
use crate::dicom::difference::{self, Difference};
use crate::dicom::prescan::{self, Encoding, Limits, PixelData, Scan};
use crate::dicom::uid::TransferSyntaxUid;
use crate::storage::Storage;

/// Differences that a page lists.
const MOST: usize = 1000;

/// What the two instances of a UID have and have not in common.
#[derive(Debug)]
pub struct Comparison {
    /// Where both are.
    pub pair: Quarantined,
    /// Attributes that differ, or why the two cannot be compared.
    pub attributes: Result<Vec<Difference>, String>,
    /// Whether the bytes of Pixel Data differ; not known where a file cannot be read.
    pub pixels: Pixels,
}

/// How the pixels of the two compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pixels {
    /// Byte for byte the same.
    Same,
    /// Not the same bytes.
    Differ,
    /// Encoded differently, so that their bytes say nothing.
    EncodedDifferently,
    /// Neither has any.
    None,
    /// A file could not be read as far as its pixels.
    Unknown,
}

impl Archive {
    /// Compares what is in quarantine under this number with what the archive keeps. `None` if nothing is.
    pub async fn compare(
        &self,
        quarantine_key: u64,
        visibility: &Visibility,
    ) -> Result<Option<Comparison>, Error> {
        let pair = self.in_quarantine(quarantine_key, visibility).await?;
        let Some(pair) = pair else { return Ok(None) };
        let storage = self.storage().clone();
        self.blocking(move || Ok(Some(compare(&storage, pair)))).await
    }

    /// What is in quarantine under this number, if the study it is about is visible.
    pub async fn in_quarantine(
        &self,
        quarantine_key: u64,
        visibility: &Visibility,
    ) -> Result<Option<Quarantined>, Error> {
        let visibility = visibility.clone();
        self.with_connection(async move |mut conn| {
            Ok(quarantine::by_key(&mut conn, quarantine_key, &visibility).await?)
        })
        .await
    }

    /// Keeps the first, and removes the second with its file; `entry` goes into the audit trail with it. False if there
    /// was none.
    pub async fn discard_quarantined(&self, quarantine_key: u64, entry: Entry) -> Result<bool, Error> {
        let path = self
            .with_connection(async move |mut conn| {
                let mut transaction = conn.start_transaction(Default::default()).await?;
                let path = quarantine::remove(&mut transaction, quarantine_key).await?;
                if path.is_some() {
                    audit::append(&mut transaction, &[entry]).await?;
                }
                transaction.commit().await?;
                Ok(path)
            })
            .await?;
        let Some(path) = path else { return Ok(false) };
        let storage = self.storage().clone();
        self.blocking(move || {
            // The row is gone: a file that stays is space lost, not data, and the decision stands.
            if let Err(err) = storage.remove(&path) {
                tracing::warn!(path, %err, "cannot remove the file of a discarded instance");
            }
            Ok(true)
        })
        .await
    }
}

fn compare(storage: &Storage, pair: Quarantined) -> Comparison {
    let read = |version: &Version| scan(storage, version);
    match (read(&pair.first), read(&pair.second)) {
        (Ok(first), Ok(second)) => {
            let mut differences = difference::differences(&first.data_set, &second.data_set);
            differences.truncate(MOST);
            let pixels = compare_pixels(storage, &pair, &first, &second);
            Comparison { pair, attributes: Ok(differences), pixels }
        }
        (Err(err), _) => unreadable(pair, "first", &err),
        (_, Err(err)) => unreadable(pair, "second", &err),
    }
}

fn unreadable(pair: Quarantined, which: &str, err: &prescan::Error) -> Comparison {
    let attributes = Err(format!("The {which} instance cannot be read: {err}."));
    Comparison { pair, attributes, pixels: Pixels::Unknown }
}

/// The data set of a stored file. It was scanned when it arrived; small limits suffice for showing it.
fn scan(storage: &Storage, version: &Version) -> Result<Scan, prescan::Error> {
    let mut file = BufReader::new(storage.read(&version.path).map_err(prescan::Error::Io)?);
    file.seek(SeekFrom::Start(version.data_set_offset.into())).map_err(prescan::Error::Io)?;
    let length = version.size_bytes.saturating_sub(version.data_set_offset.into());
    let limits = Limits {
        depth: 64,
        value_bytes: 64 << 10,
        tree_bytes: 16 << 20,
        inflated_bytes: 1 << 30,
        inflate_ratio: 1100,
    };
    prescan::scan(file, length, version.transfer_syntax_uid.encoding(), &limits)
}

fn compare_pixels(storage: &Storage, pair: &Quarantined, first: &Scan, second: &Scan) -> Pixels {
    let (first, second) = match (&first.pixel_data, &second.pixel_data) {
        (None, None) => return Pixels::None,
        (Some(first), Some(second)) => (first, second),
        (Some(_), None) | (None, Some(_)) => return Pixels::Differ,
    };
    if !are_comparable(pair, first, second) {
        return Pixels::EncodedDifferently;
    }
    match (digest(storage, &pair.first, first), digest(storage, &pair.second, second)) {
        (Ok(first), Ok(second)) if first == second => Pixels::Same,
        (Ok(_), Ok(_)) => Pixels::Differ,
        (Err(err), _) | (_, Err(err)) => {
            tracing::warn!(uid = %pair.sop_instance_uid, %err, "cannot read the pixels of an instance");
            Pixels::Unknown
        }
    }
}

/// Equal pixels have equal bytes in one transfer syntax, and in all native ones of one byte order.
fn are_comparable(pair: &Quarantined, first: &PixelData, second: &PixelData) -> bool {
    let (one, other) = (&pair.first.transfer_syntax_uid, &pair.second.transfer_syntax_uid);
    let big = |uid: &TransferSyntaxUid| uid.encoding() == Encoding::ExplicitVrBigEndian;
    let native = first.length.is_some() && second.length.is_some();
    one == other || (native && big(one) == big(other))
}

/// A digest of the pixels alone: offset tables and the cut into fragments do not count.
fn digest(storage: &Storage, version: &Version, pixel_data: &PixelData) -> io::Result<[u8; 32]> {
    let runs: Vec<(u64, u64)> = match pixel_data.length {
        Some(length) => vec![(pixel_data.offset, length)],
        None => pixel_data.fragments.iter().map(|run| (run.offset, run.length.into())).collect(),
    };
    let start = u64::from(version.data_set_offset);
    let mut file = storage.read(&version.path)?;
    let mut hash = Sha256::new();
    if version.transfer_syntax_uid.encoding() == Encoding::Deflated {
        file.seek(SeekFrom::Start(start))?;
        let mut inflated = DeflateDecoder::new(BufReader::new(file));
        let mut position = 0;
        for (offset, length) in runs {
            let gap = offset.saturating_sub(position);
            io::copy(&mut inflated.by_ref().take(gap), &mut io::sink())?;
            hash_run(&mut inflated.by_ref().take(length), &mut hash)?;
            position = offset.saturating_add(length);
        }
    } else {
        for (offset, length) in runs {
            file.seek(SeekFrom::Start(start.saturating_add(offset)))?;
            hash_run(&mut file.by_ref().take(length), &mut hash)?;
        }
    }
    Ok(hash.finalize().into())
}

fn hash_run(run: &mut impl Read, hash: &mut Sha256) -> io::Result<()> {
    let mut buffer = vec![0; 256 << 10];
    loop {
        match run.read(&mut buffer)? {
            0 => return Ok(()),
            length => hash.update(buffer.get(..length).unwrap_or_default()),
        }
    }
}
