//! Several frames as a GIF that moves. No more than one frame of it is in memory.

use std::io;

use actix_web::HttpResponse;
use actix_web::web::{Bytes, Data};
use futures_util::{StreamExt, stream};

use super::form;
use super::order::Order;
use crate::archive::retrieve::Holding;
use crate::dicom::cine::Cine;
use crate::web::App;
use crate::web::dicomweb::multipart::cut_off;
use crate::web::dicomweb::wado::{broken, bytes};
use crate::web::error::{Cause, Error};

/// Frames in one GIF.
const MOST_FRAMES: usize = 1000;
/// Pixels of all its frames.
const MOST_PIXELS: u64 = 512 << 20;
/// For how long a frame is shown where the instance does not say, milliseconds.
const USUAL: f64 = 100.0;
/// Hundredths of a second; browsers show what is to be faster than this more slowly.
const FASTEST: u16 = 2;

/// A GIF on its way.
struct Reel {
    app: Data<App>,
    holding: Holding,
    order: Order,
    cine: Cine,
    encoder: gif::Encoder<Vec<u8>>,
    size: (u32, u32),
}

/// These frames of an instance, counted from 0, one after the other and again from the beginning.
pub async fn answer(
    app: Data<App>,
    holding: Holding,
    order: Order,
    mut frames: impl ExactSizeIterator<Item = u32> + 'static,
) -> Result<HttpResponse, Error> {
    if frames.len() > MOST_FRAMES {
        return Err(Error::Invalid(format!(
            "A GIF has at most {MOST_FRAMES} frames, and these are {}: ask for some of them.",
            frames.len()
        )));
    }
    let processor = app.pictures.processor().await?;
    let header = app.archive.header(&holding).await.map_err(broken)?;
    let cine = Cine::read(&header.data_set);
    drop((header, processor));
    let count = u64::try_from(frames.len()).unwrap_or(u64::MAX);
    let first = frames.next().ok_or(Error::NotFound)?;
    // What cannot be drawn is found out before anything is sent.
    let begun = order.with(&app, &holding, first, move |picture| {
        let size = (picture.width, picture.height);
        let pixels = u64::from(size.0) * u64::from(size.1);
        if pixels.saturating_mul(count) > MOST_PIXELS {
            return Ok(None);
        }
        let mut encoder = form::animation(&picture)?;
        encoder.set_repeat(gif::Repeat::Infinite)?;
        Ok(Some((encoder, size, form::frame(picture)?)))
    });
    let too_large =
        || Error::Invalid("These frames are too large for one GIF: ask for a smaller viewport.".to_owned());
    let (encoder, size, frame) = begun.await?.ok_or_else(too_large)?;
    let mut reel = Reel { app, holding, order, cine, encoder, size };
    let head = reel.written(frame, first).map_err(Error::internal)?;
    let rest = stream::try_unfold(Some((reel, frames)), |state| async move {
        let Some((mut reel, mut rest)) = state else { return Ok(None) };
        let Some(frame0) = rest.next() else {
            let trailer = reel.encoder.into_inner().map_err(io::Error::other)?;
            return Ok::<_, io::Error>(Some((Bytes::from(trailer), None)));
        };
        Ok(Some((reel.next(frame0).await?, Some((reel, rest)))))
    });
    let body = stream::once(std::future::ready(Ok(head))).chain(rest);
    Ok(bytes(HttpResponse::Ok(), "image/gif").streaming(body))
}

impl Reel {
    async fn next(&mut self, frame0: u32) -> io::Result<Bytes> {
        let size = self.size;
        let made = self.order.with(&self.app, &self.holding, frame0, move |picture| {
            if (picture.width, picture.height) != size {
                return Err("a frame of another size than the first one".into());
            }
            form::frame(picture)
        });
        let frame = made.await.map_err(|err| cut_off(&err))?;
        self.written(frame, frame0).map_err(io::Error::other)
    }

    fn written(&mut self, mut frame: gif::Frame<'static>, frame0: u32) -> Result<Bytes, Cause> {
        let time = self.cine.time_of(usize::try_from(frame0).unwrap_or(usize::MAX)).unwrap_or(USUAL);
        frame.delay = hundredths(time);
        self.encoder.write_lzw_pre_encoded_frame(&frame)?;
        Ok(std::mem::take(self.encoder.get_mut()).into())
    }
}

fn hundredths(milliseconds: f64) -> u16 {
    // A float becomes an integer by saturation.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let hundredths = (milliseconds / 10.0).round() as u16;
    hundredths.max(FASTEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_frame_is_shown_for_less_than_browsers_take() {
        assert_eq!((hundredths(33.3), hundredths(100.0), hundredths(1.0)), (3, 10, 2));
        assert_eq!((hundredths(1e12), hundredths(f64::NAN)), (u16::MAX, 2));
    }
}
