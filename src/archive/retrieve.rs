//! Reading what is stored: the attributes of an instance, and the bytes of one of its frames.
//!
//! One frame costs one frame, never the file: native frames are at a distance that follows from their size, and of
//! encapsulated ones the index made when they were stored says where the fragments are (PS3.5 annex A.4). What is
//! read of a file apart from that, its header, is kept for the next frame. Quarantined files have no index; theirs is
//! made when they are first looked at.
//!
//! Offsets in a [`PixelData`] count from the start of the data set; those of the frame index, once it is read, from the
//! start of the file.

mod bulk;
pub mod outgoing;
mod pixels;
pub mod selection;
pub mod sendable;
pub mod transcode;

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::mem;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use moka::sync::Cache;

pub use self::bulk::{Bulk, Stretch};
pub use self::pixels::{Frame, NativePixels};
use super::{Archive, Error};
pub use crate::db::frame::ExtentRow;
use crate::db::frame::{self, EquipmentRow, SeriesRow, StackRow, StoredRow, StudyRow};
use crate::db::visibility::Visibility;
use crate::dicom::data_set::{DataSet, Value};
use crate::dicom::frame_index::{self, FrameIndex};
use crate::dicom::prescan::{self, Encoding, Limits, PixelData};
use crate::dicom::uid::{SeriesInstanceUid, SopInstanceUid, StudyInstanceUid, TransferSyntaxUid};
pub use crate::storage::read_from_memory;

/// Headers kept for the next frame, bytes. The functional groups of 8,800 frames are about 30 MB of these.
const KEPT_HEADERS: u64 = 40 << 20;
/// Values up to this length are attributes that drawing may need: look-up tables, overlays.
const HEADER_VALUE_BYTES: u64 = 4 << 20;
/// Memory one header may take.
const HEADER_BYTES: u64 = 40 << 20;
/// Inflated pixel data up to this length is kept with its header; of more, each frame is inflated anew.
const KEPT_INFLATED: u64 = 8 << 20;
/// Preamble and prefix of a Part 10 file, PS3.10 section 7.1.
const PREAMBLE: u32 = 132;

/// An instance the archive holds, or a file in quarantine: where it is, not what is in it.
#[derive(Debug, Clone)]
pub struct Holding {
    place: Place,
    row: StoredRow,
    transfer_syntax: TransferSyntaxUid,
}

/// Which table knows of it. Keys are never used again, so this names content for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    Archive(u64),
    Quarantine(u64),
    /// A file that is read without the archive, of which nothing is kept.
    Nowhere,
}

/// What is in an instance beside its pixels, and where those are.
#[derive(Debug)]
pub struct Header {
    /// All attributes up to Pixel Data, and those after it where the file had to be read to its end.
    pub data_set: DataSet,
    /// Where the pixels are. The fragments are left out: [`Archive::frame_bytes`] knows them.
    pub pixel_data: Option<PixelData>,
    index: Option<Result<FrameIndex, String>>,
    inflated: Option<Vec<u8>>,
}

/// Why a stored instance cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Not the instance's fault.
    #[error(transparent)]
    Archive(#[from] Error),
    /// The data set cannot be followed.
    #[error("{0}")]
    DataSet(prescan::Error),
    /// The fragments do not show where frames begin.
    #[error("{0}")]
    Frames(String),
    /// There is no such frame in the pixel data.
    #[error("the pixel data ends before frame {0}")]
    NoFrame(usize),
    /// A frame that no memory is given to.
    #[error("the frame is {0} bytes long, more than filmroom reads at once")]
    TooLong(u64),
}

/// Headers that were read lately.
#[derive(Clone)]
pub struct Headers(Cache<Place, Arc<Header>>);

impl Default for Headers {
    fn default() -> Headers {
        let weigh = |_: &Place, header: &Arc<Header>| u32::try_from(header.weight()).unwrap_or(u32::MAX);
        Headers(Cache::builder().max_capacity(KEPT_HEADERS).weigher(weigh).build())
    }
}

impl Holding {
    fn new(place: Place, row: StoredRow) -> Result<Holding, Error> {
        let transfer_syntax = row.transfer_syntax_uid.parse().map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidData, "an index row has no usable Transfer Syntax UID")
        })?;
        Ok(Holding { place, row, transfer_syntax })
    }

    /// What the index says of it.
    pub fn row(&self) -> &StoredRow {
        &self.row
    }

    /// How the data set is encoded.
    pub fn transfer_syntax(&self) -> &TransferSyntaxUid {
        &self.transfer_syntax
    }

    fn encoding(&self) -> Encoding {
        self.transfer_syntax.encoding()
    }

    fn start(&self) -> u64 {
        u64::from(self.row.data_set_offset)
    }

    /// Bytes of the data set.
    fn length(&self) -> u64 {
        self.row.size_bytes.saturating_sub(self.start())
    }
}

impl Header {
    /// Roughly the bytes of memory it takes.
    fn weight(&self) -> usize {
        let index = match &self.index {
            Some(Ok(index)) => index_weight(index),
            Some(Err(_)) | None => 0,
        };
        let inflated = self.inflated.as_ref().map_or(0, Vec::len);
        tree_weight(&self.data_set) + index + inflated + mem::size_of::<Header>()
    }
}

fn index_weight(index: &FrameIndex) -> usize {
    let fragments = (0..index.frames()).filter_map(|frame0| index.frame(frame0));
    fragments.map(|fragments| mem::size_of::<usize>() + mem::size_of_val(fragments)).sum()
}

fn tree_weight(data_set: &DataSet) -> usize {
    let elements = data_set.elements();
    let values = elements.iter().map(|element| match &element.value {
        Value::Bytes(bytes) => bytes.len() + 16,
        Value::Sequence(items) => items.iter().map(tree_weight).sum(),
        Value::Omitted { .. } => 0,
    });
    // Vectors grow by doubling: on average a quarter of them is empty.
    mem::size_of::<DataSet>() + mem::size_of_val(elements) * 5 / 4 + values.sum::<usize>()
}

impl Archive {
    /// The instance with this UID, if we hold it and its study is visible.
    pub async fn instance(
        &self,
        uid: &SopInstanceUid,
        visibility: &Visibility,
    ) -> Result<Option<Holding>, Error> {
        let (uid, visibility) = (uid.clone(), visibility.clone());
        let find = move |mut conn| async move { Ok(frame::instance(&mut conn, &uid, &visibility).await?) };
        let row = self.with_connection(find).await?;
        row.map(|row| Holding::new(Place::Archive(row.holding_key), row)).transpose()
    }

    /// The instances of a study in the order they are read, if it is visible: all of them, those of one series, or the
    /// one that is named.
    pub async fn instances_of(
        &self,
        study: &StudyInstanceUid,
        series: Option<&SeriesInstanceUid>,
        instance: Option<&SopInstanceUid>,
        visibility: &Visibility,
    ) -> Result<Vec<Holding>, Error> {
        let (study, series, instance) = (study.clone(), series.cloned(), instance.cloned());
        let visibility = visibility.clone();
        let rows = self.with_connection(async move |mut conn| {
            let (series, instance) = (series.as_ref(), instance.as_ref());
            Ok(frame::instances_of(&mut conn, &study, series, instance, &visibility).await?)
        });
        rows.await?.into_iter().map(|row| Holding::new(Place::Archive(row.holding_key), row)).collect()
    }

    /// What [`Archive::instances_of`] would give, in short.
    pub async fn extents_of(
        &self,
        study: &StudyInstanceUid,
        series: Option<&SeriesInstanceUid>,
        instance: Option<&SopInstanceUid>,
        visibility: &Visibility,
    ) -> Result<Vec<ExtentRow>, Error> {
        let (study, series, instance) = (study.clone(), series.cloned(), instance.cloned());
        let visibility = visibility.clone();
        self.with_connection(async move |mut conn| {
            let (series, instance) = (series.as_ref(), instance.as_ref());
            Ok(frame::extents_of(&mut conn, &study, series, instance, &visibility).await?)
        })
        .await
    }

    /// The file in quarantine with this key, if it is still there and the study it is about is visible.
    pub async fn quarantined_file(
        &self,
        key: u64,
        visibility: &Visibility,
    ) -> Result<Option<Holding>, Error> {
        let visibility = visibility.clone();
        let find = move |mut conn| async move { Ok(frame::quarantined(&mut conn, key, &visibility).await?) };
        let row = self.with_connection(find).await?;
        row.map(|row| Holding::new(Place::Quarantine(row.holding_key), row)).transpose()
    }

    /// The instance that stands for a series, the one in its middle, and when the series last changed.
    pub async fn middle_of_series(
        &self,
        uid: &SeriesInstanceUid,
        study: Option<&StudyInstanceUid>,
        visibility: &Visibility,
    ) -> Result<Option<(Holding, String)>, Error> {
        let (uid, study, visibility) = (uid.clone(), study.cloned(), visibility.clone());
        let find = move |mut conn| async move {
            let Some((key, changed)) =
                frame::series_key(&mut conn, &uid, study.as_ref(), &visibility).await?
            else {
                return Ok(None);
            };
            let images = frame::images_of_series(&mut conn, key).await?;
            Ok(frame::middle(&mut conn, key, images).await?.map(|row| (row, changed)))
        };
        standing_for(self.with_connection(find).await?)
    }

    /// The instance that stands for a study, the middle of its most telling series, and when that last changed.
    pub async fn middle_of_study(
        &self,
        uid: &StudyInstanceUid,
        visibility: &Visibility,
    ) -> Result<Option<(Holding, String)>, Error> {
        let (uid, visibility) = (uid.clone(), visibility.clone());
        let find = move |mut conn| async move {
            let Some(study) = frame::study(&mut conn, &uid, &visibility).await? else { return Ok(None) };
            let series = frame::series_of_study(&mut conn, study.study_key).await?;
            let Some(telling) = most_telling(&series) else { return Ok(None) };
            let row = frame::middle(&mut conn, telling.series_key, telling.images).await?;
            Ok(row.map(|row| (row, telling.changed.clone())))
        };
        standing_for(self.with_connection(find).await?)
    }

    /// A study and its series, for the viewer, if it is visible.
    pub async fn viewed_study(
        &self,
        uid: &StudyInstanceUid,
        visibility: &Visibility,
    ) -> Result<Option<(StudyRow, Vec<SeriesRow>)>, Error> {
        let (uid, visibility) = (uid.clone(), visibility.clone());
        self.with_connection(move |mut conn| async move {
            let Some(study) = frame::study(&mut conn, &uid, &visibility).await? else { return Ok(None) };
            let series = frame::series_of_study(&mut conn, study.study_key).await?;
            Ok(Some((study, series)))
        })
        .await
    }

    /// The instances of a series in their order, and the device that made it.
    pub async fn stack(&self, series_key: u64) -> Result<(Vec<StackRow>, Option<EquipmentRow>), Error> {
        self.with_connection(move |mut conn| async move {
            let equipment = frame::equipment(&mut conn, series_key).await?;
            Ok((frame::stack(&mut conn, series_key).await?, equipment))
        })
        .await
    }

    /// The attributes of an instance and where its pixels are; from memory where they were needed lately.
    pub async fn header(&self, holding: &Holding) -> Result<Arc<Header>, Unreadable> {
        if let Some(header) = self.inner.headers.0.get(&holding.place) {
            return Ok(header);
        }
        let encoded = match holding.place {
            Place::Archive(key) if holding.row.pixel_data_offset.is_some() => {
                let find = move |mut conn| async move { Ok(frame::frame_index(&mut conn, key).await?) };
                self.with_connection(find).await?
            }
            _ => None,
        };
        let (archive, wanted) = (self.clone(), holding.clone());
        let read = move || Ok(read_header(&archive.open(&wanted)?, &wanted, encoded));
        let header = Arc::new(self.blocking(read).await??);
        self.inner.headers.0.insert(holding.place, Arc::clone(&header));
        Ok(header)
    }

    /// Every attribute, with values up to `value_bytes`; longer ones are left out, and say how long they are.
    pub async fn attributes(&self, holding: &Holding, value_bytes: u64) -> Result<DataSet, Unreadable> {
        // Two trees of one large instance would be one too many; the header is soon read again.
        self.inner.headers.0.invalidate(&holding.place);
        let (archive, wanted) = (self.clone(), holding.clone());
        let read = move || {
            let limits = Limits {
                value_bytes,
                tree_bytes: HEADER_BYTES.max(value_bytes + (8 << 20)),
                ..Limits::default()
            };
            Ok(scan(&archive.open(&wanted)?, wanted.start(), wanted.length(), wanted.encoding(), &limits))
        };
        Ok(self.blocking(read).await??.data_set)
    }

    /// The file meta information, group 0002.
    pub async fn file_meta(&self, holding: &Holding) -> Result<DataSet, Unreadable> {
        let (archive, wanted) = (self.clone(), holding.clone());
        let read = move || {
            let length = wanted.start().saturating_sub(u64::from(PREAMBLE));
            let file = archive.open(&wanted)?;
            let limits = Limits { tree_bytes: 1 << 20, ..Limits::default() };
            Ok(scan(&file, u64::from(PREAMBLE), length, Encoding::ExplicitVrLittleEndian, &limits))
        };
        Ok(self.blocking(read).await??.data_set)
    }

    /// The file itself, group 0002 ours and the data set as received, and its length in bytes. Blocks shortly.
    pub fn file(&self, holding: &Holding) -> Result<(File, u64), Error> {
        let file = self.open(holding)?;
        let length = file.metadata()?.len();
        Ok((file, length))
    }

    fn open(&self, holding: &Holding) -> Result<File, Error> {
        Ok(self.storage().read(&holding.row.path)?)
    }
}

fn standing_for(found: Option<(StoredRow, String)>) -> Result<Option<(Holding, String)>, Error> {
    let Some((row, changed)) = found else { return Ok(None) };
    Ok(Some((Holding::new(Place::Archive(row.holding_key), row)?, changed)))
}

/// The series a person would recognise the study by: pictures of the patient before localizers, masks, doses and
/// documents, and among those the one with the most frames.
fn most_telling(series: &[SeriesRow]) -> Option<&SeriesRow> {
    let rank = |series: &SeriesRow| {
        let derived =
            matches!(series.modality.as_str(), "SEG" | "RTDOSE" | "OT" | "REG" | "SR" | "PR" | "KO");
        (series.images > 0, series.images > series.localizers, !derived, series.frames)
    };
    // The first of equals: max_by_key would take the last.
    series.iter().rev().max_by_key(|series| rank(series))
}

fn read_header(file: &File, holding: &Holding, encoded_index: Option<Vec<u8>>) -> Result<Header, Unreadable> {
    let limits = Limits { value_bytes: HEADER_VALUE_BYTES, tree_bytes: HEADER_BYTES, ..Limits::default() };
    if let Some(known) = encoded_index.and_then(|encoded| known_fragments(file, holding, &encoded)) {
        let (index, before) = known;
        let mut scan = scan(file, holding.start(), before, holding.encoding(), &limits)?;
        let pixel_data = PixelData {
            tag: dicom_dictionary_std::tags::PIXEL_DATA,
            vr: dicom_core::VR::OB,
            offset: holding.row.pixel_data_offset.unwrap_or_default().saturating_sub(holding.start()),
            length: None,
            fragments: Vec::new(),
            basic_offset_table: Vec::new(),
            extended_offset_table: Vec::new(),
        };
        scan.pixel_data = Some(pixel_data);
        return Ok(Header {
            data_set: scan.data_set,
            pixel_data: scan.pixel_data,
            index: Some(Ok(index)),
            inflated: None,
        });
    }
    let scan = scan(file, holding.start(), holding.length(), holding.encoding(), &limits)?;
    let data_set = scan.data_set;
    let mut pixel_data = scan.pixel_data;
    let index = match &pixel_data {
        Some(pixels) if pixels.length.is_none() => Some(index_of(file, holding, &data_set, pixels)?),
        _ => None,
    };
    if let Some(pixels) = &mut pixel_data {
        pixels.fragments = Vec::new();
        pixels.basic_offset_table = Vec::new();
        pixels.extended_offset_table = Vec::new();
    }
    let inflated = match &pixel_data {
        Some(PixelData { offset, length: Some(length), .. })
            if holding.encoding() == Encoding::Deflated && *length <= KEPT_INFLATED =>
        {
            Some(pixels::inflate(file, holding, *offset, *length)?)
        }
        _ => None,
    };
    Ok(Header { data_set, pixel_data, index, inflated })
}

/// The index made anew. Where the fragments do not show the frames, the words for it.
fn index_of(
    file: &File,
    holding: &Holding,
    data_set: &DataSet,
    pixels: &PixelData,
) -> Result<Result<FrameIndex, String>, Error> {
    if holding.encoding() == Encoding::Deflated {
        return Ok(Err("fragments within a deflated data set cannot be read".to_owned()));
    }
    let frames = data_set.integer(dicom_dictionary_std::tags::NUMBER_OF_FRAMES);
    let frames = frames.and_then(|frames| u32::try_from(frames).ok()).unwrap_or(1);
    let read_at =
        |offset: u64, bytes: &mut [u8]| file.read_exact_at(bytes, holding.start().saturating_add(offset));
    match FrameIndex::build(pixels, frames, read_at) {
        Ok(index) => Ok(Ok(index.moved_by(holding.start()))),
        Err(frame_index::Error::Io(err)) => Err(err.into()),
        Err(err) => Ok(Err(err.to_string())),
    }
}

/// The index as it was stored, and the bytes of the data set before Pixel Data; none where it does not fit the file.
fn known_fragments(file: &File, holding: &Holding, encoded: &[u8]) -> Option<(FrameIndex, u64)> {
    let value = holding.row.pixel_data_offset?;
    let index = FrameIndex::decode(encoded).ok()?.moved_by(holding.start());
    // An item tag stands before the bytes of every fragment.
    let first = index.frame(0)?.first()?.offset;
    let mut item = [0; 4];
    file.read_exact_at(&mut item, first.checked_sub(8)?).ok()?;
    if item != [0xFE, 0xFF, 0x00, 0xE0] {
        return None;
    }
    // The header of the element is 12 bytes long with a VR and 8 without.
    let before = [12, 8].into_iter().find_map(|size| {
        let start = value.checked_sub(size)?;
        let mut tag = [0; 4];
        file.read_exact_at(&mut tag, start).ok()?;
        (tag == [0xE0, 0x7F, 0x10, 0x00]).then_some(start)
    })?;
    Some((index, before.checked_sub(holding.start())?))
}

fn scan(
    file: &File,
    start: u64,
    length: u64,
    encoding: Encoding,
    limits: &Limits,
) -> Result<prescan::Scan, Unreadable> {
    let mut source = file;
    source.seek(SeekFrom::Start(start)).map_err(Error::File)?;
    prescan::scan(source, length, encoding, limits).map_err(unreadable)
}

fn unreadable(err: prescan::Error) -> Unreadable {
    match err {
        prescan::Error::Io(err) => Unreadable::Archive(Error::File(err)),
        err => Unreadable::DataSet(err),
    }
}
