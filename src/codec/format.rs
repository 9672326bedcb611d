//! The shape of a frame, from the attributes of the Image Pixel module (PS3.3 C.7.6.3), every size checked.

use std::ops::Range;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

use super::{Error, Photometric};
use crate::dicom::data_set::{DataSet, Value};
use crate::dicom::prescan::PixelData;
use crate::dicom::uid::{Encoding, TransferSyntaxUid};

/// No decoded frame may be larger.
pub const MAX_FRAME_BYTES: u64 = 512 << 20;
/// Rows and Columns are US.
const MAX_SIDE: i64 = 65_535;

/// What kind of number a sample is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// Pixel Data (7FE0,0010).
    Integer,
    /// Float Pixel Data (7FE0,0008).
    Float,
    /// Double Float Pixel Data (7FE0,0009).
    Double,
}

/// Which byte of a word comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteOrder {
    /// The least significant one.
    Little,
    /// The most significant one.
    Big,
}

/// How the bytes of a frame have to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PixelEncoding {
    /// Uncompressed; `swapped_bytes` when 8-bit samples stand in big endian 16-bit words.
    Native {
        /// Byte order of samples of more than 8 bits.
        order: ByteOrder,
        /// Whether neighbouring bytes have changed places.
        swapped_bytes: bool,
    },
    /// RLE Lossless.
    Rle,
    /// Deflated Image Frame Compression.
    Deflated,
    /// JPEG, JPEG-LS, JPEG 2000, HTJ2K or JPEG XL: the codestream says which.
    Codestream,
    /// MPEG-2, MPEG-4 AVC, HEVC, SMPTE ST 2110.
    Video,
    /// JPIP: only an address is in the instance.
    Elsewhere,
}

/// Everything a decoder must know to read one frame.
#[derive(Debug, Clone, PartialEq)]
pub struct FrameFormat {
    /// Rows (0028,0010), 1 to 65535.
    pub rows: u32,
    /// Columns (0028,0011), 1 to 65535.
    pub columns: u32,
    /// Samples per Pixel (0028,0002), 1 or 3.
    pub samples_per_pixel: u16,
    /// Bits Allocated (0028,0100): 1, 8, 16, 32 or 64.
    pub bits_allocated: u16,
    /// Bits Stored (0028,0101), 1 to Bits Allocated.
    pub bits_stored: u16,
    /// High Bit (0028,0102), less than Bits Allocated.
    pub high_bit: u16,
    /// Pixel Representation (0028,0103).
    pub signed: bool,
    /// Planar Configuration (0028,0006): each colour a plane of its own.
    pub planar: bool,
    /// Photometric Interpretation (0028,0004).
    pub photometric: Photometric,
    /// Integer or floating point.
    pub number: Number,
    /// Number of Frames (0028,0008), at least 1.
    pub number_of_frames: u32,
    /// How the bytes of a frame have to be read.
    pub encoding: PixelEncoding,
    /// Whether Pixel Data is a sequence of fragments.
    pub encapsulated: bool,
    /// The transfer syntax, for the sentence when the compression is not known.
    pub transfer_syntax: String,
    /// Whether overlays stand in the unused bits of the samples, so that these must be kept.
    pub keep_unused_bits: bool,
}

/// Where a native frame stands in the value of Pixel Data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NativeFrame {
    /// Bytes from the start of the value.
    pub offset: u64,
    /// Bytes to read; what of it is missing at the end of the value may be left out.
    pub length: u64,
    /// Bits before the first pixel in these bytes.
    pub first_bit: u8,
}

impl FrameFormat {
    /// Reads and checks the attributes that belong to the pixel data.
    pub fn from_data_set(
        attributes: &DataSet,
        transfer_syntax: &TransferSyntaxUid,
        pixel_data: &PixelData,
    ) -> Result<Self, Error> {
        let rows = side(attributes, tags::ROWS, "Rows")?;
        let columns = side(attributes, tags::COLUMNS, "Columns")?;
        let number = match pixel_data.tag {
            tags::FLOAT_PIXEL_DATA => Number::Float,
            tags::DOUBLE_FLOAT_PIXEL_DATA => Number::Double,
            _ => Number::Integer,
        };
        let photometric_text = attributes.text(tags::PHOTOMETRIC_INTERPRETATION);
        let samples = attributes.integer(tags::SAMPLES_PER_PIXEL);
        let photometric = match &photometric_text {
            Some(text) => Photometric::parse(text).ok_or_else(|| Error::Unsupported {
                attribute: "Photometric Interpretation",
                value: text.clone(),
            })?,
            None if samples == Some(3) => Photometric::Rgb,
            None => Photometric::Monochrome2,
        };
        let samples_per_pixel = match samples {
            None => photometric.samples_per_pixel(),
            Some(1) if photometric.samples_per_pixel() == 1 => 1,
            Some(3) if photometric.samples_per_pixel() == 3 => 3,
            Some(other) => {
                let value = match &photometric_text {
                    Some(text) => format!("{other} with Photometric Interpretation {text}"),
                    None => other.to_string(),
                };
                return Err(Error::Unsupported { attribute: "Samples per Pixel", value });
            }
        };
        let (bits_allocated, bits_stored, high_bit) = bits(attributes, number)?;
        let encapsulated = pixel_data.length.is_none();
        let encoding = encoding(
            transfer_syntax,
            encapsulated,
            pixel_data.vr,
            bits_allocated,
            attributes.is_big_endian(),
        );

        let mut format = Self {
            rows,
            columns,
            samples_per_pixel,
            bits_allocated,
            bits_stored,
            high_bit,
            signed: number == Number::Integer && attributes.integer(tags::PIXEL_REPRESENTATION) == Some(1),
            planar: attributes.integer(tags::PLANAR_CONFIGURATION) == Some(1),
            photometric,
            number,
            number_of_frames: 1,
            encoding,
            encapsulated,
            transfer_syntax: transfer_syntax.as_str().to_owned(),
            keep_unused_bits: bits_allocated == 16 && overlays_in_pixels(attributes),
        };
        let decoded = format
            .pixels()
            .saturating_mul(u64::from(samples_per_pixel))
            .saturating_mul(u64::from(bits_allocated.div_ceil(8)));
        if decoded > MAX_FRAME_BYTES {
            return Err(Error::TooLarge(decoded));
        }
        if format.photometric.is_422() && !encapsulated && (columns % 2 == 1 || bits_allocated != 8) {
            return Err(Error::Unsupported {
                attribute: "Photometric Interpretation",
                value: format!("sub-sampled colour with {columns} columns of {bits_allocated} bits"),
            });
        }
        format.number_of_frames = frames(attributes, &format, pixel_data.length);
        Ok(format)
    }

    /// Rows times Columns.
    pub fn pixels(&self) -> u64 {
        u64::from(self.rows) * u64::from(self.columns)
    }

    /// Bits one native frame takes; frames of one bit a pixel are not padded to bytes.
    pub fn native_frame_bits(&self) -> u64 {
        let samples = if self.photometric.is_422() { 2 } else { u64::from(self.samples_per_pixel) };
        self.pixels().saturating_mul(samples).saturating_mul(u64::from(self.bits_allocated))
    }

    /// Bytes one native frame takes.
    pub fn native_frame_bytes(&self) -> u64 {
        self.native_frame_bits().div_ceil(8)
    }

    /// Where frame `frame0` (from 0) stands in a native Pixel Data value; nothing if encapsulated.
    pub fn native_frame(&self, frame0: u32) -> Option<NativeFrame> {
        let PixelEncoding::Native { swapped_bytes, .. } = self.encoding else { return None };
        if self.encapsulated {
            return None;
        }
        let first = self.native_frame_bits().checked_mul(u64::from(frame0))?;
        let end = first.checked_add(self.native_frame_bits())?;
        let unit = if swapped_bytes { 16 } else { 8 };
        let start = first / unit * unit;
        Some(NativeFrame {
            offset: start / 8,
            length: (end - start).div_ceil(unit) * unit / 8,
            first_bit: u8::try_from(first - start).ok()?,
        })
    }

    /// Where some rows of a native frame stand, and their format; nothing where rows are not bytes that follow each
    /// other (planes, single bits, swapped bytes) or the frame is needed as a whole.
    pub fn native_rows(&self, frame0: u32, rows: Range<u32>) -> Option<(Self, NativeFrame)> {
        let swapped = matches!(self.encoding, PixelEncoding::Native { swapped_bytes: true, .. });
        let planes = self.planar && self.samples_per_pixel > 1;
        let outside = rows.is_empty() || rows.end > self.rows;
        if self.bits_allocated < 8 || planes || swapped || self.keep_unused_bits || outside {
            return None;
        }
        let frame = self.native_frame(frame0)?;
        let format = Self { rows: rows.end - rows.start, ..self.clone() };
        let row = self.native_frame_bytes() / u64::from(self.rows);
        let offset = row.checked_mul(rows.start.into())?.checked_add(frame.offset)?;
        Some((format, NativeFrame { offset, length: row * u64::from(rows.end - rows.start), first_bit: 0 }))
    }

    /// A grey picture, for tests.
    #[cfg(test)]
    pub(crate) fn grey(rows: u32, columns: u32, bits_allocated: u16, bits_stored: u16) -> Self {
        Self {
            rows,
            columns,
            samples_per_pixel: 1,
            bits_allocated,
            bits_stored,
            high_bit: bits_stored - 1,
            signed: false,
            planar: false,
            photometric: Photometric::Monochrome2,
            number: Number::Integer,
            number_of_frames: 1,
            encoding: PixelEncoding::Native { order: ByteOrder::Little, swapped_bytes: false },
            encapsulated: false,
            transfer_syntax: "1.2.840.10008.1.2.1".to_owned(),
            keep_unused_bits: false,
        }
    }

    /// An 8-bit RGB picture, for tests.
    #[cfg(test)]
    pub(crate) fn colour(rows: u32, columns: u32) -> Self {
        Self { samples_per_pixel: 3, photometric: Photometric::Rgb, ..Self::grey(rows, columns, 8, 8) }
    }
}

fn side(attributes: &DataSet, tag: Tag, name: &'static str) -> Result<u32, Error> {
    match attributes.integer(tag) {
        None => Err(Error::Missing(name)),
        Some(value @ 1..=MAX_SIDE) => u32::try_from(value).map_err(|_| Error::Missing(name)),
        Some(other) => Err(Error::Unsupported { attribute: name, value: other.to_string() }),
    }
}

/// Bits Allocated, Bits Stored and High Bit; the latter two are corrected where they cannot be true.
fn bits(attributes: &DataSet, number: Number) -> Result<(u16, u16, u16), Error> {
    let allocated = match (number, attributes.integer(tags::BITS_ALLOCATED)) {
        (Number::Float, _) => 32,
        (Number::Double, _) => 64,
        (Number::Integer, None) => return Err(Error::Missing("Bits Allocated")),
        (Number::Integer, Some(value)) => match value {
            1 => 1,
            8 => 8,
            16 => 16,
            32 => 32,
            other => {
                return Err(Error::Unsupported { attribute: "Bits Allocated", value: other.to_string() });
            }
        },
    };
    let small = |tag| attributes.integer(tag).and_then(|value| u16::try_from(value).ok());
    let stored = small(tags::BITS_STORED).filter(|stored| (1..=allocated).contains(stored));
    let stored = if number == Number::Integer { stored.unwrap_or(allocated) } else { allocated };
    let high = small(tags::HIGH_BIT).filter(|high| *high < allocated && *high + 1 >= stored);
    Ok((allocated, stored, high.unwrap_or(stored - 1)))
}

/// How fragments of this transfer syntax have to be read.
pub fn pixel_encoding(transfer_syntax: &TransferSyntaxUid) -> PixelEncoding {
    encoding(transfer_syntax, true, VR::OB, 8, false)
}

fn encoding(
    transfer_syntax: &TransferSyntaxUid,
    encapsulated: bool,
    vr: VR,
    bits_allocated: u16,
    big_endian: bool,
) -> PixelEncoding {
    let uid = transfer_syntax.as_str();
    if matches!(uid, "1.2.840.10008.1.2.4.94" | "1.2.840.10008.1.2.4.95")
        || matches!(uid, "1.2.840.10008.1.2.4.204" | "1.2.840.10008.1.2.4.205")
    {
        return PixelEncoding::Elsewhere;
    }
    if encapsulated {
        return match uid {
            "1.2.840.10008.1.2.5" => PixelEncoding::Rle,
            "1.2.840.10008.1.2.1.98" => {
                PixelEncoding::Native { order: ByteOrder::Little, swapped_bytes: false }
            }
            "1.2.840.10008.1.2.8.1" => PixelEncoding::Deflated,
            _ if is_video(uid) => PixelEncoding::Video,
            _ => PixelEncoding::Codestream,
        };
    }
    let big = big_endian
        || transfer_syntax.encoding() == Encoding::ExplicitVrBigEndian
        || transfer_syntax.has_big_endian_pixels();
    let order = if big { ByteOrder::Big } else { ByteOrder::Little };
    // Samples of 8 bits and less in words of 16: PS3.5 section 7.3 swaps the bytes of the word.
    let swapped_bytes = big && vr == VR::OW && bits_allocated <= 8;
    PixelEncoding::Native { order, swapped_bytes }
}

/// MPEG-2, MPEG-4 and HEVC (also fragmentable) and SMPTE ST 2110: PS3.6 Table A-1.
fn is_video(uid: &str) -> bool {
    let number = uid.strip_prefix("1.2.840.10008.1.2.4.").and_then(|rest| rest.split('.').next());
    number.is_some_and(|number| {
        matches!(number, "100" | "101" | "102" | "103" | "104" | "105" | "106" | "107" | "108")
    }) || uid.starts_with("1.2.840.10008.1.2.7.")
}

/// Number of Frames, or how many there is room for where the attribute is missing or nonsense.
fn frames(attributes: &DataSet, format: &FrameFormat, length: Option<u64>) -> u32 {
    match attributes.integer(tags::NUMBER_OF_FRAMES) {
        Some(frames) if frames >= 1 => u32::try_from(frames).unwrap_or(u32::MAX),
        _ if attributes.element(tags::NUMBER_OF_FRAMES).is_none() => 1,
        _ => {
            let bits = length.unwrap_or(0).saturating_mul(8);
            u32::try_from(bits / format.native_frame_bits().max(1)).unwrap_or(u32::MAX).max(1)
        }
    }
}

/// Whether a 60xx group says its overlay stands in the pixels: Overlay Bits Allocated other than 1 and no
/// Overlay Data.
fn overlays_in_pixels(attributes: &DataSet) -> bool {
    (0x6000..=0x601E).step_by(2).any(|group| {
        attributes.integer(Tag(group, 0x0100)).is_some_and(|bits| bits > 1)
            && !attributes
                .element(Tag(group, 0x3000))
                .is_some_and(|element| !matches!(&element.value, Value::Bytes(bytes) if bytes.is_empty()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::data_set::Element;

    #[test]
    fn odd_one_bit_frames_begin_in_the_middle_of_a_byte() {
        let format = FrameFormat::grey(5, 5, 1, 1);
        assert_eq!(format.native_frame(1), Some(NativeFrame { offset: 3, length: 4, first_bit: 1 }));
    }

    #[test]
    fn swapped_bytes_are_read_in_whole_words() {
        let encoding = PixelEncoding::Native { order: ByteOrder::Big, swapped_bytes: true };
        let format = FrameFormat { encoding, ..FrameFormat::colour(3, 3) };
        assert_eq!(format.native_frame(1), Some(NativeFrame { offset: 26, length: 28, first_bit: 8 }));
    }

    #[test]
    fn sub_sampled_colour_takes_two_samples_a_pixel() {
        let format = FrameFormat { photometric: Photometric::YbrFull422, ..FrameFormat::colour(2, 2) };
        assert_eq!(format.native_frame_bytes(), 8);
    }

    #[test]
    fn rows_of_a_frame_are_read_by_themselves_where_they_are_bytes_of_their_own() {
        let format = FrameFormat::grey(100, 50, 16, 12);
        let (rows, place) = format.native_rows(3, 10..14).unwrap();
        assert_eq!((rows.rows, rows.columns), (4, 50));
        assert_eq!(place, NativeFrame { offset: 3 * 10_000 + 1000, length: 400, first_bit: 0 });
        let sub_sampled = FrameFormat { photometric: Photometric::YbrFull422, ..FrameFormat::colour(4, 2) };
        assert_eq!(sub_sampled.native_rows(0, 1..2).unwrap().1.offset, 4);
        assert_eq!(format.native_rows(0, 90..101), None);
        assert_eq!(FrameFormat::grey(8, 8, 1, 1).native_rows(0, 0..1), None);
        assert_eq!(FrameFormat { planar: true, ..FrameFormat::colour(2, 2) }.native_rows(0, 0..1), None);
        assert_eq!(FrameFormat { encapsulated: true, ..format }.native_rows(0, 0..1), None);
    }

    #[test]
    fn the_largest_sides_do_not_overflow() {
        let format = FrameFormat::grey(65_535, 65_535, 32, 32);
        assert_eq!(format.native_frame(1).map(|frame| frame.offset), Some(65_535 * 65_535 * 4));
        assert_eq!(format.native_frame(u32::MAX), None);
    }

    #[test]
    fn mpeg_is_a_video_and_jpeg_is_not() {
        assert!(is_video("1.2.840.10008.1.2.4.102"));
        assert!(is_video("1.2.840.10008.1.2.4.103.1"));
        assert!(!is_video("1.2.840.10008.1.2.4.50"));
    }

    fn us(tag: Tag, value: u16) -> Element {
        Element { tag, vr: VR::US, value: Value::Bytes(value.to_le_bytes().to_vec()) }
    }

    fn read(
        photometric: &str,
        samples: u16,
        rows: u16,
        allocated: u16,
        stored: u16,
    ) -> Result<FrameFormat, Error> {
        let attributes = DataSet::of([
            us(tags::SAMPLES_PER_PIXEL, samples),
            Element {
                tag: tags::PHOTOMETRIC_INTERPRETATION,
                vr: VR::CS,
                value: Value::Bytes(photometric.as_bytes().to_vec()),
            },
            us(tags::ROWS, rows),
            us(tags::COLUMNS, 60_000),
            us(tags::BITS_ALLOCATED, allocated),
            us(tags::BITS_STORED, stored),
            us(tags::HIGH_BIT, 99),
        ]);
        let pixel_data = PixelData {
            tag: tags::PIXEL_DATA,
            vr: VR::OW,
            offset: 0,
            length: Some(0),
            fragments: Vec::new(),
            basic_offset_table: Vec::new(),
            extended_offset_table: Vec::new(),
        };
        let transfer_syntax = "1.2.840.10008.1.2.1".parse().unwrap();
        FrameFormat::from_data_set(&attributes, &transfer_syntax, &pixel_data)
    }

    #[test]
    fn impossible_bits_are_corrected() {
        let format = read("MONOCHROME2", 1, 2, 16, 99).unwrap();
        assert_eq!((format.bits_stored, format.high_bit), (16, 15));
        assert_eq!(read("MONOCHROME2", 1, 2, 16, 12).unwrap().high_bit, 11);
    }

    #[test]
    fn a_frame_of_gigabytes_is_refused_before_anything_is_allocated() {
        assert_eq!(read("RGB", 3, 60_000, 8, 8), Err(Error::TooLarge(10_800_000_000)));
    }

    #[test]
    fn what_cannot_be_drawn_is_named() {
        let sentence = |result: Result<FrameFormat, Error>| result.unwrap_err().to_string();
        assert_eq!(sentence(read("RGB", 3, 0, 8, 8)), "Rows is 0, which filmroom cannot show");
        assert_eq!(
            sentence(read("CMYK", 4, 9, 8, 8)),
            "Photometric Interpretation is CMYK, which filmroom cannot show"
        );
        assert_eq!(
            sentence(read("MONOCHROME2", 1, 9, 12, 12)),
            "Bits Allocated is 12, which filmroom cannot show"
        );
        assert!(sentence(read("RGB", 1, 9, 8, 8)).starts_with("Samples per Pixel is 1 with"));
    }
}
