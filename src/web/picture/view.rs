//! What of a frame is asked for, parsed at the door: `?wc=&ww=&voi=&invert=&w=&h=&overlays=`.

use serde::Deserialize;

use crate::render::{View, Window};
use crate::web::error::Error;

/// The largest side that can be asked for. A picture is never made larger than its pixels by this alone.
const MAX_SIDE: u32 = 8192;

/// What follows the question mark of a picture, as it came.
#[derive(Debug, Default, Deserialize)]
pub struct Asked {
    wc: Option<String>,
    ww: Option<String>,
    voi: Option<String>,
    invert: Option<String>,
    w: Option<String>,
    h: Option<String>,
    overlays: Option<String>,
}

/// A view, and the text that names it: equal views have equal names.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedView {
    /// What to draw.
    pub view: View,
    /// For tags and caches.
    pub name: String,
}

impl Asked {
    /// The view, or what is wrong with it in words.
    pub fn view(&self) -> Result<NamedView, Error> {
        let view = View {
            window: window(self.wc.as_deref(), self.ww.as_deref())?,
            window_index: match given(self.voi.as_deref()) {
                Some(text) => Some(position(text, "The window (voi)", 1000)?),
                None => None,
            },
            invert: flag(self.invert.as_deref(), "invert", false)?,
            width: side(self.w.as_deref(), "The width (w)")?,
            height: side(self.h.as_deref(), "The height (h)")?,
            overlays: flag(self.overlays.as_deref(), "overlays", true)?,
            ..View::default()
        };
        Ok(NamedView::of(view))
    }
}

impl NamedView {
    /// Names a view.
    pub fn of(view: View) -> NamedView {
        let name = format!("{view:?}");
        NamedView { view, name }
    }

    /// The picture as it is stored, made to fit into a square.
    pub fn fitted(side: u32) -> NamedView {
        NamedView::of(View { width: Some(side), height: Some(side), overlays: true, ..View::default() })
    }
}

/// A window typed by a person: centre and width belong together. PS3.3 C.11.2.1.2.
pub fn window(center: Option<&str>, width: Option<&str>) -> Result<Option<Window>, Error> {
    match (given(center), given(width)) {
        (None, None) => Ok(None),
        (Some(center), Some(width)) => {
            let center = number(center, "The window centre (wc)")?;
            let width = number(width, "The window width (ww)")?;
            if width <= 0.0 {
                return Err(Error::Invalid("The window width (ww) must be greater than 0.".into()));
            }
            Ok(Some(Window { center, width }))
        }
        _ => Err(Error::Invalid("A window needs both its centre (wc) and its width (ww).".into())),
    }
}

/// A position counted from 1, returned counted from 0.
pub fn position(text: &str, what: &str, most: usize) -> Result<usize, Error> {
    let number = text.parse::<usize>().ok().filter(|number| (1..=most).contains(number));
    let number =
        number.ok_or_else(|| Error::Invalid(format!("{what} must be a whole number from 1 to {most}.")))?;
    Ok(number - 1)
}

fn given(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}

fn number(text: &str, what: &str) -> Result<f64, Error> {
    // Half of the world writes a decimal comma.
    let number = text.replace(',', ".").parse::<f64>().ok();
    number
        .filter(|number| number.is_finite() && number.abs() <= 1e12)
        .ok_or_else(|| Error::Invalid(format!("{what} must be a number, such as 40 or -600.")))
}

fn side(text: Option<&str>, what: &str) -> Result<Option<u32>, Error> {
    let Some(text) = given(text) else { return Ok(None) };
    let side = text.parse::<u32>().ok().filter(|side| (1..=MAX_SIDE).contains(side));
    side.map(Some)
        .ok_or_else(|| Error::Invalid(format!("{what} must be a whole number from 1 to {MAX_SIDE}.")))
}

/// `1` or `0`, also as words.
pub fn flag(text: Option<&str>, name: &str, absent: bool) -> Result<bool, Error> {
    match given(text) {
        None => Ok(absent),
        Some("1" | "true" | "on") => Ok(true),
        Some("0" | "false" | "off") => Ok(false),
        Some(_) => Err(Error::Invalid(format!("{name} must be 1 or 0."))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: &str) -> Result<NamedView, String> {
        let asked: Asked = serde_urlencoded::from_str(query).unwrap();
        asked.view().map_err(|err| err.to_string())
    }

    #[test]
    fn nothing_asked_is_the_image_as_it_is() {
        let view = asked("").unwrap().view;
        assert!(view.window.is_none() && view.window_index.is_none() && !view.invert && view.overlays);
        assert_eq!((view.width, view.height), (None, None));
        assert_eq!(asked("wc=&ww=&voi=&w=").unwrap().name, asked("").unwrap().name);
    }

    #[test]
    fn a_window_has_centre_and_width() {
        let window = asked("wc=-600&ww=1500,5").unwrap().view.window.unwrap();
        assert_eq!((window.center, window.width), (-600.0, 1500.5));
        assert!(asked("wc=40").unwrap_err().contains("both"));
        assert!(asked("ww=40").unwrap_err().contains("both"));
        assert!(asked("wc=1&ww=0").unwrap_err().contains("greater than 0"));
        for bad in ["NaN", "inf", "1e400", "x", "1e13"] {
            assert!(asked(&format!("wc={bad}&ww=1")).unwrap_err().contains("must be a number"), "{bad}");
        }
    }

    #[test]
    fn sizes_and_positions_have_bounds() {
        assert_eq!(asked("w=300&h=8192").unwrap().view.width, Some(300));
        assert_eq!(asked("voi=2").unwrap().view.window_index, Some(1));
        for bad in ["w=0", "w=8193", "h=-1", "h=99999999999", "voi=0", "voi=x", "invert=maybe"] {
            assert!(asked(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn equal_views_have_equal_names_and_different_ones_do_not() {
        assert_eq!(asked("wc=40&ww=400").unwrap().name, asked("ww=400.0&wc=40").unwrap().name);
        let names = ["", "wc=40&ww=400", "voi=1", "invert=1", "w=10", "h=10", "overlays=0"];
        let mut names: Vec<String> = names.iter().map(|query| asked(query).unwrap().name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 7);
    }
}
