//! libjpeg-turbo 3.1: baseline, extended, progressive and lossless JPEG of 2 to 16 bits. Only in the worker.

use std::ffi::{CStr, c_int, c_short, c_uchar, c_ushort};

use turbojpeg_sys as tj;

use super::wire::Request;

/// A progressive stream may have this many scans; more are an attack on our time.
const MAX_SCANS: c_int = 200;

// The bindings give the enumerators as unsigned and take them as signed numbers.
const DECOMPRESS: c_int = tj::TJINIT_TJINIT_DECOMPRESS.cast_signed();
const SCAN_LIMIT: c_int = tj::TJPARAM_TJPARAM_SCANLIMIT.cast_signed();
const WIDTH: c_int = tj::TJPARAM_TJPARAM_JPEGWIDTH.cast_signed();
const HEIGHT: c_int = tj::TJPARAM_TJPARAM_JPEGHEIGHT.cast_signed();
const PRECISION: c_int = tj::TJPARAM_TJPARAM_PRECISION.cast_signed();
const WARNING: c_int = tj::TJERR_TJERR_WARNING.cast_signed();

/// A TurboJPEG decompressor that is destroyed when dropped.
struct Decompressor(tj::tjhandle);

impl Drop for Decompressor {
    fn drop(&mut self) {
        // SAFETY: the handle came from tj3Init and is not used afterwards.
        unsafe { tj::tj3Destroy(self.0) }
    }
}

/// Decodes to samples in pixel order, little endian, one or two bytes each, without any colour transform.
pub fn decode(request: &Request, stream: &[u8]) -> Result<Vec<u8>, String> {
    // SAFETY: no preconditions; null is checked.
    let handle = unsafe { tj::tj3Init(DECOMPRESS) };
    if handle.is_null() {
        return Err("the decoder does not start".to_owned());
    }
    let decoder = Decompressor(handle);
    let (source, length) = (stream.as_ptr(), tj::size_t::try_from(stream.len()).unwrap_or(0));
    // SAFETY: the handle is valid, and pointer and length describe `stream`, which outlives the call.
    let status = unsafe {
        tj::tj3Set(handle, SCAN_LIMIT, MAX_SCANS);
        tj::tj3DecompressHeader(handle, source, length)
    };
    decoder.check(status)?;
    // The buffer below is as large as the request says, so the library must see the same picture.
    let expected =
        [(WIDTH, request.columns), (HEIGHT, request.rows), (PRECISION, u32::from(request.precision))];
    for (parameter, value) in expected {
        // SAFETY: the handle is valid.
        let found = unsafe { tj::tj3Get(handle, parameter) };
        if u32::try_from(found) != Ok(value) {
            return Err(format!("its header is ambiguous ({found} instead of {value})"));
        }
    }
    let format = match request.components {
        1 => tj::TJPF_TJPF_GRAY,
        3 => tj::TJPF_TJPF_RGB,
        other => return Err(format!("it has {other} components")),
    };
    let samples = usize::try_from(request.rows)
        .ok()
        .zip(usize::try_from(request.columns).ok())
        .and_then(|(rows, columns)| rows.checked_mul(columns)?.checked_mul(usize::from(request.components)))
        .ok_or("it is too large")?;

    match request.precision {
        ..=8 => {
            let mut buffer: Vec<c_uchar> = vec![0; samples];
            // SAFETY: the buffer holds rows * columns * components samples, which is what the library was just
            // seen to find in the header; a pitch of 0 means rows without padding.
            let status =
                unsafe { tj::tj3Decompress8(handle, source, length, buffer.as_mut_ptr(), 0, format) };
            decoder.check(status)?;
            Ok(buffer)
        }
        9..=12 => {
            let mut buffer: Vec<c_short> = vec![0; samples];
            // SAFETY: as above, with two bytes a sample.
            let status =
                unsafe { tj::tj3Decompress12(handle, source, length, buffer.as_mut_ptr(), 0, format) };
            decoder.check(status)?;
            Ok(buffer.into_iter().flat_map(c_short::to_le_bytes).collect())
        }
        _ => {
            let mut buffer: Vec<c_ushort> = vec![0; samples];
            // SAFETY: as above, with two bytes a sample.
            let status =
                unsafe { tj::tj3Decompress16(handle, source, length, buffer.as_mut_ptr(), 0, format) };
            decoder.check(status)?;
            Ok(buffer.into_iter().flat_map(c_ushort::to_le_bytes).collect())
        }
    }
}

impl Decompressor {
    /// Lets warnings about oddities pass, but not those that mean part of the picture is made up.
    fn check(&self, status: c_int) -> Result<(), String> {
        if status == 0 {
            return Ok(());
        }
        // SAFETY: the handle is valid, and the library returns a NUL-terminated string that lives as long.
        let (code, text) =
            unsafe { (tj::tj3GetErrorCode(self.0), CStr::from_ptr(tj::tj3GetErrorStr(self.0))) };
        let text = text.to_string_lossy();
        let harmless = text.contains("extraneous bytes") || text.contains("Invalid SOS parameters");
        if code == WARNING && harmless {
            return Ok(());
        }
        Err(text.into_owned())
    }
}
