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

    /// Whether several things may come, each as a part of the answer.
    pub fn takes_several(&self) -> bool {
        matches!(self.name.as_str(), "multipart/related" | "*/*")
    }

    /// How closely it describes what it takes: by name, by group or anything; none where it does not take it.
    fn closeness(&self, media_type: &str) -> Option<u8> {
        let wanted = self.of_a_part();
        if wanted.eq_ignore_ascii_case(media_type) {
            return Some(3);
        }
        match (wanted.strip_suffix("/*")?, self.name.as_str()) {
            ("*", "*/*") => Some(0),
            ("*", _) => Some(1),
            (group, _) => media_type.split_once('/').is_some_and(|(own, _)| own == group).then_some(2),
        }
    }

    /// Whether it is for this range to say how gladly a media type is taken: none says it more closely, RFC 9110
    /// section 12.5.1. One thing and several are judged apart, but for what takes both.
    fn is_closest(&self, media_type: &str, ranges: &[Range]) -> bool {
        let Some(own) = self.closeness(media_type) else { return false };
        !ranges.iter().any(|other| {
            let rules = self.name == "*/*" || self.takes_several() == other.takes_several();
            rules && other.closeness(media_type).is_some_and(|closeness| closeness > own)
        })
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
    choose_where(ranges, offered, |_, _| true).ok_or_else(|| {
        let names: Vec<&str> = offered.iter().map(|(name, _)| *name).collect();
        Error::NotAcceptable(format!("This comes as {}, and as nothing else.", names.join(", ")))
    })
}

/// The same, of what `can` says can be answered; and where that is nothing, of all.
pub fn choose_able<'r, T: Copy>(
    ranges: &'r [Range],
    offered: &[(&str, T)],
    can: impl Fn(T, &Range) -> bool,
) -> Result<(T, &'r Range), Error> {
    match choose_where(ranges, offered, can) {
        Some(chosen) => Ok(chosen),
        // Whoever cannot answer that says why.
        None => choose_for(ranges, offered),
    }
}

/// The same, of what `can` says can be answered.
pub fn choose_where<'r, T: Copy>(
    ranges: &'r [Range],
    offered: &[(&str, T)],
    can: impl Fn(T, &Range) -> bool,
) -> Option<(T, &'r Range)> {
    let taken = offered.iter().flat_map(|(name, what)| {
        let closest = ranges.iter().filter(move |range| range.is_closest(name, ranges));
        closest.map(|range| (*what, range))
    });
    // The first of equals is ours: a list of media types is no order.
    taken
        .filter(|(what, range)| range.quality > 0 && can(*what, range))
        .min_by_key(|(_, range)| std::cmp::Reverse(range.quality))
}

/// A media type with its parameters, as a Content-Type and each part of an Accept header have it.
pub fn media_type(text: &str) -> Option<Range> {
    let mut parts = split(text, ';').into_iter();
    let name = with_plus(parts.next()?.trim()).to_ascii_lowercase();
    if name.is_empty() {
        return None;
    }
    let mut parameters: Vec<(String, String)> = parts
        .filter_map(|part| {
            let (name, value) = part.split_once('=')?;
            let (name, value) = (name.trim().to_ascii_lowercase(), unquoted(value.trim()));
            let value = if name == "type" { with_plus(&value) } else { value };
            Some((name, value))
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

/// No media type has a blank: behind a question mark, it was a plus that nobody escaped.
fn with_plus(media_type: &str) -> String {
    media_type.replace(' ', "+")
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
    fn how_gladly_something_is_taken_says_the_range_that_is_closest_to_it() {
        for (header, expected) in [
            ("application/dicom+json;q=0, */*", Some(2)),
            ("*/*, application/dicom+json;q=0", Some(2)),
            ("application/*;q=0, */*", Some(3)),
            ("application/*;q=0.1, application/dicom+xml;q=0.2, text/*;q=0.15", Some(2)),
            ("application/dicom+json;q=0.3, */*;q=0.5", Some(2)),
            ("*/*;q=0, text/csv;q=0.1", Some(3)),
            ("application/dicom+json;q=0, application/dicom+xml;q=0, text/csv;q=0, */*", None),
            // In parts or alone are two things.
            ("application/dicom+xml;q=0, multipart/related; type=\"application/dicom+xml\"", Some(2)),
            (
                "multipart/related; type=text/csv; q=0, multipart/related; q=0.5, application/dicom+json; q=0.1",
                Some(1),
            ),
        ] {
            assert_eq!(chosen(header, None), expected, "{header}");
        }
    }

    #[test]
    fn a_plus_that_nobody_escaped_is_a_plus() {
        assert_eq!(chosen("", Some("application/dicom json")), Some(1));
        assert_eq!(chosen("", Some("multipart/related; type=\"application/dicom xml\"")), Some(2));
    }

    #[test]
    fn what_can_be_answered_comes_before_what_is_taken_more_gladly() {
        let request = TestRequest::get()
            .insert_header((header::ACCEPT, "text/csv, multipart/related; type=text/csv; q=0.5"))
            .to_http_request();
        let ranges = ranges(&request, None);
        let several = |_, range: &Range| range.takes_several();
        assert_eq!(choose_able(&ranges, &OFFERED, several).unwrap().1.quality, 500);
        assert_eq!(choose_able(&ranges, &OFFERED, |_, _| false).unwrap().1.quality, 1000);
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
