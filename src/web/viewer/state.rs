//! What the viewer shows, as an address: every control is a link to another state.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Deserialize;

use crate::dicom::uid::StudyInstanceUid;
use crate::render::Window;
use crate::web::error::Error;
use crate::web::picture;

const QUERY: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'&').add(b'<').add(b'>').add(b'+').add(b'%');

/// What follows the question mark of the viewer, as it came.
#[derive(Debug, Default, Deserialize)]
pub struct Asked {
    /// Which series, by UID.
    pub series: Option<String>,
    /// Which instance, by UID: instead of `n`.
    pub instance: Option<String>,
    n: Option<String>,
    frame: Option<String>,
    window: Option<String>,
    wc: Option<String>,
    ww: Option<String>,
    invert: Option<String>,
    zoom: Option<String>,
}

/// A state of the viewer.
#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// Series Instance UID; empty for the first with images.
    pub series: String,
    /// Which instance of the series in its order, from 1.
    pub n: usize,
    /// Which of its frames, from 1.
    pub frame: usize,
    /// Which window.
    pub window: Windowing,
    /// Black for white.
    pub inverted: bool,
    /// Size on the screen.
    pub zoom: Zoom,
}

/// Which window.
#[derive(Debug, Clone, PartialEq)]
pub enum Windowing {
    /// The first of the image, or one that follows from its values.
    AsStored,
    /// One of those in the image, from 0.
    OfImage(usize),
    /// As typed or chosen.
    Typed(Window),
}

/// Size on the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zoom {
    /// As large as the pane allows.
    Fit,
    /// A pixel of the image is a pixel of the screen.
    Actual,
}

impl Asked {
    /// The state, or what is wrong with it in words. Numbers past the end are brought back when the end is known.
    pub fn state(&self) -> Result<State, Error> {
        const MOST: usize = 1_000_000;
        let counted = |text: &Option<String>, what: &str| -> Result<usize, Error> {
            match text.as_deref() {
                None | Some("") => Ok(1),
                Some(text) => Ok(picture::position(text, what, MOST)? + 1),
            }
        };
        let window = match (self.window.as_deref(), picture::window(self.wc.as_deref(), self.ww.as_deref())?)
        {
            (_, Some(window)) => Windowing::Typed(window),
            (Some(index), None) if !index.is_empty() => {
                Windowing::OfImage(picture::position(index, "The window", 1000)?)
            }
            _ => Windowing::AsStored,
        };
        let zoom = match self.zoom.as_deref() {
            None | Some("" | "fit") => Zoom::Fit,
            Some("1") => Zoom::Actual,
            Some(_) => return Err(Error::Invalid("zoom must be fit or 1.".into())),
        };
        Ok(State {
            series: self.series.clone().unwrap_or_default(),
            n: counted(&self.n, "The image (n)")?,
            frame: counted(&self.frame, "The frame")?,
            window,
            inverted: picture::flag(self.invert.as_deref(), "invert", false)?,
            zoom,
        })
    }
}

impl State {
    /// The fields of the query, without those that have their default.
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = vec![("series", self.series.clone())];
        if self.n != 1 {
            fields.push(("n", self.n.to_string()));
        }
        if self.frame != 1 {
            fields.push(("frame", self.frame.to_string()));
        }
        fields.extend(self.window_fields("window", 1));
        if self.inverted {
            fields.push(("invert", "1".to_owned()));
        }
        if self.zoom == Zoom::Actual {
            fields.push(("zoom", "1".to_owned()));
        }
        fields
    }

    /// The fields without some, for a form that has its own for those.
    pub fn fields_without(&self, names: &[&str]) -> Vec<(&'static str, String)> {
        self.fields().into_iter().filter(|(name, _)| !names.contains(name)).collect()
    }

    /// The address of this state.
    pub fn href(&self, study: &StudyInstanceUid) -> String {
        format!("{}?{}", action(study), query(&self.fields()))
    }

    /// The address of the picture, fitted into a square where `side` says so.
    pub fn picture(&self, instance: &str, side: Option<u32>) -> String {
        let mut fields = self.window_fields("voi", 1);
        if self.inverted {
            fields.push(("invert", "1".to_owned()));
        }
        if let Some(side) = side {
            fields.push(("w", side.to_string()));
            fields.push(("h", side.to_string()));
        }
        let address = format!("/instances/{instance}/frames/{}.png", self.frame);
        if fields.is_empty() { address } else { format!("{address}?{}", query(&fields)) }
    }

    fn window_fields(&self, name: &'static str, first: usize) -> Vec<(&'static str, String)> {
        match &self.window {
            Windowing::AsStored => Vec::new(),
            Windowing::OfImage(index) => vec![(name, (index + first).to_string())],
            Windowing::Typed(window) => vec![("wc", tidy(window.center)), ("ww", tidy(window.width))],
        }
    }
}

/// The viewer of a study.
pub fn action(study: &StudyInstanceUid) -> String {
    format!("/studies/{study}/viewer")
}

fn query(fields: &[(&str, String)]) -> String {
    let fields = fields.iter().map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, QUERY)));
    fields.collect::<Vec<_>>().join("&")
}

/// Two decimals where they say something, as the script writes them.
pub fn tidy(value: f64) -> String {
    let rounded = (value * 100.0).round() / 100.0;
    // Not "-0".
    format!("{}", rounded + 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: &str) -> Result<State, String> {
        let asked: Asked = serde_urlencoded::from_str(query).unwrap();
        asked.state().map_err(|err| err.to_string())
    }

    #[test]
    fn a_state_survives_its_address() {
        let study: StudyInstanceUid = "1.2.3".parse().unwrap();
        for query in [
            "series=4.5",
            "series=4.5&n=12",
            "series=4.5&n=2&frame=7&wc=-600&ww=1500&invert=1&zoom=1",
            "series=4.5&window=2",
            "series=4.5&wc=0.5&ww=1.25",
        ] {
            assert_eq!(asked(query).unwrap().href(&study), format!("/studies/1.2.3/viewer?{query}"));
        }
    }

    #[test]
    fn defaults_are_not_written() {
        let state = asked("series=4.5&n=1&frame=1&invert=0&zoom=fit&window=&wc=&ww=").unwrap();
        assert_eq!(state.fields(), [("series", "4.5".to_owned())]);
    }

    #[test]
    fn nonsense_is_refused_in_words() {
        for (query, word) in [
            ("n=0", "image"),
            ("frame=x", "frame"),
            ("zoom=3", "zoom"),
            ("wc=1", "both"),
            ("window=0", "window"),
        ] {
            assert!(asked(query).unwrap_err().contains(word), "{query}");
        }
    }

    #[test]
    fn the_picture_of_a_state_has_its_window_and_frame() {
        let state = asked("series=4.5&frame=3&wc=40&ww=400&invert=1").unwrap();
        assert_eq!(
            state.picture("9.9", Some(720)),
            "/instances/9.9/frames/3.png?wc=40&ww=400&invert=1&w=720&h=720"
        );
        assert_eq!(asked("").unwrap().picture("9.9", None), "/instances/9.9/frames/1.png");
    }

    #[test]
    fn what_is_typed_cannot_leave_its_field() {
        let study: StudyInstanceUid = "1.2.3".parse().unwrap();
        let state = asked("series=a%26n%3D9%22%3E").unwrap();
        assert_eq!(state.href(&study), "/studies/1.2.3/viewer?series=a%26n=9%22%3E");
    }
}
