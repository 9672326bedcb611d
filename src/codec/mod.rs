//! From one frame's encoded bytes to samples: PS3.5 sections 8 and A.4.
//!
//! Native pixels, RLE and deflated frames are decoded here, in safe Rust. The JPEG family (JPEG, JPEG-LS,
//! JPEG 2000, HTJ2K, JPEG XL) is read only as far as its header here, so that sizes are checked before
//! anything is decoded; the decoding itself happens in a small pool of child processes of this same
//! executable (`filmroom decode-worker`), with limits on memory and time, so that a fault in a C or C++
//! codec costs one picture and not the archive.

mod codestream;
mod decoder;
mod deflated;
mod error;
mod format;
mod header;
mod jpeg;
mod jpeg_2000;
mod jpeg_ls;
mod jpeg_xl;
mod lossy;
mod native;
mod photometric;
mod pool;
mod rle;
mod samples;
mod turbojpeg;
mod wire;
mod worker;

pub use decoder::Decoder;
pub use error::Error;
pub use format::{ByteOrder, FrameFormat, NativeFrame, Number, PixelEncoding, pixel_encoding};
pub use lossy::lossy_method;
pub use photometric::Photometric;
pub use pool::Limits;
pub use samples::{Decoded, Samples};
pub use worker::worker_main;
