//! The forms of a picture, PS3.18 table 8.7.4-1, and what a file says of its colours.

use actix_web::web::Bytes;
use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};

use super::icc;
use crate::render::{Picture, Pixels, encode};
use crate::web::error::{Cause, Error};

/// What a picture can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// With loss.
    Jpeg,
    /// Without.
    Png,
    /// Of at most 256 colours a frame; the only one that moves.
    Gif,
}

/// JPEG first, PS3.18 table 8.7.4-1.
pub const FORMS: [(&str, Form); 3] =
    [("image/jpeg", Form::Jpeg), ("image/png", Form::Png), ("image/gif", Form::Gif)];

/// How fast colours are chosen for a GIF, of 1 (best) to 30.
const GIF_SPEED: i32 = 10;
/// Where the chunks of a PNG begin that follow its header.
const AFTER_HEADER: usize = 33;
/// Perceptual, PNG section 11.3.2.5.
const RENDERING_INTENT: u8 = 0;

/// What a file is to say of its colours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Colours {
    /// Nothing.
    Unsaid,
    /// That they are sRGB.
    Srgb,
    /// What the instance says of them, an ICC profile.
    Own(Vec<u8>),
}

impl Form {
    /// The media type.
    pub fn name(self) -> &'static str {
        FORMS.iter().find(|(_, form)| *form == self).map_or("image/jpeg", |(name, _)| name)
    }
}

/// The picture in a PNG file of our own.
pub fn decoded(png: &[u8]) -> Result<Picture, Cause> {
    let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info()?;
    let length = reader.output_buffer_size().ok_or("a picture that fits in no memory")?;
    let mut samples = vec![0; length];
    let frame = reader.next_frame(&mut samples)?;
    samples.truncate(frame.buffer_size());
    let pixels = match frame.color_type {
        png::ColorType::Grayscale => Pixels::Grey(samples),
        png::ColorType::Rgb => Pixels::Rgb(samples),
        other => return Err(format!("a picture of kind {other:?}").into()),
    };
    Ok(Picture { width: frame.width, height: frame.height, pixels })
}

/// Whether a picture of this size can be such a file.
///
/// # Errors
/// `NotAcceptable` with a sentence.
pub fn fits(picture: &Picture, form: Form) -> Result<(), Error> {
    let Picture { width, height, .. } = picture;
    if form == Form::Png || width.max(height) <= &u32::from(u16::MAX) {
        return Ok(());
    }
    Err(Error::NotAcceptable(format!(
        "A picture of {width} x {height} pixels is too large for {}: ask for image/png, or for a smaller viewport.",
        form.name()
    )))
}

/// The picture as a file. `quality` is that of a JPEG.
pub fn encoded(picture: Picture, form: Form, quality: u8, colours: &Colours) -> Result<Bytes, Cause> {
    match form {
        Form::Jpeg => jpeg(picture, quality, colours),
        Form::Png => png(&picture, colours),
        Form::Gif => {
            let mut encoder = animation(&picture)?;
            encoder.write_lzw_pre_encoded_frame(&frame(picture)?)?;
            Ok(encoder.into_inner()?.into())
        }
    }
}

/// A GIF that frames of this size can be written to.
pub fn animation(picture: &Picture) -> Result<gif::Encoder<Vec<u8>>, Cause> {
    let (width, height) = (u16::try_from(picture.width)?, u16::try_from(picture.height)?);
    Ok(gif::Encoder::new(Vec::new(), width, height, &[])?)
}

/// A frame of a GIF, compressed. Greys are kept; of colours there are 256.
pub fn frame(picture: Picture) -> Result<gif::Frame<'static>, Cause> {
    let (width, height) = (u16::try_from(picture.width)?, u16::try_from(picture.height)?);
    let pixels = usize::from(width) * usize::from(height);
    let mut frame = match picture.pixels {
        Pixels::Grey(bytes) if bytes.len() == pixels => {
            let greys: Vec<u8> = (0..=255).flat_map(|grey| [grey; 3]).collect();
            gif::Frame::from_palette_pixels(width, height, bytes, greys, None)
        }
        Pixels::Rgb(bytes) if bytes.len() == pixels * 3 => {
            gif::Frame::from_rgb_speed(width, height, &bytes, GIF_SPEED)
        }
        Pixels::Grey(_) | Pixels::Rgb(_) => return Err("a picture of too few pixels".into()),
    };
    frame.make_lzw_pre_encoded();
    Ok(frame)
}

fn jpeg(picture: Picture, quality: u8, colours: &Colours) -> Result<Bytes, Cause> {
    let (width, height) = (u16::try_from(picture.width)?, u16::try_from(picture.height)?);
    let profile = match colours {
        Colours::Unsaid => None,
        Colours::Srgb => Some(icc::srgb()),
        Colours::Own(profile) => Some(profile.clone()),
    };
    let (samples, kind) = match picture.pixels {
        // The profiles are of three colours.
        Pixels::Grey(bytes) if profile.is_some() => {
            (bytes.iter().flat_map(|grey| [*grey; 3]).collect(), jpeg_encoder::ColorType::Rgb)
        }
        Pixels::Grey(bytes) => (bytes, jpeg_encoder::ColorType::Luma),
        Pixels::Rgb(bytes) => (bytes, jpeg_encoder::ColorType::Rgb),
    };
    let mut bytes = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, quality);
    if let Some(profile) = profile {
        encoder.add_icc_profile(&profile)?;
    }
    encoder.encode(&samples, width, height, kind)?;
    Ok(bytes.into())
}

fn png(picture: &Picture, colours: &Colours) -> Result<Bytes, Cause> {
    let file = encode(picture);
    let chunk = match colours {
        Colours::Unsaid => return Ok(file.into()),
        Colours::Srgb => chunk(b"sRGB", &[RENDERING_INTENT])?,
        Colours::Own(profile) => {
            let mut data = b"instance\0\0".to_vec();
            let mut zip = ZlibEncoder::new(&mut data, Compression::default());
            std::io::Write::write_all(&mut zip, profile)?;
            zip.finish()?;
            chunk(b"iCCP", &data)?
        }
    };
    let (head, rest) = file.split_at_checked(AFTER_HEADER).ok_or("a PNG without a header")?;
    Ok([head, &chunk, rest].concat().into())
}

/// PNG section 5.3.
fn chunk(kind: &[u8; 4], data: &[u8]) -> Result<Vec<u8>, Cause> {
    let mut crc = Crc::new();
    crc.update(kind);
    crc.update(data);
    let length = u32::try_from(data.len())?.to_be_bytes();
    Ok([&length, kind.as_slice(), data, &crc.sum().to_be_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn colour() -> Picture {
        let pixels = (0..64_u8).flat_map(|at| [at * 4, 255 - at * 4, 128]).collect();
        Picture { width: 8, height: 8, pixels: Pixels::Rgb(pixels) }
    }

    fn grey() -> Picture {
        Picture { width: 16, height: 16, pixels: Pixels::Grey((0..=255).collect()) }
    }

    #[test]
    fn a_png_says_that_it_is_srgb_or_what_the_instance_says() {
        for picture in [grey(), colour()] {
            let file = encoded(picture.clone(), Form::Png, 90, &Colours::Srgb).unwrap();
            let reader = png::Decoder::new(std::io::Cursor::new(&file)).read_info().unwrap();
            assert_eq!(reader.info().srgb, Some(png::SrgbRenderingIntent::Perceptual));
            assert_eq!(decoded(&file).unwrap(), picture);
        }
        let own = Colours::Own(vec![7; 3000]);
        let file = encoded(colour(), Form::Png, 90, &own).unwrap();
        let reader = png::Decoder::new(std::io::Cursor::new(&file)).read_info().unwrap();
        assert_eq!(reader.info().icc_profile.as_deref(), Some([7; 3000].as_slice()));
        assert_eq!(decoded(&file).unwrap(), colour());
    }

    #[test]
    fn a_jpeg_holds_the_profile() {
        let holds = |file: &[u8], wanted: &[u8]| file.windows(wanted.len()).any(|part| part == wanted);
        for picture in [grey(), colour()] {
            let plain = encoded(picture.clone(), Form::Jpeg, 90, &Colours::Unsaid).unwrap();
            assert!(!holds(&plain, b"ICC_PROFILE"));
            let file = encoded(picture, Form::Jpeg, 90, &Colours::Srgb).unwrap();
            assert!(holds(&file, b"ICC_PROFILE") && holds(&file, &icc::srgb()));
        }
    }

    #[test]
    fn what_is_too_wide_for_a_form_is_said_in_words() {
        let wide = Picture { width: 65_536, height: 1, pixels: Pixels::Grey(vec![0; 65_536]) };
        assert!(fits(&grey(), Form::Jpeg).is_ok() && fits(&wide, Form::Png).is_ok());
        for form in [Form::Jpeg, Form::Gif] {
            let refused = fits(&wide, form);
            assert!(matches!(&refused, Err(Error::NotAcceptable(words)) if words.contains("65536 x 1")));
        }
    }

    #[test]
    fn a_gif_keeps_every_grey() {
        let file = encoded(grey(), Form::Gif, 90, &Colours::Unsaid).unwrap();
        let mut options = gif::DecodeOptions::new();
        options.set_color_output(gif::ColorOutput::RGBA);
        let mut decoder = options.read_info(file.as_ref()).unwrap();
        let frame = decoder.read_next_frame().unwrap().unwrap();
        let greys: Vec<u8> = frame.buffer.chunks_exact(4).map(|pixel| pixel[1]).collect();
        assert_eq!(greys, grey().pixels.into_bytes());
        assert!(decoder.read_next_frame().unwrap().is_none());
    }
}
