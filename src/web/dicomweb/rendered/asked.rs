//! What stands behind the question mark of a picture, PS3.18 section 8.3.5.1.

use crate::render::{Region, View, VoiFunction};
use crate::web::error::Error;
use crate::web::picture::window;

/// The largest side of a picture that is asked for.
const MOST_PIXELS: u32 = 8192;
/// Quality of a JPEG, of 100, unless another is asked for.
const QUALITY: u8 = 90;

/// How a picture is to look.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    view: View,
    part: Option<Part>,
    /// Of a JPEG, 1 to 100.
    pub quality: u8,
    /// Words to be burned in.
    pub annotation: Annotation,
    /// What is to be said of the colours.
    pub profile: Option<Profile>,
}

/// Words to be burned into a picture, PS3.18 section 8.3.5.1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Annotation {
    /// Who it is of.
    pub patient: bool,
    /// What it shows, and how it was made.
    pub technique: bool,
}

/// What is to be said of the colours, PS3.18 section 8.3.5.1.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Whatever they are.
    Any,
    /// That they are sRGB.
    Srgb,
}

/// A part of an image, before its size is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Part {
    /// In pixels of the image; to its right and lower edge, where there is no size.
    Pixels {
        /// Left edge.
        left: f64,
        /// Upper edge.
        top: f64,
        /// Width.
        width: Option<f64>,
        /// Height.
        height: Option<f64>,
    },
    /// Left, upper, right and lower edge, where the image goes from 0 to 1.
    Shares([f64; 4]),
}

impl Part {
    /// The pixels it lies on, in an image of this size.
    fn region(self, rows: u32, columns: u32) -> Result<Region, Error> {
        let (across, down) = (f64::from(columns), f64::from(rows));
        let (left, top, right, bottom) = match self {
            Part::Pixels { left, top, width, height } => (
                left,
                top,
                width.map_or(across, |width| left + width),
                height.map_or(down, |height| top + height),
            ),
            Part::Shares([left, top, right, bottom]) => {
                (left * across, top * down, right * across, bottom * down)
            }
        };
        if left >= across || top >= down {
            return Err(Error::Invalid(format!(
                "The part lies outside of the image of {columns} x {rows} pixels."
            )));
        }
        // Between 0 and the size of an image, which a u32 holds.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let whole = |from: f64, to: f64, size: f64| {
            let (from, to) = (from.floor().max(0.0), to.min(size).ceil());
            (from as u32, (to - from).max(1.0) as u32)
        };
        let ((left, columns), (top, rows)) = (whole(left, right, across), whole(top, bottom, down));
        Ok(Region { left, top, columns, rows })
    }
}

impl Asked {
    /// As the image is stored; a thumbnail fits into a square.
    pub fn nothing(side: Option<u32>) -> Asked {
        let view = View { width: side, height: side, overlays: true, ..View::default() };
        Asked { view, part: None, quality: QUALITY, annotation: Annotation::default(), profile: None }
    }

    /// Reads it; `side` is that of a thumbnail for which no viewport is asked for.
    pub fn parse(query_string: &str, side: Option<u32>) -> Result<Asked, Error> {
        let mut asked = Asked::nothing(side);
        for (name, value) in url::form_urlencoded::parse(query_string.as_bytes()) {
            match name.as_ref() {
                "viewport" => asked.set_viewport(&value)?,
                "window" => asked.set_window(&value)?,
                "quality" => asked.set_quality("quality", &value)?,
                "annotation" => asked.set_annotation(&value)?,
                "iccprofile" => asked.set_profile(&value)?,
                // What others have beyond the standard: a picture without is a picture.
                _ => {}
            }
        }
        Ok(asked)
    }

    /// Whether the size of the image has to be known before it can be drawn.
    pub fn is_of_a_part(&self) -> bool {
        self.part.is_some()
    }

    /// What to draw of an image of this size.
    pub fn view(&self, rows: u32, columns: u32) -> Result<View, Error> {
        let region = self.part.map(|part| part.region(rows, columns)).transpose()?;
        Ok(View { region, ..self.view.clone() })
    }

    /// `viewport=vw,vh,sx,sy,sw,sh`, PS3.18 section 8.3.5.1.3: the last four may be left out, each.
    fn set_viewport(&mut self, value: &str) -> Result<(), Error> {
        let mut parts = value.split(',').map(str::trim);
        let (width, height) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        self.set_size(Some(pixels("viewport", width)?), Some(pixels("viewport", height)?));
        let mut number = || match parts.next() {
            None | Some("") => Ok(None),
            Some(text) => {
                text.parse::<f64>().ok().filter(|number| number.abs() <= 1e6).map(Some).ok_or_else(|| {
                    Error::Invalid("The part of a viewport is of numbers of pixels.".to_owned())
                })
            }
        };
        let (left, top, across, down) = (number()?, number()?, number()?, number()?);
        if parts.next().is_some() {
            return Err(invalid("viewport is a width, a height, and left, top, width and height of a part."));
        }
        if [across, down].contains(&Some(0.0)) {
            return Err(invalid("A part of a viewport is at least a pixel wide and high."));
        }
        // The sign of the size says whether the picture is turned.
        self.view.mirror = across.is_some_and(|across| across < 0.0);
        self.view.upside_down = down.is_some_and(|down| down < 0.0);
        if [left, top, across, down].iter().any(Option::is_some) {
            self.part = Some(Part::Pixels {
                left: left.unwrap_or(0.0).abs(),
                top: top.unwrap_or(0.0).abs(),
                width: across.map(f64::abs),
                height: down.map(f64::abs),
            });
        }
        Ok(())
    }

    /// The picture becomes as large as these allow.
    pub fn set_size(&mut self, width: Option<u32>, height: Option<u32>) {
        (self.view.width, self.view.height, self.view.enlarge) = (width, height, true);
    }

    /// A part of the image.
    pub fn set_part(&mut self, part: Part) {
        self.part = Some(part);
    }

    /// A window, as the instance uses it.
    pub fn set_center_and_width(&mut self, center: Option<&str>, width: Option<&str>) -> Result<(), Error> {
        self.view.window = window(center, width)?;
        Ok(())
    }

    /// `window=center,width,function`, PS3.18 section 8.3.5.1.4.
    fn set_window(&mut self, value: &str) -> Result<(), Error> {
        let parts: Vec<&str> = value.split(',').map(str::trim).collect();
        let (center, width, function) = match parts.as_slice() {
            [center, width] => (center, width, None),
            [center, width, function] => (center, width, Some(function.to_ascii_lowercase())),
            _ => return Err(invalid("window is a centre, a width and a function.")),
        };
        self.set_center_and_width(Some(center), Some(width))?;
        self.view.function = match function.as_deref() {
            None => None,
            Some("linear") => Some(VoiFunction::Linear),
            Some("linear-exact") => Some(VoiFunction::LinearExact),
            Some("sigmoid") => Some(VoiFunction::Sigmoid),
            Some(_) => return Err(invalid("The function of a window is linear, linear-exact or sigmoid.")),
        };
        Ok(())
    }

    /// Of a JPEG.
    pub fn set_quality(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let number = value.trim().parse().ok().filter(|quality| (1..=100).contains(quality));
        self.quality =
            number.ok_or_else(|| Error::Invalid(format!("{name} is a whole number from 1 to 100.")))?;
        Ok(())
    }

    /// `annotation=patient,technique`
    pub fn set_annotation(&mut self, value: &str) -> Result<(), Error> {
        for word in value.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match word {
                "patient" => self.annotation.patient = true,
                "technique" => self.annotation.technique = true,
                _ => return Err(invalid("annotation is patient, technique or both.")),
            }
        }
        Ok(())
    }

    fn set_profile(&mut self, value: &str) -> Result<(), Error> {
        self.profile = match value.trim() {
            "no" => None,
            "yes" => Some(Profile::Any),
            "srgb" => Some(Profile::Srgb),
            _ => return Err(invalid("iccprofile is no, yes or srgb: colours are not converted to others.")),
        };
        Ok(())
    }
}

/// A side of a picture.
pub fn pixels(name: &str, text: &str) -> Result<u32, Error> {
    let number = text.trim().parse().ok().filter(|pixels| (1..=MOST_PIXELS).contains(pixels));
    number.ok_or_else(|| Error::Invalid(format!("{name} is of whole numbers from 1 to {MOST_PIXELS}.")))
}

fn invalid(sentence: &str) -> Error {
    Error::Invalid(sentence.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: &str) -> Asked {
        Asked::parse(query, None).unwrap_or_else(|err| panic!("{query}: {err}"))
    }

    #[test]
    fn a_viewport_a_window_and_a_quality_are_read() {
        let asked =
            asked("viewport=256,128&window=40,400,linear&quality=75&annotation=patient&iccprofile=yes");
        let view = asked.view(512, 512).unwrap();
        assert_eq!((view.width, view.height, asked.quality), (Some(256), Some(128), 75));
        assert_eq!(view.window.map(|window| (window.center, window.width)), Some((40.0, 400.0)));
        assert_eq!((view.function, view.region), (Some(VoiFunction::Linear), None));
        assert_eq!(asked.annotation, Annotation { patient: true, technique: false });
        assert_eq!(asked.profile, Some(Profile::Any));
        let thumbnail = Asked::parse("", Some(99)).unwrap().view(512, 512).unwrap();
        assert_eq!((thumbnail.width, thumbnail.enlarge), (Some(99), false));
    }

    #[test]
    fn a_part_is_of_whole_pixels_within_the_image() {
        let view = |query: &str| asked(query).view(100, 200).unwrap();
        let region = |left, top, columns, rows| Some(Region { left, top, columns, rows });
        let part = view("viewport=50,50,10,20,30.5,40");
        assert_eq!((part.region, part.mirror, part.upside_down), (region(10, 20, 31, 40), false, false));
        let turned = view("viewport=50,50,,,-60,-70");
        assert_eq!((turned.region, turned.mirror, turned.upside_down), (region(0, 0, 60, 70), true, true));
        assert_eq!(view("viewport=50,50,150,90").region, region(150, 90, 50, 10));
        assert_eq!(view("viewport=50,50,150,90,1000,1000").region, region(150, 90, 50, 10));
        assert!(asked("viewport=50,50,200,0,1,1").view(100, 200).is_err());
        let mut shares = Asked::nothing(None);
        shares.set_part(Part::Shares([0.25, 0.5, 0.75, 1.0]));
        assert_eq!(shares.view(100, 200).unwrap().region, region(50, 50, 100, 50));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for wrong in [
            "viewport=0,1",
            "viewport=1",
            "viewport=1,2,3,4,5,6,7",
            "viewport=1,2,3,4,0,6",
            "viewport=1,2,x",
            "viewport=1,2,NaN",
            "viewport=1,2,inf",
            "window=40",
            "window=40,0,linear",
            "window=40,400,cubic",
            "quality=0",
            "quality=best",
            "annotation=everything",
            "iccprofile=adobergb",
        ] {
            assert!(Asked::parse(wrong, None).is_err(), "{wrong}");
        }
    }
}
