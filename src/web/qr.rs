//! QR codes (ISO/IEC 18004) as paths for an inline `<svg>`. Pure.

use qrcodegen::{QrCode, QrCodeEcc};

/// Light modules around a code, so that cameras find it.
const QUIET_ZONE: i32 = 4;

/// A code to be drawn: a dark path on a light square of this side.
pub struct Drawn {
    /// Modules from edge to edge, quiet zone included.
    pub side: i32,
    /// The dark modules, a module being 1 by 1.
    pub path: String,
}

/// The code of a text. None where it is too long for one.
pub fn drawn(text: &str) -> Option<Drawn> {
    let code = QrCode::encode_text(text, QrCodeEcc::Medium).ok()?;
    let path = (0..code.size()).map(|y| row(&code, y)).collect();
    Some(Drawn { side: code.size() + 2 * QUIET_ZONE, path })
}

/// The dark modules of a row, one rectangle for each run of them.
fn row(code: &QrCode, y: i32) -> String {
    let mut path = String::new();
    let mut x = 0;
    while x < code.size() {
        let length = (x..code.size()).take_while(|&x| code.get_module(x, y)).fold(0, |length, _| length + 1);
        if length > 0 {
            path.push_str(&format!("M{} {}h{length}v1h-{length}z", x + QUIET_ZONE, y + QUIET_ZONE));
        }
        x += length + 1;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The dark modules of a path, drawn again.
    fn modules(path: &str) -> Vec<(i32, i32)> {
        let rectangles = path.split('M').filter(|part| !part.is_empty());
        rectangles
            .flat_map(|rectangle| {
                let numbers: Vec<i32> =
                    rectangle.split([' ', 'h', 'v', '-', 'z']).filter_map(|text| text.parse().ok()).collect();
                let [x, y, length, 1, back] = numbers[..] else { panic!("a rectangle: {rectangle}") };
                assert_eq!(length, back, "{rectangle}");
                (x..x + length).map(move |x| (x, y))
            })
            .collect()
    }

    #[test]
    fn every_dark_module_is_drawn_once_and_no_light_one() {
        let text = "https://pacs.example.org/share/0123456789abcdef0123456789abcdef";
        let drawn = drawn(text).expect("short enough");
        let code = QrCode::encode_text(text, QrCodeEcc::Medium).expect("short enough");
        let all = (0..code.size()).flat_map(|y| (0..code.size()).map(move |x| (x, y)));
        let dark: Vec<_> = all.filter(|&(x, y)| code.get_module(x, y)).map(|(x, y)| (x + 4, y + 4)).collect();
        assert_eq!(modules(&drawn.path), dark);
        assert_eq!(drawn.side, code.size() + 8);
    }

    #[test]
    fn what_does_not_fit_is_not_drawn() {
        assert!(drawn(&"a".repeat(5000)).is_none());
    }
}
