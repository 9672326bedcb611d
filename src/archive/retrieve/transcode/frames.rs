//! The native value of Pixel Data, frame after frame as they are decoded.

use std::fs::File;
use std::sync::Arc;

use dicom_core::VR;
use dicom_dictionary_std::tags;

use super::super::pixels::encapsulated_bytes;
use super::super::{Header, Holding, Unreadable};
use super::Unconvertible;
use super::native::{Bits, NativeForm};
use crate::codec::{Decoded, Decoder, FrameFormat, lossy_method};
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
        self.form.write(&current, self.at..end, &mut self.bits, out);
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
