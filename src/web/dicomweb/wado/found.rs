//! What was found, on its way to a client: from the file, or from memory, of which answers have only so much.

use std::future::ready;
use std::sync::Arc;

use actix_web::web::Bytes;
use futures_util::{StreamExt, stream};
use tokio::sync::OwnedSemaphorePermit;

use crate::archive::retrieve::{Bulk, Stretch};
use crate::web::dicomweb::multipart::Body;
use crate::web::error::Error;
use crate::web::instance::chunks_of;
use crate::web::picture::Pictures;

/// Bytes that are sent at once: a connection copies them.
const PIECE: usize = 256 << 10;

/// A value or a frame. What is in memory has a place there until it is sent.
pub struct Found {
    bulk: Bulk,
    place: Option<OwnedSemaphorePermit>,
}

impl Found {
    /// Finds a place for what is in memory.
    ///
    /// # Errors
    /// When too much is there already.
    pub fn new(pictures: &Pictures, bulk: Bulk) -> Result<Found, Error> {
        let place = match &bulk {
            Bulk::Stored { .. } => None,
            Bulk::Read(_) => Some(pictures.hold(bulk.length())?),
        };
        Ok(Found { bulk, place })
    }

    /// Where its bytes are.
    pub fn bulk(&self) -> &Bulk {
        &self.bulk
    }

    /// How many bytes there are.
    pub fn length(&self) -> u64 {
        self.bulk.length()
    }

    /// All of it.
    pub fn whole(self) -> Body {
        let length = self.length();
        self.part(0, length)
    }

    /// So many bytes, from there on.
    pub fn part(self, from: u64, count: u64) -> Body {
        match self.bulk {
            Bulk::Stored { file, stretches, .. } => {
                let file = Arc::new(file);
                let parts = stretches_of(&stretches, from, count);
                let chunks = move |stretch: Stretch| chunks_of(file.clone(), stretch.offset, stretch.length);
                stream::iter(parts).flat_map(chunks).boxed_local()
            }
            Bulk::Read(bytes) => {
                let bytes = Bytes::from(bytes);
                let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                let (start, end) = (place(from), place(from.saturating_add(count)));
                pieces(bytes.slice(start..end), self.place)
            }
        }
    }
}

/// Bytes in memory, and their place there, which is free when the last of them was taken.
pub fn pieces(bytes: Bytes, place: Option<OwnedSemaphorePermit>) -> Body {
    let pieces = stream::unfold((bytes, place), |(mut rest, place)| {
        let piece = rest.split_to(rest.len().min(PIECE));
        ready((!piece.is_empty()).then_some((Ok(piece), (rest, place))))
    });
    pieces.boxed_local()
}

/// Where so many bytes from there on are, of a value that is in these stretches.
fn stretches_of(stretches: &[Stretch], from: u64, count: u64) -> Vec<Stretch> {
    let (mut before, mut left) = (from, count);
    let mut parts = Vec::new();
    for stretch in stretches {
        let passed = before.min(stretch.length);
        before -= passed;
        let length = left.min(stretch.length - passed);
        left -= length;
        if length > 0 {
            parts.push(Stretch { offset: stretch.offset.saturating_add(passed), length });
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::TryStreamExt;

    #[test]
    fn a_range_goes_over_fragments() {
        let stretch = |offset, length| Stretch { offset, length };
        let value = [stretch(100, 10), stretch(200, 5), stretch(300, 10)];
        assert_eq!(stretches_of(&value, 0, 25), value);
        assert_eq!(stretches_of(&value, 8, 9), [stretch(108, 2), stretch(200, 5), stretch(300, 2)]);
        assert_eq!(stretches_of(&value, 10, 5), [stretch(200, 5)]);
        assert_eq!(stretches_of(&value, 24, 1), [stretch(309, 1)]);
    }

    #[actix_web::test]
    async fn what_is_in_memory_has_a_place_there_until_it_is_sent() {
        let pictures = Pictures::new(1);
        let large = || Found::new(&pictures, Bulk::Read(vec![7; 300 << 20]));
        let mut body = large().expect("a place").part(5, 300_000);
        assert!(large().is_err(), "there is no place for two of these");
        let first = body.try_next().await.expect("bytes").expect("a piece");
        assert_eq!(first.len(), PIECE);
        assert!(large().is_err());
        let rest: Vec<Bytes> = body.try_collect().await.expect("bytes");
        assert_eq!(rest.iter().map(Bytes::len).sum::<usize>(), 300_000 - PIECE);
        assert!(large().is_ok());
    }
}
