//! An instance in another transfer syntax than it is stored in, for receivers that do not take that one.
//!
//! What was compressed becomes native, and stays the same instance (PS3.4 B.4.1.1 leaves the encoding to those who
//! send): only the attributes that describe the pixels change with them, and the ones that say what a lossy
//! compression did. The data set is written anew while it is read, and pixels are decoded frame by frame, so that
//! memory holds one frame at most.

mod frames;
mod native;
mod single;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use dicom_dictionary_std::uids;

use self::frames::Frames;
use super::{Header, Holding, Unreadable};
use crate::archive::{Archive, Error};
use crate::codec::{self, Decoder};
use crate::dicom::prescan;
pub use crate::dicom::reencode::Target;
use crate::dicom::reencode::{self, Changes, Pixels, Reencoding, Step};
use crate::dicom::uid::TransferSyntaxUid;

/// Why an instance cannot be sent in another transfer syntax.
#[derive(Debug, thiserror::Error)]
pub enum Unconvertible {
    /// The instance cannot be read at all, or the archive cannot be asked.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// MPEG and the like: a film has no native form.
    #[error("a video has no uncompressed form")]
    Video,
    /// JPIP: only an address is stored.
    #[error("the pixels are not in the instance but on another server (JPIP)")]
    Elsewhere,
    /// Nobody knows how to read it.
    #[error("filmroom cannot convert from the transfer syntax {0}")]
    TransferSyntax(TransferSyntaxUid),
    /// The attributes of the pixels make no sense.
    #[error("the pixel data cannot be decoded: {0}")]
    Format(codec::Error),
    /// A frame cannot be decoded.
    #[error("frame {frame} cannot be decoded: {err}")]
    Frame {
        /// Which, counted from 1.
        frame: usize,
        /// What is wrong with it.
        err: codec::Error,
    },
    /// The attributes cannot describe all frames.
    #[error("frame {0} decodes to another kind of pixels than the first one")]
    FramesDiffer(usize),
    /// No length field can say it, PS3.5 section 7.1.
    #[error("the uncompressed pixel data would be {0} bytes long, more than one element can hold")]
    TooLong(u64),
    /// Only where the file was changed under us.
    #[error("the pixel data is no longer where it was")]
    PixelsMoved,
}

impl From<prescan::Error> for Unconvertible {
    fn from(err: prescan::Error) -> Unconvertible {
        Unconvertible::Unreadable(match err {
            prescan::Error::Io(err) => Unreadable::Archive(Error::File(err)),
            err => Unreadable::DataSet(err),
        })
    }
}

impl From<Error> for Unconvertible {
    fn from(err: Error) -> Unconvertible {
        Unconvertible::Unreadable(Unreadable::Archive(err))
    }
}

/// The transfer syntaxes that instances stored in this one can be converted to at all; none for videos, JPIP and what
/// nobody knows. A single instance may still be too damaged for it.
pub fn targets(stored: &TransferSyntaxUid) -> &'static [Target] {
    use Target::{ExplicitVrLittleEndian, ImplicitVrLittleEndian};
    match stored.as_str() {
        uids::EXPLICIT_VR_LITTLE_ENDIAN => &[ImplicitVrLittleEndian],
        uids::IMPLICIT_VR_LITTLE_ENDIAN => &[ExplicitVrLittleEndian],
        _ if is_readable(stored) => &[ExplicitVrLittleEndian, ImplicitVrLittleEndian],
        _ => &[],
    }
}

/// Processes of JPEG that the codec knows beside those still in the standard: extended and progressive ones.
const RETIRED_JPEG: [&str; 5] = [
    "1.2.840.10008.1.2.4.52",
    "1.2.840.10008.1.2.4.53",
    "1.2.840.10008.1.2.4.54",
    "1.2.840.10008.1.2.4.55",
    "1.2.840.10008.1.2.4.56",
];

/// Whether the codecs read pixels of this transfer syntax, where it is not native itself.
fn is_readable(stored: &TransferSyntaxUid) -> bool {
    matches!(
        stored.as_str(),
        uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN
            | uids::ENCAPSULATED_UNCOMPRESSED_EXPLICIT_VR_LITTLE_ENDIAN
            | uids::RLE_LOSSLESS
            | uids::DEFLATED_IMAGE_FRAME_COMPRESSION
            | uids::JPEG_BASELINE8_BIT
            | uids::JPEG_EXTENDED12_BIT
            | uids::JPEG_LOSSLESS
            | uids::JPEG_LOSSLESS_SV1
            | uids::JPEGLS_LOSSLESS
            | uids::JPEGLS_NEAR_LOSSLESS
            | uids::JPEG2000_LOSSLESS
            | uids::JPEG2000
            | uids::JPEG2000MC_LOSSLESS
            | uids::JPEG2000MC
            | uids::HTJ2K_LOSSLESS
            | uids::HTJ2K_LOSSLESS_RPCL
            | uids::HTJ2K
            | uids::JPEGXL_LOSSLESS
            | uids::JPEGXLJPEG_RECOMPRESSION
            | uids::JPEGXL
    ) || stored.has_big_endian_pixels()
        || RETIRED_JPEG.contains(&stored.as_str())
}

/// The data set of an instance in another transfer syntax, to be read in order. Reading blocks.
///
/// An error in the middle carries an [`Unconvertible`]; what was read up to there is of no use.
pub struct Transcoded {
    reencoding: Reencoding,
    frames: Option<Frames>,
    state: State,
    /// Written and not yet read, from `at` on.
    buffer: Vec<u8>,
    at: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Elements,
    Frames,
    Ended,
    Failed,
}

impl Archive {
    /// The data set of an instance in another transfer syntax. `header` is what [`Archive::header`] says of it.
    /// Follows the whole data set once and decodes the first frame, so that most of what can go wrong goes wrong
    /// before anything was sent. Blocks.
    ///
    /// # Errors
    /// A sentence for the one who is to receive it.
    pub fn transcode(
        &self,
        decoder: &Decoder,
        holding: &Holding,
        header: &Arc<Header>,
        target: Target,
    ) -> Result<Transcoded, Unconvertible> {
        Transcoded::new(|| self.open(holding), decoder, holding, header, target)
    }
}

impl Transcoded {
    pub(super) fn new(
        open: impl Fn() -> Result<File, Error>,
        decoder: &Decoder,
        holding: &Holding,
        header: &Arc<Header>,
        target: Target,
    ) -> Result<Transcoded, Unconvertible> {
        let stored = holding.transfer_syntax();
        if targets(stored).is_empty() {
            return Err(match codec::pixel_encoding(stored) {
                codec::PixelEncoding::Video => Unconvertible::Video,
                codec::PixelEncoding::Elsewhere => Unconvertible::Elsewhere,
                _ => Unconvertible::TransferSyntax(stored.clone()),
            });
        }
        let data_set = || {
            let mut file = open()?;
            file.seek(SeekFrom::Start(holding.start())).map_err(Error::File)?;
            Ok::<File, Unconvertible>(file)
        };
        let (length, encoding) = (holding.length(), holding.encoding());
        let survey = reencode::survey(data_set()?, length, encoding)?;
        if survey.compressed > 0 || survey.damaged > 0 {
            tracing::warn!(
                instance = %holding.row().sop_instance_uid,
                compressed = survey.compressed,
                damaged = survey.damaged,
                "compressed icons and damaged sequences have no native form and are left out of what is sent"
            );
        }
        let (frames, changes) = match &header.pixel_data {
            Some(pixels) if pixels.length.is_none() => {
                let (frames, changes) = Frames::begin(open()?, decoder, holding, header, pixels)?;
                (Some(frames), changes)
            }
            pixels => {
                let pixels = match pixels {
                    Some(pixels) => native::as_stored(&header.data_set, stored, pixels),
                    None => Pixels::Native { vr: dicom_core::VR::OW, swapped: 1 },
                };
                (None, Changes { elements: Vec::new(), pixels })
            }
        };
        let reencoding = Reencoding::new(data_set()?, length, encoding, survey, target, changes)?;
        Ok(Transcoded { reencoding, frames, state: State::Elements, buffer: Vec::new(), at: 0 })
    }

    /// Refills the buffer.
    fn advance(&mut self) -> Result<(), Unconvertible> {
        self.buffer.clear();
        self.at = 0;
        if self.state == State::Frames {
            let more = match &mut self.frames {
                Some(frames) => frames.piece(&mut self.buffer)?,
                None => false,
            };
            if !more {
                self.frames = None;
                self.state = State::Elements;
            }
            return Ok(());
        }
        match self.reencoding.step(&mut self.buffer)? {
            Step::Bytes => {}
            Step::Pixels => self.state = State::Frames,
            Step::End if self.frames.is_some() => return Err(Unconvertible::PixelsMoved),
            Step::End => self.state = State::Ended,
        }
        Ok(())
    }
}

impl Read for Transcoded {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at >= self.buffer.len() {
            match self.state {
                State::Ended => return Ok(0),
                State::Failed => return Err(io::Error::other("the conversion has failed")),
                State::Elements | State::Frames => {}
            }
            if let Err(err) = self.advance() {
                self.state = State::Failed;
                self.buffer.clear();
                return Err(io::Error::other(err));
            }
        }
        let mut rest = self.buffer.get(self.at..).unwrap_or_default();
        let count = rest.read(into)?;
        self.at = self.at.saturating_add(count);
        Ok(count)
    }
}
