//! One frame by itself: as it is stored, or without its compression.

use super::super::{Bulk, Frame, Header, Holding, Stretch, Unreadable};
use super::Unconvertible;
use super::native::{Bits, NativeForm, as_stored};
use crate::archive::{Archive, Error};
use crate::codec::{FrameFormat, NativeFrame, PixelEncoding};
use crate::dicom::prescan::{Encoding, Fragment, PixelData};
use crate::dicom::reencode::Pixels;

/// Frames up to so many bytes are read in one go: to open their file again for a part of them takes longer.
const LONGEST_AT_ONCE: u64 = 1 << 20;

impl Header {
    /// Frames there are: as many as Number of Frames (0028,0008) says, unless the pixel data ends before; one, where that
    /// cannot be told.
    pub fn frames(&self, holding: &Holding) -> u32 {
        let there = match &self.index {
            Some(index) => index.as_ref().ok().and_then(|index| u64::try_from(index.frames()).ok()),
            None => self.pixel_data.as_ref().and_then(|pixels| {
                let format = FrameFormat::from_data_set(&self.data_set, holding.transfer_syntax(), pixels);
                let bits = pixels.length?.saturating_mul(8);
                Some(bits.div_ceil(format.ok()?.native_frame_bits().max(1)))
            }),
        };
        let there = u32::try_from(there.unwrap_or(1)).unwrap_or(u32::MAX);
        holding.row().number_of_frames.min(there)
    }
}

impl Archive {
    /// A frame, counted from 0, as [`stored_frame`](Archive::stored_frame) gives it. A long one stays in the file where it
    /// stands there as it is sent. Blocks.
    pub fn stored(&self, holding: &Holding, header: &Header, frame0: u32) -> Result<Bulk, Unreadable> {
        let stretches = stretches(holding, header, frame0);
        let length = stretches.iter().fold(0_u64, |sum, stretch| sum.saturating_add(stretch.length));
        if length <= LONGEST_AT_ONCE {
            return Ok(Bulk::Read(self.stored_frame(holding, header, frame0)?));
        }
        let file = self.open(holding)?;
        let there = file.metadata().map_err(Error::File)?.len();
        let within = |stretch: Stretch| Stretch {
            length: stretch.length.min(there.saturating_sub(stretch.offset)),
            ..stretch
        };
        let stretches = stretches.into_iter().map(within).collect();
        Ok(Bulk::Stored { file, stretches, is_encapsulated: header.index.is_some() })
    }

    /// A frame, counted from 0, as it is stored. A frame of single bits begins with its first byte, also where it does
    /// not in the value. Blocks.
    pub fn stored_frame(
        &self,
        holding: &Holding,
        header: &Header,
        frame0: u32,
    ) -> Result<Vec<u8>, Unreadable> {
        let format = header.pixel_data.as_ref().and_then(|pixels| {
            FrameFormat::from_data_set(&header.data_set, holding.transfer_syntax(), pixels).ok()
        });
        let native = format.as_ref().and_then(|format| format.native_frame(frame0));
        let Some((format, native)) = format.zip(native) else {
            let frame = Frame::Encapsulated(usize::try_from(frame0).unwrap_or(usize::MAX));
            return self.frame_bytes(holding, header, frame);
        };
        let NativeFrame { offset, length, first_bit } = native;
        let bytes = self.frame_bytes(holding, header, Frame::Native { offset, length })?;
        Ok(if format.bits_allocated == 1 { from_bit(&bytes, first_bit, format.pixels()) } else { bytes })
    }

    /// A frame, counted from 0, as [`Transcoded`](super::Transcoded) writes it: without compression, little endian.
    /// Blocks, for as long as decoding takes.
    ///
    /// # Errors
    /// A sentence for the one who is to receive it.
    pub fn native_frame(
        &self,
        holding: &Holding,
        header: &Header,
        frame0: u32,
    ) -> Result<Vec<u8>, Unconvertible> {
        let number = usize::try_from(frame0).unwrap_or(usize::MAX).saturating_add(1);
        let pixels = header.pixel_data.as_ref().ok_or(Unreadable::NoFrame(number))?;
        let format = FrameFormat::from_data_set(&header.data_set, holding.transfer_syntax(), pixels)
            .map_err(Unconvertible::Format)?;
        let mut stored = self.stored_frame(holding, header, frame0)?;
        if !format.encapsulated {
            turn(&mut stored, holding, header, pixels, &format, frame0);
            return Ok(stored);
        }
        match format.encoding {
            PixelEncoding::Video => return Err(Unconvertible::Video),
            PixelEncoding::Elsewhere => return Err(Unconvertible::Elsewhere),
            _ => {}
        }
        let decoded = self.inner.decoder.decode(&format, &stored);
        let decoded = decoded.map_err(|err| Unconvertible::Frame { frame: number, err })?;
        let form = NativeForm::of(&format, &decoded);
        let (mut native, mut bits) = (Vec::new(), Bits::default());
        form.write(&decoded, 0..decoded.samples.len(), &mut bits, &mut native);
        bits.finish(&mut native);
        Ok(native)
    }
}

/// Where a frame stands in the file as it is sent; nothing where it does not, because it is deflated or begins within a
/// byte.
fn stretches(holding: &Holding, header: &Header, frame0: u32) -> Vec<Stretch> {
    let Some(pixels) = &header.pixel_data else { return Vec::new() };
    let Some(total) = pixels.length else {
        let index = header.index.as_ref().and_then(|index| index.as_ref().ok());
        let frame = index.and_then(|index| index.frame(usize::try_from(frame0).ok()?));
        let of = |fragment: &Fragment| Stretch { offset: fragment.offset, length: fragment.length.into() };
        return frame.unwrap_or_default().iter().map(of).collect();
    };
    let format = FrameFormat::from_data_set(&header.data_set, holding.transfer_syntax(), pixels).ok();
    let format = format.filter(|format| {
        format.bits_allocated > 1 && holding.transfer_syntax().encoding() != Encoding::Deflated
    });
    let frame = format.and_then(|format| format.native_frame(frame0));
    let of = |NativeFrame { offset, length, .. }| Stretch {
        offset: holding.start().saturating_add(pixels.offset).saturating_add(offset),
        length: length.min(total.saturating_sub(offset)),
    };
    frame.map(of).into_iter().collect()
}

/// Big endian to little endian.
fn turn(
    bytes: &mut Vec<u8>,
    holding: &Holding,
    header: &Header,
    pixels: &PixelData,
    format: &FrameFormat,
    frame0: u32,
) {
    let Pixels::Native { swapped, .. } = as_stored(&header.data_set, holding.transfer_syntax(), pixels)
    else {
        return;
    };
    if swapped > 1 {
        bytes.chunks_exact_mut(swapped).for_each(<[u8]>::reverse);
    }
    // Of 8-bit samples in words, the frame before may have the first one.
    if let Some(before) = format.native_frame(frame0).map(|native| usize::from(native.first_bit / 8))
        && format.bits_allocated >= 8
    {
        bytes.drain(..before.min(bytes.len()));
        bytes.truncate(usize::try_from(format.native_frame_bytes()).unwrap_or(usize::MAX));
    }
}

/// So many bits from that one on, the first one lowest: PS3.5 section 8.1.1.
fn from_bit(bytes: &[u8], first_bit: u8, count: u64) -> Vec<u8> {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let samples = bytes.iter().flat_map(|byte| (0..8).map(move |bit| (byte >> bit) & 1));
    let samples: Vec<u8> = samples.skip(usize::from(first_bit)).take(count).collect();
    let (mut aligned, mut bits) = (Vec::with_capacity(samples.len() / 8 + 1), Bits::default());
    bits.append(&samples, &mut aligned);
    bits.finish(&mut aligned);
    aligned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_of_single_bits_begins_with_a_byte() {
        // Two frames of 5 pixels.
        let value = [0b1110_0101, 0b0000_0010];
        assert_eq!(from_bit(&value[..1], 0, 5), [0b0000_0101]);
        assert_eq!(from_bit(&value, 5, 5), [0b0001_0111]);
        assert_eq!(from_bit(&[0xFF, 0x01], 0, 16), [0xFF, 0x01]);
    }
}
