//! Photometric Interpretation (0028,0004), PS3.3 C.7.6.3.1.2.

/// What the samples of a pixel mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Photometric {
    /// Grey, the lowest value is white.
    Monochrome1,
    /// Grey, the lowest value is black.
    Monochrome2,
    /// Indices into a palette.
    PaletteColor,
    /// Red, green, blue.
    Rgb,
    /// Luminance and chrominance over the full range, ITU-R BT.601.
    YbrFull,
    /// The same, with a chrominance pair for two pixels beside each other.
    YbrFull422,
    /// Luminance 16 to 235 and chrominance 16 to 240, a chrominance pair for two pixels beside each other.
    YbrPartial422,
    /// The same, with a chrominance pair for four pixels (MPEG).
    YbrPartial420,
    /// Irreversible colour transformation of JPEG 2000.
    YbrIct,
    /// Reversible colour transformation of JPEG 2000.
    YbrRct,
    /// JPEG XL's own colour space.
    Xyb,
}

impl Photometric {
    /// The value of (0028,0004), or nothing for retired and unknown ones (HSV, ARGB, CMYK).
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.trim().to_ascii_uppercase().as_str() {
            "MONOCHROME1" => Self::Monochrome1,
            // Plain MONOCHROME is what some converters from ACR-NEMA write.
            "MONOCHROME2" | "MONOCHROME" => Self::Monochrome2,
            "PALETTE COLOR" | "PALETTE_COLOR" => Self::PaletteColor,
            "RGB" => Self::Rgb,
            "YBR_FULL" => Self::YbrFull,
            "YBR_FULL_422" => Self::YbrFull422,
            "YBR_PARTIAL_422" => Self::YbrPartial422,
            "YBR_PARTIAL_420" => Self::YbrPartial420,
            "YBR_ICT" => Self::YbrIct,
            "YBR_RCT" => Self::YbrRct,
            "XYB" => Self::Xyb,
            _ => return None,
        })
    }

    /// Samples per Pixel (0028,0002) that belongs to it.
    pub fn samples_per_pixel(self) -> u16 {
        match self {
            Self::Monochrome1 | Self::Monochrome2 | Self::PaletteColor => 1,
            _ => 3,
        }
    }

    /// Whether a native frame has two luminance samples for each pair of chrominance samples.
    pub fn is_422(self) -> bool {
        matches!(self, Self::YbrFull422 | Self::YbrPartial422)
    }

    /// Whether the samples are luminance and chrominance in some form.
    pub fn is_ybr(self) -> bool {
        !matches!(self, Self::Monochrome1 | Self::Monochrome2 | Self::PaletteColor | Self::Rgb | Self::Xyb)
    }
}
