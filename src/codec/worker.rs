//! The decode worker: this executable again, started with the hidden argument `decode-worker`.
//!
//! It reads requests from stdin and answers on stdout until its stdin ends, which is also what happens when
//! the archive goes away, however suddenly. (A parent-death signal would be wrong here: Linux sends it when
//! the *thread* that started the child ends, and the threads that render come and go.)

use std::borrow::Cow;
use std::io::{Read, Write, stdin, stdout};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::exit;

use dicom_dictionary_std::uids;
use dicom_encoding::adapters::{PixelDataObject, RawPixelData};
use dicom_encoding::{Codec as Reader, TransferSyntaxIndex};
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;

use super::header::Codec;
use super::turbojpeg;
use super::wire::{MAX_REASON, REQUEST_HEAD, Request, encode_answer};

/// Address space a worker may use when its parent does not say.
pub const MEMORY: u64 = 1536 << 20;
/// Seconds of processor time for one frame; the parent's clock is the stricter one, this is for orphans.
const CPU_SECONDS: u64 = 30;

/// Runs a decode worker; never returns. The second argument is the limit of its memory in bytes.
pub fn worker_main() -> ! {
    let memory = std::env::args().nth(2).and_then(|text| text.parse().ok()).unwrap_or(MEMORY);
    limits::confine(memory);
    // A panic becomes an answer; its message would only go to a closed stderr.
    std::panic::set_hook(Box::new(|_| {}));
    let (mut input, mut output) = (stdin().lock(), stdout().lock());
    loop {
        let mut head = [0; REQUEST_HEAD];
        if input.read_exact(&mut head).is_err() {
            exit(0);
        }
        let Some(request) = Request::decode(&head) else { exit(2) };
        let mut stream = Vec::new();
        let read = input.by_ref().take(request.length).read_to_end(&mut stream);
        if !read.is_ok_and(|read| u64::try_from(read) == Ok(request.length)) {
            exit(2);
        }
        limits::allow_cpu_seconds(CPU_SECONDS);
        let answer = catch_unwind(AssertUnwindSafe(|| decode(&request, stream)))
            .unwrap_or_else(|_| Err("the decoder gave up".to_owned()));
        let (decoded, mut bytes) = match answer {
            Ok(samples) => (true, samples),
            Err(reason) => (false, reason.into_bytes()),
        };
        if !decoded {
            bytes.truncate(MAX_REASON);
        }
        let head = encode_answer(decoded, u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        if output
            .write_all(&head)
            .and_then(|()| output.write_all(&bytes))
            .and_then(|()| output.flush())
            .is_err()
        {
            exit(0);
        }
    }
}

fn decode(request: &Request, stream: Vec<u8>) -> Result<Vec<u8>, String> {
    let transfer_syntax = match request.codec {
        Codec::Jpeg => return turbojpeg::decode(request, &stream),
        Codec::JpegLs => uids::JPEGLS_LOSSLESS,
        Codec::Jpeg2000 => uids::JPEG2000,
        Codec::JpegXl => uids::JPEGXL,
    };
    let Some(Reader::EncapsulatedPixelData(Some(reader), _)) =
        TransferSyntaxRegistry.get(transfer_syntax).map(|syntax| syntax.codec())
    else {
        return Err("its decoder is not built in".to_owned());
    };
    let view = FrameView::new(request, stream)?;
    let mut samples = Vec::new();
    reader.decode_frame(&view, 0, &mut samples).map_err(|error| {
        // The adapter's own sentence says only that it failed; the codec's reason is underneath.
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        cause.unwrap_or_else(|| error.to_string())
    })?;
    if request.codec == Codec::JpegXl {
        rescale(&mut samples, request.precision);
    }
    Ok(samples)
}

/// jxl-oxide stretches samples of fewer than 8 or 16 bits over the whole container; this undoes it.
fn rescale(samples: &mut [u8], precision: u16) {
    let largest = |bits: u16| (1u32 << bits.min(16)) - 1;
    match precision {
        8 | 16 => {}
        ..8 => {
            for sample in samples {
                let value = (u32::from(*sample) * largest(precision) + 127) / 255;
                *sample = u8::try_from(value).unwrap_or(u8::MAX);
            }
        }
        _ => {
            let (words, _) = samples.as_chunks_mut::<2>();
            for word in words {
                let value = (u32::from(u16::from_le_bytes(*word)) * largest(precision) + 32_767) / 65_535;
                *word = u16::try_from(value).unwrap_or(u16::MAX).to_le_bytes();
            }
        }
    }
}

/// One frame as dicom-rs's pixel data readers want to see it.
struct FrameView {
    rows: u16,
    columns: u16,
    components: u16,
    precision: u16,
    stream: Vec<u8>,
}

impl FrameView {
    fn new(request: &Request, mut stream: Vec<u8>) -> Result<Self, String> {
        let small = |side| u16::try_from(side).map_err(|_| "it is too large".to_owned());
        let (rows, columns) = (small(request.rows)?, small(request.columns)?);
        // The adapters refuse to unpack more than 64 times the size, which a picture of nothing needs.
        let pixels = u64::from(request.rows) * u64::from(request.columns) * u64::from(request.components);
        let least = usize::try_from(pixels.saturating_mul(2) / 64 + 1).map_err(|error| error.to_string())?;
        if stream.len() < least && request.codec == Codec::Jpeg2000 {
            stream.resize(least, 0);
        }
        Ok(Self { rows, columns, components: request.components, precision: request.precision, stream })
    }
}

impl PixelDataObject for FrameView {
    fn transfer_syntax_uid(&self) -> &str {
        ""
    }
    fn rows(&self) -> Option<u16> {
        Some(self.rows)
    }
    fn cols(&self) -> Option<u16> {
        Some(self.columns)
    }
    fn samples_per_pixel(&self) -> Option<u16> {
        Some(self.components)
    }
    fn bits_allocated(&self) -> Option<u16> {
        Some(if self.precision <= 8 { 8 } else { 16 })
    }
    fn bits_stored(&self) -> Option<u16> {
        Some(self.precision)
    }
    fn photometric_interpretation(&self) -> Option<&str> {
        None
    }
    fn number_of_frames(&self) -> Option<u32> {
        Some(1)
    }
    fn number_of_fragments(&self) -> Option<u32> {
        Some(1)
    }
    fn fragment(&self, fragment: usize) -> Option<Cow<'_, [u8]>> {
        (fragment == 0).then_some(Cow::Borrowed(&self.stream))
    }
    fn offset_table(&self) -> Option<Cow<'_, [u32]>> {
        None
    }
    fn raw_pixel_data(&self) -> Option<RawPixelData> {
        let fragments = [self.stream.clone()].into_iter().collect();
        Some(RawPixelData { fragments, offset_table: [0].into_iter().collect() })
    }
}

mod limits {
    //! What the worker gives up before it sees the first byte from outside.

    use libc::{RLIM_INFINITY, RLIMIT_AS, RLIMIT_CORE, RLIMIT_CPU, RLIMIT_FSIZE, RLIMIT_NOFILE, rlimit};

    /// Closes everything but the standard streams and limits memory, files and core dumps for good.
    pub fn confine(memory: u64) {
        // SAFETY: nothing in this process owns a descriptor above 2 yet; a failure leaves them open.
        #[cfg(target_os = "linux")]
        unsafe {
            libc::close_range(3, u32::MAX, 0);
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        }
        set(RLIMIT_AS, memory, memory);
        set(RLIMIT_CORE, 0, 0);
        set(RLIMIT_FSIZE, 0, 0);
        set(RLIMIT_NOFILE, 3, 3);
    }

    /// Allows this many more seconds of processor time before the kernel ends the process.
    pub fn allow_cpu_seconds(seconds: u64) {
        // SAFETY: rusage is plain data and the pointer is valid for the call.
        let used = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
            usage.ru_utime.tv_sec + usage.ru_stime.tv_sec
        };
        set(RLIMIT_CPU, u64::try_from(used).unwrap_or(0) + 1 + seconds, RLIM_INFINITY);
    }

    fn set(resource: libc::__rlimit_resource_t, soft: u64, hard: u64) {
        let limit = rlimit { rlim_cur: soft, rlim_max: hard };
        // SAFETY: the pointer is valid for the call. A refused limit leaves the parent's clock as the guard.
        unsafe { libc::setrlimit(resource, &raw const limit) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretched_twelve_bit_samples_come_back_exactly() {
        for value in 0u32..4096 {
            let stretched = u16::try_from((value * 65_535 + 2047) / 4095).unwrap();
            let mut bytes = stretched.to_le_bytes();
            rescale(&mut bytes, 12);
            assert_eq!(u32::from(u16::from_le_bytes(bytes)), value);
        }
    }
}
