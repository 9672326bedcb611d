//! What parent and decode worker say to each other over the worker's stdin and stdout.
//!
//! A request is a fixed head and the codestream, an answer is one status byte, a length and that many
//! bytes: the samples (little endian, 8 or 16 bits each) or, when decoding failed, why.

use super::header::{Codec, Header};

/// Bytes of the head of a request.
pub const REQUEST_HEAD: usize = 24;
/// Bytes of the head of an answer.
pub const ANSWER_HEAD: usize = 9;
/// Longest reason a worker may give, in bytes.
pub const MAX_REASON: usize = 1024;

/// One frame to decode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Which codec.
    pub codec: Codec,
    /// Rows the header promises.
    pub rows: u32,
    /// Columns the header promises.
    pub columns: u32,
    /// Samples of a pixel.
    pub components: u16,
    /// Bits of a sample.
    pub precision: u16,
    /// Bytes of the codestream that follows.
    pub length: u64,
}

impl Request {
    /// The request for a codestream with this header.
    pub fn new(codec: Codec, header: &Header, stream: &[u8]) -> Self {
        Self {
            codec,
            rows: header.rows,
            columns: header.columns,
            components: header.components,
            precision: header.precision,
            length: u64::try_from(stream.len()).unwrap_or(u64::MAX),
        }
    }

    /// The head as bytes.
    pub fn encode(&self) -> [u8; REQUEST_HEAD] {
        let codec: u8 = match self.codec {
            Codec::Jpeg => 1,
            Codec::JpegLs => 2,
            Codec::Jpeg2000 => 3,
            Codec::JpegXl => 4,
        };
        let mut bytes = [0; REQUEST_HEAD];
        let fields = [codec, 0, 0, 0]
            .into_iter()
            .chain(self.rows.to_le_bytes())
            .chain(self.columns.to_le_bytes())
            .chain(self.components.to_le_bytes())
            .chain(self.precision.to_le_bytes())
            .chain(self.length.to_le_bytes());
        bytes.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
        bytes
    }

    /// The head from bytes; nothing if the codec is not one of ours.
    pub fn decode(bytes: &[u8; REQUEST_HEAD]) -> Option<Self> {
        let codec = match bytes.first()? {
            1 => Codec::Jpeg,
            2 => Codec::JpegLs,
            3 => Codec::Jpeg2000,
            4 => Codec::JpegXl,
            _ => return None,
        };
        Some(Self {
            codec,
            rows: u32::from_le_bytes(*bytes.get(4..)?.first_chunk()?),
            columns: u32::from_le_bytes(*bytes.get(8..)?.first_chunk()?),
            components: u16::from_le_bytes(*bytes.get(12..)?.first_chunk()?),
            precision: u16::from_le_bytes(*bytes.get(14..)?.first_chunk()?),
            length: u64::from_le_bytes(*bytes.get(16..)?.first_chunk()?),
        })
    }
}

/// The head of an answer: whether it went well, and how many bytes follow.
pub fn encode_answer(decoded: bool, length: u64) -> [u8; ANSWER_HEAD] {
    let mut bytes = [0; ANSWER_HEAD];
    let fields = [u8::from(decoded)].into_iter().chain(length.to_le_bytes());
    bytes.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
    bytes
}

/// The head of an answer from bytes.
pub fn decode_answer(bytes: &[u8; ANSWER_HEAD]) -> (bool, u64) {
    let [status, length @ ..] = *bytes;
    (status == 1, u64::from_le_bytes(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_survives_the_pipe() {
        let request = Request {
            codec: Codec::Jpeg2000,
            rows: 3,
            columns: 70_000,
            components: 3,
            precision: 12,
            length: 1 << 40,
        };
        assert_eq!(Request::decode(&request.encode()), Some(request));
    }

    #[test]
    fn an_answer_survives_the_pipe() {
        assert_eq!(decode_answer(&encode_answer(true, 77)), (true, 77));
        assert_eq!(decode_answer(&encode_answer(false, 0)), (false, 0));
    }
}
