//! How pixels are written when they are native, PS3.5 section 8.1 and annex A, and the attributes of the Image Pixel
//! module (PS3.3 C.7.6.3) that say so.

use std::ops::Range;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

use crate::codec::{Decoded, FrameFormat, Number, Photometric, Samples};
use crate::dicom::data_set::{DataSet, Element, Value};
use crate::dicom::prescan::PixelData;
use crate::dicom::reencode::Pixels;
use crate::dicom::uid::TransferSyntaxUid;

/// Native pixels stay what they are; only big endian ones are turned.
pub(super) fn as_stored(attributes: &DataSet, stored: &TransferSyntaxUid, pixels: &PixelData) -> Pixels {
    let allocated = attributes.integer(tags::BITS_ALLOCATED).unwrap_or(0);
    let vr = match pixels.vr {
        // PS3.5 A.2: OB is for samples of up to 8 bits.
        VR::OB if pixels.tag == tags::PIXEL_DATA && allocated > 8 => VR::OW,
        VR::UN if pixels.tag == tags::PIXEL_DATA => VR::OW,
        VR::UN => float_vr(pixels.tag),
        vr => vr,
    };
    let swapped = match (pixels.tag, allocated) {
        _ if !stored.has_big_endian_pixels() => 1,
        (tags::FLOAT_PIXEL_DATA, _) => 4,
        (tags::DOUBLE_FLOAT_PIXEL_DATA, _) => 8,
        (_, 32) => 4,
        (_, 64) => 8,
        (_, ..=8) if pixels.vr != VR::OW => 1,
        _ => 2,
    };
    Pixels::Native { vr, swapped }
}

fn float_vr(tag: Tag) -> VR {
    if tag == tags::DOUBLE_FLOAT_PIXEL_DATA { VR::OD } else { VR::OF }
}

/// What decoded frames look like when they are written. All frames of an instance must be of the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NativeForm {
    rows: u32,
    columns: u32,
    samples_per_pixel: u16,
    /// Bits Allocated: 1, 8, 16, 32 or 64.
    pub(super) bits_allocated: u16,
    bits_stored: u16,
    decoded: Photometric,
    /// Overlays stand in the unused bits, so that words are written as they were.
    has_unused_bits: bool,
    number: Number,
}

impl NativeForm {
    pub(super) fn of(format: &FrameFormat, decoded: &Decoded) -> NativeForm {
        let least = match &decoded.samples {
            Samples::U8(_) if format.bits_allocated == 1 && decoded.bits_stored == 1 => 1,
            Samples::U8(_) => 8,
            Samples::U16(_) | Samples::I16(_) if decoded.bits_stored <= 8 => 8,
            Samples::U16(_) | Samples::I16(_) => 16,
            Samples::U32(_) | Samples::I32(_) | Samples::F32(_) => 32,
            Samples::F64(_) => 64,
        };
        NativeForm {
            rows: decoded.rows,
            columns: decoded.columns,
            samples_per_pixel: decoded.samples_per_pixel,
            bits_allocated: format.bits_allocated.max(least),
            bits_stored: decoded.bits_stored,
            decoded: decoded.photometric,
            has_unused_bits: decoded.unused_bits.is_some(),
            number: format.number,
        }
    }

    /// Samples of a frame.
    pub(super) fn samples(&self) -> u64 {
        u64::from(self.rows) * u64::from(self.columns) * u64::from(self.samples_per_pixel)
    }

    /// Bytes of so many frames, without padding; frames of one bit a pixel are not padded to bytes.
    pub(super) fn bytes(&self, frames: usize) -> u64 {
        let frames = u64::try_from(frames).unwrap_or(u64::MAX);
        self.samples().saturating_mul(u64::from(self.bits_allocated)).saturating_mul(frames).div_ceil(8)
    }

    /// How Pixel Data is written in Explicit VR, PS3.5 A.2.
    pub(super) fn vr(&self) -> VR {
        match self.number {
            Number::Float => VR::OF,
            Number::Double => VR::OD,
            Number::Integer if self.bits_allocated > 8 => VR::OW,
            Number::Integer => VR::OB,
        }
    }

    /// Whether luminance and chrominance keep to the narrow range, which native full-size colour has no name for.
    pub(super) fn is_partial(&self) -> bool {
        matches!(self.decoded, Photometric::YbrPartial422 | Photometric::YbrPartial420)
    }

    /// The attributes that are not what they were.
    pub(super) fn changed(&self, attributes: &DataSet) -> Vec<Element> {
        let mut changed = Vec::new();
        let mut number = |tag, value: u16| {
            if attributes.integer(tag) != Some(i64::from(value)) {
                let value = Value::Bytes(value.to_le_bytes().to_vec());
                changed.push(Element { tag, vr: VR::US, value });
            }
        };
        number(tags::SAMPLES_PER_PIXEL, self.samples_per_pixel);
        if self.samples_per_pixel > 1 {
            number(tags::PLANAR_CONFIGURATION, 0);
        }
        number(tags::BITS_ALLOCATED, self.bits_allocated);
        if self.number == Number::Integer && !self.has_unused_bits {
            number(tags::BITS_STORED, self.bits_stored);
            number(tags::HIGH_BIT, self.bits_stored.saturating_sub(1));
        }
        let photometric = attributes.text(tags::PHOTOMETRIC_INTERPRETATION);
        let said = photometric.as_deref().and_then(Photometric::parse);
        if said != Some(self.decoded) || name(self.decoded).1 {
            let value = Value::Bytes(name(self.decoded).0.as_bytes().to_vec());
            changed.push(Element { tag: tags::PHOTOMETRIC_INTERPRETATION, vr: VR::CS, value });
        }
        changed
    }

    /// Appends some samples of a frame.
    pub(super) fn write(&self, frame: &Decoded, part: Range<usize>, bits: &mut Bits, out: &mut Vec<u8>) {
        let Range { start: from, end: to } = part;
        let width = usize::from(self.bits_allocated / 8);
        if let Some(words) = &frame.unused_bits {
            return put(words.get(from..to), width, out, u16::to_le_bytes);
        }
        match &frame.samples {
            Samples::U8(samples) if self.bits_allocated == 1 => {
                bits.append(samples.get(from..to).unwrap_or_default(), out);
            }
            Samples::U8(samples) if self.is_partial() => {
                let (pixels, _) = samples.get(from..to).unwrap_or_default().as_chunks::<3>();
                pixels.iter().for_each(|pixel| out.extend(full_range(*pixel)));
            }
            Samples::U8(samples) if width == 1 => {
                out.extend_from_slice(samples.get(from..to).unwrap_or_default());
            }
            Samples::U8(samples) => put(samples.get(from..to), width, out, |s| u32::from(s).to_le_bytes()),
            Samples::U16(samples) if width == 2 => put(samples.get(from..to), width, out, u16::to_le_bytes),
            Samples::U16(samples) => put(samples.get(from..to), width, out, |s| u32::from(s).to_le_bytes()),
            Samples::I16(samples) => put(samples.get(from..to), width, out, |s| i32::from(s).to_le_bytes()),
            Samples::U32(samples) => put(samples.get(from..to), width, out, u32::to_le_bytes),
            Samples::I32(samples) => put(samples.get(from..to), width, out, i32::to_le_bytes),
            Samples::F32(samples) => put(samples.get(from..to), width, out, f32::to_le_bytes),
            Samples::F64(samples) => put(samples.get(from..to), width, out, f64::to_le_bytes),
        }
    }
}

/// The Photometric Interpretation of samples that have gone through the decoder, and whether that is another one than
/// before: nothing is sub-sampled or transformed any more.
fn name(decoded: Photometric) -> (&'static str, bool) {
    match decoded {
        Photometric::Monochrome1 => ("MONOCHROME1", false),
        Photometric::Monochrome2 => ("MONOCHROME2", false),
        Photometric::PaletteColor => ("PALETTE COLOR", false),
        Photometric::Rgb => ("RGB", false),
        Photometric::YbrFull => ("YBR_FULL", false),
        Photometric::YbrFull422 | Photometric::YbrPartial422 | Photometric::YbrPartial420 => {
            ("YBR_FULL", true)
        }
        Photometric::YbrIct | Photometric::YbrRct | Photometric::Xyb => ("RGB", true),
    }
}

/// The `width` low bytes of each sample.
fn put<T: Copy, const N: usize>(
    samples: Option<&[T]>,
    width: usize,
    out: &mut Vec<u8>,
    bytes: impl Fn(T) -> [u8; N],
) {
    let samples = samples.unwrap_or_default();
    match width {
        width if width == N => out.extend(samples.iter().flat_map(|&sample| bytes(sample))),
        width => out.extend(samples.iter().flat_map(|&sample| bytes(sample).into_iter().take(width))),
    }
}

/// YBR_PARTIAL to YBR_FULL: 16 to 235 and 16 to 240 become 0 to 255, PS3.3 C.7.6.3.1.2.
fn full_range([luminance, blue, red]: [u8; 3]) -> [u8; 3] {
    let stretch = |sample: u8, zero: i32, range: i32, middle: i32| {
        let value = ((i32::from(sample) - zero) * 510 + range).div_euclid(2 * range) + middle;
        u8::try_from(value.clamp(0, 255)).unwrap_or(u8::MAX)
    };
    [stretch(luminance, 16, 219, 0), stretch(blue, 128, 224, 128), stretch(red, 128, 224, 128)]
}

/// Bits on their way into bytes, the first one lowest: PS3.5 section 8.1.1.
#[derive(Default)]
pub(super) struct Bits {
    byte: u8,
    count: u32,
}

impl Bits {
    pub(super) fn append(&mut self, samples: &[u8], out: &mut Vec<u8>) {
        for sample in samples {
            self.byte |= (sample & 1) << self.count;
            self.count += 1;
            if self.count == 8 {
                self.finish(out);
            }
        }
    }

    /// Writes the bits there are, filled up to a byte.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        if self.count > 0 {
            out.push(self.byte);
        }
        *self = Bits::default();
    }
}
