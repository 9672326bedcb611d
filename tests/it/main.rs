//! Tests of the whole program.

mod codec_worker;
