//! In which form something is wanted, PS3.18 section 8.3.3 and 8.7: the query parameter `accept` before the header.

use actix_web::HttpRequest;
use actix_web::http::header;

use crate::web::error::Error;

/// A media type that a client takes, and how gladly.
#[derive(Debug, Clone, PartialEq)]
pub struct Range {
    /// `application/dicom+json`, `image/*`, `*/*`, in small letters.
    pub name: String,
    /// Names in small letters; values without their quotation marks.
    pub parameters: Vec<(String, String)>,
    /// 0 to 1000.
    pub quality: u16,
}

impl Range {
    /// One media type.
    pub fn of(name: &str) -> Range {
        Range { name: name.to_owned(), parameters: Vec::new(), quality: 1000 }
    }

    /// A parameter by its name.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// What a part is to be, where several are to come in one answer; otherwise what the answer is to be.
    pub fn of_a_part(&self) -> &str {
        match self.name.as_str() {
            "multipart/related" => self.parameter("type").unwrap_or("*/*"),
            name => name,
        }
    }

    fn takes(&self, media_type: &str) -> bool {
        let wanted = self.of_a_part();
        wanted.eq_ignore_ascii_case(media_type)
            || wanted == "*/*"
            || wanted
                .strip_suffix("/*")
                .is_some_and(|group| media_type.split_once('/').is_some_and(|(of_type, _)| of_type == group))
    }
}

/// What a client takes, the gladliest first; anything, where it does not say.
pub fn ranges(request: &HttpRequest, accept: Option<&str>) -> Vec<Range> {
    let headers = request.headers().get_all(header::ACCEPT).filter_map(|value| value.to_str().ok());
    let said = match accept {
        Some(accept) => accept.to_owned(),
        None => headers.collect::<Vec<_>>().join(","),
    };
    let mut ranges: Vec<Range> = split(&said, ',').into_iter().filter_map(media_type).collect();
    if ranges.is_empty() {
        ranges.push(Range::of("*/*"));
    }
    ranges.sort_by_key(|range| std::cmp::Reverse(range.quality));
    ranges
}

/// The first of these media types, which are in the order of our own preference, that the client takes most gladly.
pub fn choose<T: Copy>(ranges: &[Range], offered: &[(&str, T)]) -> Result<T, Error> {
    Ok(choose_for(ranges, offered)?.0)
}

/// The same, and for which of the ranges that is.
pub fn choose_for<'r, T: Copy>(ranges: &'r [Range], offered: &[(&str, T)]) -> Result<(T, &'r Range), Error> {
    let taken = ranges.iter().filter(|range| range.quality > 0).find_map(|range| {
        // Of equals ours comes first: a list of media types is no order.
        let equals = ranges.iter().filter(|other| other.quality == range.quality);
        let taking = |name: &str| equals.clone().find(|range| range.takes(name));
        offered.iter().find_map(|(name, what)| Some((*what, taking(name)?)))
    });
    taken.ok_or_else(|| {
        let names: Vec<&str> = offered.iter().map(|(name, _)| *name).collect();
        Error::NotAcceptable(format!("This comes as {}, and as nothing else.", names.join(", ")))
    })
}

/// A media type with its parameters, as a Content-Type and each part of an Accept header have it.
pub fn media_type(text: &str) -> Option<Range> {
    let mut parts = split(text, ';').into_iter();
    let name = parts.next()?.trim().to_ascii_lowercase();
    if name.is_empty() {
        return None;
    }
    let mut parameters: Vec<(String, String)> = parts
        .filter_map(|part| {
            let (name, value) = part.split_once('=')?;
            Some((name.trim().to_ascii_lowercase(), unquoted(value.trim())))
        })
        .collect();
    let quality = parameters.iter().find(|(name, _)| name == "q").map(|(_, value)| value.clone());
    parameters.retain(|(name, _)| name != "q");
    let quality = quality.and_then(|quality| quality.parse::<f32>().ok()).unwrap_or(1.0).clamp(0.0, 1.0);
    // Between 0 and 1000.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let quality = (quality * 1000.0) as u16;
    Some(Range { name, parameters, quality })
}

/// Parts between separators that stand in no quotation marks.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut is_quoted, mut is_escaped) = (0, false, false);
    for (at, letter) in text.char_indices() {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            letter if letter == separator && !is_quoted => {
                parts.extend(text.get(start..at));
                start = at + letter.len_utf8();
            }
            _ => {}
        }
    }
    parts.extend(text.get(start..));
    parts
}

fn unquoted(value: &str) -> String {
    match value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\\\"", "\"").replace("\\\\", "\\"),
        None => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    const OFFERED: [(&str, u8); 3] =
        [("application/dicom+json", 1), ("application/dicom+xml", 2), ("text/csv", 3)];

    fn chosen(header: &str, accept: Option<&str>) -> Option<u8> {
        let request = TestRequest::get().insert_header((header::ACCEPT, header)).to_http_request();
        choose(&ranges(&request, accept), &OFFERED).ok()
    }

    #[test]
    fn the_gladliest_taken_wins_and_of_equals_ours() {
        for (header, expected) in [
            ("", Some(1)),
            ("*/*", Some(1)),
            ("application/dicom+json", Some(1)),
            ("application/*", Some(1)),
            ("text/csv, application/dicom+json", Some(1)),
            ("text/csv, application/dicom+json;q=0.5", Some(3)),
            ("multipart/related; type=\"application/dicom+xml\"", Some(2)),
            ("multipart/related; type=application/dicom+xml; boundary=x", Some(2)),
            ("APPLICATION/DICOM+JSON", Some(1)),
            // What OHIF asks for metadata with.
            (
                "application/dicom+json, multipart/related; type=application/octet-stream; transfer-syntax=*",
                Some(1),
            ),
            ("image/png", None),
            ("application/dicom+json;q=0", None),
            // What says nothing asks for anything.
            (",;=\",", Some(1)),
        ] {
            assert_eq!(chosen(header, None), expected, "{header}");
        }
    }

    #[test]
    fn the_parameter_wins_over_the_header() {
        assert_eq!(chosen("application/dicom+json", Some("text/csv")), Some(3));
        assert_eq!(chosen("text/csv", Some("image/png")), None);
    }

    #[test]
    fn commas_and_semicolons_in_quotation_marks_separate_nothing() {
        let request = TestRequest::get()
            .insert_header((header::ACCEPT, "multipart/related; type=\"a,b;c\\\"d\"; q=0.25, image/*"))
            .to_http_request();
        let ranges = ranges(&request, None);
        assert_eq!(ranges.len(), 2);
        assert_eq!((ranges[0].name.as_str(), ranges[0].quality), ("image/*", 1000));
        assert_eq!((ranges[1].parameter("type"), ranges[1].quality), (Some("a,b;c\"d"), 250));
    }
}
