//! Whether something was lost when a frame was compressed: the codestream says, whatever the transfer syntax allows.

use super::header::Bytes;
use super::{jpeg, jpeg_2000, jpeg_ls, jpeg_xl};

/// The value of Lossy Image Compression Method (0028,2114) for a frame that was compressed with loss, PS3.3
/// C.7.6.1.1.5.1; nothing where it was not, or where the codestream does not tell: a reversible wavelet may have been
/// cut short.
pub fn lossy_method(encoded: &[u8]) -> Option<&'static str> {
    if jpeg_ls::is_jpeg_ls(encoded) {
        return jpeg_ls::is_lossy(encoded).then_some("ISO_14495_1");
    }
    if encoded.starts_with(&[0xFF, 0xD8]) {
        return jpeg::is_lossy(encoded).then_some("ISO_10918_1");
    }
    if let Some(stream) = jpeg_2000::codestream(encoded) {
        let method = if is_high_throughput(stream) { "ISO_15444_15" } else { "ISO_15444_1" };
        return jpeg_2000::is_lossy(stream).then_some(method);
    }
    (jpeg_xl::is_jpeg_xl(encoded) && jpeg_xl::is_lossy(encoded)).then_some("ISO_18181_1")
}

/// ITU-T T.814 A.2: bit 14 of Rsiz says that there is a part 15 capability.
fn is_high_throughput(stream: &[u8]) -> bool {
    let mut bytes = Bytes(stream);
    // SOC, SIZ, Lsiz
    bytes.take(6).and_then(|_| bytes.u16()).is_some_and(|capabilities| capabilities & 0x4000 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_codestream_lost_nothing() {
        for bytes in
            [&[][..], &[0xFF], &[0xFF, 0xD8], &[0xFF, 0x4F, 0xFF, 0x51], &[0xFF, 0x0A], &[2, 0, 0, 0]]
        {
            assert_eq!(lossy_method(bytes), None, "{bytes:?}");
        }
    }
}
