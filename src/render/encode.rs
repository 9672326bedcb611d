//! Pictures as PNG files. The fastest settings: pictures are made for every look, and the network is near.

use png::{BitDepth, ColorType, DeflateCompression, Encoder, EncodingError, Filter};

use super::{Picture, Pixels};

/// The picture as a PNG file.
pub fn png(picture: &Picture) -> Vec<u8> {
    // Writing to memory cannot fail, and a `Picture` from this module has the bytes its size promises; a
    // picture put together wrongly elsewhere becomes an empty file.
    encode(picture).unwrap_or_default()
}

fn encode(picture: &Picture) -> Result<Vec<u8>, EncodingError> {
    let (colour, bytes) = match &picture.pixels {
        Pixels::Grey(bytes) => (ColorType::Grayscale, bytes),
        Pixels::Rgb(bytes) => (ColorType::Rgb, bytes),
    };
    let mut file = Vec::with_capacity(bytes.len() / 2 + 1024);
    let mut encoder = Encoder::new(&mut file, picture.width, picture.height);
    encoder.set_color(colour);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_deflate_compression(DeflateCompression::FdeflateUltraFast);
    encoder.set_filter(Filter::Up);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(bytes)?;
    writer.finish()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(picture: &Picture) -> (u32, u32, Vec<u8>) {
        let file = png(picture);
        let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut bytes).unwrap();
        (info.width, info.height, bytes)
    }

    #[test]
    fn grey_and_colour_come_out_as_they_went_in() {
        let grey = Picture { width: 3, height: 2, pixels: Pixels::Grey(vec![0, 1, 2, 253, 254, 255]) };
        assert_eq!(decoded(&grey), (3, 2, vec![0, 1, 2, 253, 254, 255]));
        let colour = Picture { width: 1, height: 2, pixels: Pixels::Rgb(vec![9, 8, 7, 6, 5, 4]) };
        assert_eq!(decoded(&colour), (1, 2, vec![9, 8, 7, 6, 5, 4]));
    }

    #[test]
    fn a_picture_with_too_few_pixels_is_an_empty_file() {
        assert!(png(&Picture { width: 5, height: 5, pixels: Pixels::Grey(vec![1]) }).is_empty());
    }
}
