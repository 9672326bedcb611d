//! The native value of Pixel Data, frame after frame as they are decoded.

use std::fs::File;
use std::sync::Arc;

use dicom_core::VR;
use dicom_dictionary_std::tags;

use super::super::pixels::encapsulated_bytes;
use super::super::{Header, Holding, Unreadable};
use super::Unconvertible;
use super::native::NativeForm;
use crate::codec::{Decoded, Decoder, FrameFormat, Samples, lossy_method};
use crate::dicom::data_set::{DataSet, Element, Value};
use crate::dicom::frame_index::FrameIndex;
use crate::dicom::prescan::PixelData;
use crate::dicom::reencode::{Changes, Pixels};

/// Samples that are written at once: whole pixels of one and of three samples, and whole bytes of single bits.
const PIECE: usize = 24 << 10;
/// No value of defined length is longer, PS3.5 section 7.1.1.
const LONGEST: u64 = 0xFFFF_FFFE;

/// All frames of an instance, of which one at a time is decoded.
pub(super) struct Frames {
    file: File,
    decoder: Decoder,
    header: Arc<Header>,
    format: FrameFormat,
    form: NativeForm,
    count: usize,
    /// Frames that were decoded.
    decoded: usize,
    current: Option<Decoded>,
    /// Samples of the current frame that were written.
    at: usize,
    /// Single bits that fill no byte yet.
    bits: Bits,
}

/// Bits on their way into bytes, the first one lowest: PS3.5 section 8.1.1.
#[derive(Default)]
struct Bits {
    byte: u8,
    count: u32,
}

impl Frames {
    /// Decodes the first frame, and says what is new in the data set.
    pub(super) fn begin(
        file: File,
        decoder: &Decoder,
        holding: &Holding,
        header: &Arc<Header>,
        pixels: &PixelData,
    ) -> Result<(Frames, Changes), Unconvertible> {
        let attributes = &header.data_set;
        let index = match &header.index {
            Some(Ok(index)) if index.frames() > 0 => index,
            Some(Err(words)) => return Err(Unreadable::Frames(words.clone()).into()),
            Some(Ok(_)) | None => return Err(Unreadable::NoFrame(1).into()),
        };
        let format = FrameFormat::from_data_set(attributes, holding.transfer_syntax(), pixels)
            .map_err(Unconvertible::Format)?;
        let encoded = encapsulated_bytes(&file, header, 0)?;
        let decode = decoder.decode(&format, &encoded);
        let first = decode.map_err(|err| Unconvertible::Frame { frame: 1, err })?;
        let (form, count) = (NativeForm::of(&format, &first), index.frames());
        let length = form.bytes(count).next_multiple_of(2);
        let fits = u32::try_from(length).ok().filter(|_| length <= LONGEST);
        let value_length = fits.ok_or(Unconvertible::TooLong(length))?;

        let mut elements = form.changed(attributes);
        if let Some(method) = lossy_method(&encoded) {
            elements.extend(lossy(attributes, method, ratio(length, index)));
        }
        let pixels = Pixels::Decoded { tag: pixels.tag, vr: form.vr(), length: value_length };
        let frames = Frames {
            file,
            decoder: decoder.clone(),
            header: Arc::clone(header),
            format,
            form,
            count,
            decoded: 1,
            current: Some(first),
            at: 0,
            bits: Bits::default(),
        };
        Ok((frames, Changes { elements, pixels }))
    }

    /// Appends some bytes of the value; `false` when it is complete.
    pub(super) fn piece(&mut self, out: &mut Vec<u8>) -> Result<bool, Unconvertible> {
        let current = match self.current.take() {
            Some(current) => current,
            None if self.decoded < self.count => self.decode()?,
            None => {
                self.bits.finish(out);
                if self.form.bytes(self.count) % 2 == 1 {
                    out.push(0);
                }
                return Ok(false);
            }
        };
        let end = self.at.saturating_add(PIECE).min(current.samples.len());
        self.write(&current, self.at, end, out);
        if end < current.samples.len() {
            self.at = end;
            self.current = Some(current);
        } else {
            self.at = 0;
        }
        Ok(true)
    }

    fn decode(&mut self) -> Result<Decoded, Unconvertible> {
        let frame = self.decoded.saturating_add(1);
        let encoded = encapsulated_bytes(&self.file, &self.header, self.decoded)?;
        let decoded = self.decoder.decode(&self.format, &encoded);
        let decoded = decoded.map_err(|err| Unconvertible::Frame { frame, err })?;
        let is_whole = u64::try_from(decoded.samples.len()).ok() == Some(self.form.samples());
        if NativeForm::of(&self.format, &decoded) != self.form || !is_whole {
            return Err(Unconvertible::FramesDiffer(frame));
        }
        self.decoded = frame;
        Ok(decoded)
    }

    fn write(&mut self, frame: &Decoded, from: usize, to: usize, out: &mut Vec<u8>) {
        let width = usize::from(self.form.bits_allocated / 8);
        if let Some(words) = &frame.unused_bits {
            return put(words.get(from..to), width, out, u16::to_le_bytes);
        }
        match &frame.samples {
            Samples::U8(samples) if self.form.bits_allocated == 1 => {
                self.bits.append(samples.get(from..to).unwrap_or_default(), out);
            }
            Samples::U8(samples) if self.form.is_partial() => {
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

/// Uncompressed bytes for each compressed one.
fn ratio(native: u64, index: &FrameIndex) -> f64 {
    let fragments = (0..index.frames()).filter_map(|frame0| index.frame(frame0)).flatten();
    let compressed: u64 = fragments.map(|fragment| u64::from(fragment.length)).sum();
    native as f64 / compressed.max(1) as f64
}

/// The attributes of PS3.3 C.7.6.1.1.5, where they are not there: ratio and method go together, value by value.
pub(super) fn lossy(attributes: &DataSet, method: &str, ratio: f64) -> Vec<Element> {
    let mut elements = Vec::new();
    let mut text = |tag, vr, text: String| {
        elements.push(Element { tag, vr, value: Value::Bytes(text.into_bytes()) });
    };
    if attributes.text(tags::LOSSY_IMAGE_COMPRESSION).as_deref() != Some("01") {
        text(tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "01".to_owned());
    }
    let ratios = attributes.texts(tags::LOSSY_IMAGE_COMPRESSION_RATIO);
    let methods = attributes.texts(tags::LOSSY_IMAGE_COMPRESSION_METHOD);
    if ratios.is_empty() && methods.len() <= 1 {
        text(tags::LOSSY_IMAGE_COMPRESSION_RATIO, VR::DS, format!("{ratio:.2}"));
    }
    if methods.is_empty() && ratios.len() <= 1 {
        text(tags::LOSSY_IMAGE_COMPRESSION_METHOD, VR::CS, method.to_owned());
    }
    elements
}

impl Bits {
    fn append(&mut self, samples: &[u8], out: &mut Vec<u8>) {
        for sample in samples {
            self.byte |= (sample & 1) << self.count;
            self.count += 1;
            if self.count == 8 {
                self.finish(out);
            }
        }
    }

    /// Writes the bits there are, filled up to a byte.
    fn finish(&mut self, out: &mut Vec<u8>) {
        if self.count > 0 {
            out.push(self.byte);
        }
        *self = Bits::default();
    }
}
