//! The one entrance: a frame's format and bytes in, its samples out.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use super::format::{FrameFormat, PixelEncoding};
use super::pool::{Limits, Pool};
use super::{Decoded, Error, codestream, deflated, native, rle};

/// Decodes frames; blocking, cheap to clone, safe to share. The last clone to go ends the workers.
#[derive(Debug, Clone)]
pub struct Decoder {
    pool: Arc<Pool>,
}

impl Decoder {
    /// A decoder with at most `workers` child processes of `worker_exe`, an executable that runs
    /// [`worker_main`](super::worker_main) when its first argument is `decode-worker`.
    pub fn new(workers: usize, worker_exe: PathBuf) -> Self {
        Self::with_limits(workers, worker_exe, Limits::default())
    }

    /// The same with other limits on memory and time.
    pub fn with_limits(workers: usize, worker_exe: PathBuf, limits: Limits) -> Self {
        Self { pool: Arc::new(Pool::new(workers, worker_exe, limits)) }
    }

    /// Decodes one frame: all fragments of an encapsulated frame put together, or the bytes of a native one.
    ///
    /// Blocks, for at most the limits' waiting and decoding time.
    pub fn decode(&self, format: &FrameFormat, encoded: &[u8]) -> Result<Decoded, Error> {
        self.decode_from_bit(format, encoded, 0)
    }

    /// The same for a native frame that begins `first_bit` bits into its bytes, as
    /// [`FrameFormat::native_frame`] says.
    pub fn decode_from_bit(
        &self,
        format: &FrameFormat,
        encoded: &[u8],
        first_bit: u8,
    ) -> Result<Decoded, Error> {
        // The code below is meant not to panic, but a frame must never cost more than its picture.
        catch_unwind(AssertUnwindSafe(|| self.dispatch(format, encoded, first_bit)))
            .unwrap_or(Err(Error::Crashed("pixel")))
    }

    fn dispatch(&self, format: &FrameFormat, encoded: &[u8], first_bit: u8) -> Result<Decoded, Error> {
        match format.encoding {
            PixelEncoding::Native { order, swapped_bytes } => {
                native::decode(format, order, swapped_bytes, encoded, first_bit)
            }
            PixelEncoding::Rle => rle::decode(format, encoded),
            PixelEncoding::Deflated => deflated::decode(format, encoded),
            PixelEncoding::Codestream => {
                let prepared = codestream::prepare(format, encoded)?;
                let bytes = self.pool.decode(&prepared)?;
                codestream::finish(format, prepared.codec, &prepared.header, &bytes)
            }
            PixelEncoding::Video => Err(Error::Video),
            PixelEncoding::Elsewhere => Err(Error::Elsewhere),
        }
    }
}
