//! Bodies in several parts, RFC 2046 section 5.1, as they come: STOW-RS and the form that files are put in with.
//!
//! It is read on a thread that may wait, piece by piece; a part may be of any length. Clients that keep to the grammar
//! more or less are understood: lines may end with LF alone, the last line need not end at all.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem::Finder;
use tokio::sync::mpsc;

/// The longest boundary that is taken; RFC 2046 wants 70 characters at most.
const LONGEST_BOUNDARY: usize = 200;
/// What may stand before the first part, bytes.
const LONGEST_PREAMBLE: usize = 64 * 1024;
/// The header of a part, bytes.
const LONGEST_HEADER: usize = 16 * 1024;

/// A body as it comes.
pub struct Body {
    arrivals: mpsc::Receiver<Arrival>,
    has_ended: bool,
}

/// What comes of a body. That no more comes is its end only where it is said.
#[derive(Debug)]
pub enum Arrival {
    /// The next bytes.
    Piece(Bytes),
    /// All of it has come.
    End,
    /// The rest will not.
    Lost(String),
}

impl Body {
    /// What comes from there.
    pub fn new(arrivals: mpsc::Receiver<Arrival>) -> Body {
        Body { arrivals, has_ended: false }
    }

    /// Waits for the next bytes; none at its end.
    pub fn piece(&mut self) -> Result<Option<Bytes>, Broken> {
        if self.has_ended {
            return Ok(None);
        }
        match self.arrivals.blocking_recv() {
            Some(Arrival::Piece(bytes)) => Ok(Some(bytes)),
            Some(Arrival::End) => {
                self.has_ended = true;
                Ok(None)
            }
            Some(Arrival::Lost(why)) => Err(Broken::Connection(why)),
            None => Err(Broken::Connection("the connection was closed".to_owned())),
        }
    }
}

/// Why a body cannot be read further.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The boundary that parts are told apart by.
    #[error("the Content-Type of the request names no boundary")]
    NoBoundary,
    /// It never came.
    #[error("the boundary {0} of the Content-Type does not stand in the body")]
    NoPart(String),
    /// A part whose header has no end.
    #[error("the header of a part has no end")]
    Header,
    /// The last boundary is missing.
    #[error("the body ends before its last boundary")]
    Ended,
    /// The connection.
    #[error("the body did not come: {0}")]
    Connection(String),
}

/// The header of a part: names in small letters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header(Vec<(String, String)>);

impl Header {
    /// The first line of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn parse(text: &str) -> Header {
        let mut lines: Vec<String> = Vec::new();
        for line in text.lines() {
            match lines.last_mut() {
                // A line that goes on in the next.
                Some(last) if line.starts_with([' ', '\t']) => {
                    last.push(' ');
                    last.push_str(line.trim());
                }
                _ => lines.push(line.to_owned()),
            }
        }
        let pairs = lines.iter().filter_map(|line| line.split_once(':'));
        Header(
            pairs.map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned())).collect(),
        )
    }
}

/// A body in parts.
pub struct Multipart {
    body: Body,
    buffer: BytesMut,
    /// LF, two hyphens and the boundary. A CR before it is part of it.
    delimiter: Finder<'static>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Preamble,
    /// Behind a delimiter.
    Between,
    /// Behind the header of a part, whose last LF may be the first of a delimiter: the part is empty then.
    Begun,
    Part,
    End,
}

impl Multipart {
    /// The parts of this body, told apart by this boundary.
    pub fn new(body: Body, boundary: &str) -> Result<Multipart, Broken> {
        if boundary.is_empty() || boundary.len() > LONGEST_BOUNDARY {
            return Err(Broken::NoBoundary);
        }
        let delimiter = Finder::new(format!("\n--{boundary}").as_bytes()).into_owned();
        // The first delimiter may be the first line.
        let buffer = BytesMut::from(&b"\n"[..]);
        Ok(Multipart { body, buffer, delimiter, state: State::Preamble })
    }

    /// The header of the next part; none behind the last one. What was not taken of the part before is passed over.
    pub fn next_part(&mut self) -> Result<Option<Header>, Broken> {
        if self.state == State::Preamble {
            self.pass_preamble()?;
        }
        while matches!(self.state, State::Begun | State::Part) {
            self.next_data()?;
        }
        if self.state == State::End {
            return Ok(None);
        }
        // Behind the delimiter: two hyphens behind the last one, otherwise the end of the line.
        self.fill_to(2)?;
        if self.buffer.starts_with(b"--") {
            self.state = State::End;
            return Ok(None);
        }
        let header = self.header()?;
        self.state = State::Begun;
        Ok(Some(header))
    }

    /// The next bytes of the part; none where it has ended.
    pub fn next_data(&mut self) -> Result<Option<Bytes>, Broken> {
        if self.state == State::Begun {
            self.begin()?;
        }
        if self.state != State::Part {
            return Ok(None);
        }
        let needle = self.delimiter.needle().len();
        let mut from = 0;
        loop {
            let found =
                self.buffer.get(from..).and_then(|rest| self.delimiter.find(rest)).map(|at| from + at);
            match found {
                Some(at) => {
                    if !self.is_followed(at + needle)? {
                        // The boundary is the beginning of something longer.
                        from = at + 1;
                        continue;
                    }
                    let end = match at.checked_sub(1).and_then(|before| self.buffer.get(before)) {
                        Some(b'\r') => at - 1,
                        _ => at,
                    };
                    let data = self.buffer.split_to(end).freeze();
                    self.buffer.advance(at - end + needle);
                    self.state = State::Between;
                    return Ok((!data.is_empty()).then_some(data));
                }
                // A CR and a delimiter may have begun.
                None if self.buffer.len() > from.max(1) + needle => {
                    let sure = self.buffer.len() - needle - 1;
                    if sure >= from {
                        return Ok(Some(self.buffer.split_to(sure).freeze()));
                    }
                    self.fill()?;
                }
                None => self.fill()?,
            }
        }
    }

    /// A part of a form as text, up to a length.
    pub fn text(&mut self, longest: usize) -> Result<String, Broken> {
        let mut text = Vec::new();
        while let Some(data) = self.next_data()? {
            let room = longest.saturating_sub(text.len()).min(data.len());
            text.extend_from_slice(data.get(..room).unwrap_or_default());
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Whether what stands behind a boundary lets it be one: hyphens, space or the end of the line.
    fn is_followed(&mut self, at: usize) -> Result<bool, Broken> {
        while self.buffer.len() < at + 2 {
            match self.fill() {
                Ok(()) => {}
                // A body that ends just here has ended at its last boundary, or is broken; that is found out next.
                Err(Broken::Ended) => break,
                Err(err) => return Err(err),
            }
        }
        Ok(matches!(
            self.buffer.get(at..),
            Some([b'-', b'-', ..] | [b'\r' | b'\n' | b' ' | b'\t', ..] | [b'-'] | [])
        ))
    }

    /// Tells a part that is empty from one that is not.
    fn begin(&mut self) -> Result<(), Broken> {
        let needle = self.delimiter.needle().to_vec();
        while self.buffer.len() < needle.len() && needle.starts_with(&self.buffer) {
            self.fill()?;
        }
        if self.buffer.starts_with(&needle) && self.is_followed(needle.len())? {
            self.buffer.advance(needle.len());
            self.state = State::Between;
        } else {
            self.buffer.advance(1);
            self.state = State::Part;
        }
        Ok(())
    }

    fn pass_preamble(&mut self) -> Result<(), Broken> {
        self.state = State::Part;
        let mut passed = 0;
        let nothing = |of: &Multipart| {
            Broken::NoPart(
                String::from_utf8_lossy(of.delimiter.needle())
                    .trim_start()
                    .trim_start_matches("--")
                    .to_owned(),
            )
        };
        while self.state == State::Part {
            match self.next_data() {
                Ok(data) => passed += data.map_or(0, |data| data.len()),
                Err(Broken::Ended) => return Err(nothing(self)),
                Err(err) => return Err(err),
            }
            if passed > LONGEST_PREAMBLE {
                return Err(nothing(self));
            }
        }
        Ok(())
    }

    /// The lines up to an empty one, behind the rest of the delimiter's line.
    fn header(&mut self) -> Result<Header, Broken> {
        loop {
            let line = memchr::memchr(b'\n', &self.buffer);
            let end = line.and_then(|line| {
                let rest = self.buffer.get(line + 1..)?;
                if rest.starts_with(b"\r\n") {
                    return Some((line + 1, line + 3));
                }
                if rest.starts_with(b"\n") {
                    return Some((line + 1, line + 2));
                }
                let with_cr = memchr::memmem::find(rest, b"\n\r\n").map(|at| (at, at + 3));
                let without = memchr::memmem::find(rest, b"\n\n").map(|at| (at, at + 2));
                let (at, behind) = with_cr.into_iter().chain(without).min()?;
                Some((line + 1 + at, line + 1 + behind))
            });
            match (line, end) {
                (Some(line), Some((end, behind))) => {
                    let text = self.buffer.get(line + 1..end).unwrap_or_default();
                    let header = Header::parse(&String::from_utf8_lossy(text));
                    self.buffer.advance(behind - 1);
                    return Ok(header);
                }
                _ if self.buffer.len() > LONGEST_HEADER => return Err(Broken::Header),
                _ => self.fill()?,
            }
        }
    }

    fn fill_to(&mut self, length: usize) -> Result<(), Broken> {
        while self.buffer.len() < length {
            self.fill()?;
        }
        Ok(())
    }

    fn fill(&mut self) -> Result<(), Broken> {
        let piece = self.body.piece()?.ok_or(Broken::Ended)?;
        self.buffer.extend_from_slice(&piece);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(chunks: Vec<&[u8]>, boundary: &str) -> (Vec<(Header, Vec<u8>)>, Option<Broken>) {
        let (sender, body) = mpsc::channel(chunks.len() + 1);
        for chunk in chunks {
            sender.try_send(Arrival::Piece(Bytes::copy_from_slice(chunk))).expect("room");
        }
        sender.try_send(Arrival::End).expect("room");
        let mut parts = Vec::new();
        let mut multipart = match Multipart::new(Body::new(body), boundary) {
            Ok(multipart) => multipart,
            Err(err) => return (parts, Some(err)),
        };
        loop {
            match multipart.next_part() {
                Ok(None) => return (parts, None),
                Err(err) => return (parts, Some(err)),
                Ok(Some(header)) => {
                    let mut data = Vec::new();
                    loop {
                        match multipart.next_data() {
                            Ok(Some(more)) => data.extend_from_slice(&more),
                            Ok(None) => break,
                            Err(err) => return (parts, Some(err)),
                        }
                    }
                    parts.push((header, data));
                }
            }
        }
    }

    fn data(body: &[u8]) -> (Vec<Vec<u8>>, Option<Broken>) {
        let (parts, err) = read(vec![body], "b");
        (parts.into_iter().map(|(_, data)| data).collect(), err)
    }

    #[test]
    fn parts_are_what_stands_between_boundaries() {
        let (parts, err) = read(
            vec![b"preamble\r\n--b  \r\nContent-Type: application/dicom;\r\n  a=1\r\nX: y\r\n\r\none\r\n--b\r\n\r\ntwo\n\r\n--b--\r\nepilogue"],
            "b",
        );
        assert_eq!(err, None);
        assert_eq!(parts[0].0.get("content-type"), Some("application/dicom; a=1"));
        assert_eq!(parts[0].0.get("x"), Some("y"));
        assert_eq!((parts[0].1.as_slice(), parts[1].1.as_slice()), (&b"one"[..], &b"two\n"[..]));
        assert_eq!(parts[1].0, Header::default());
    }

    #[test]
    fn odd_clients_are_understood() {
        for (body, expected) in [
            // As OHIF writes it: a line first, and none at the end.
            (&b"\r\n--b\r\nA: b\r\n\r\none\r\n--b--"[..], vec![&b"one"[..]]),
            (b"--b\nA: b\n\none\n--b\nA: b\n\ntwo\n--b--\n", vec![b"one", b"two"]),
            (b"--b\r\nA: b\r\n\r\n\r\n--b--", vec![b""]),
            (b"--b\r\nA: b\r\n\r\n--b--", vec![b""]),
            (b"--b\r\n\r\n\r\n\r\n--b--", vec![b"\r\n"]),
            (b"--b--", vec![]),
            // What only looks like a boundary.
            (b"--b\r\n\r\n\r\n--bc\r\n--\r\n-b\n--\r\n--b--", vec![b"\r\n--bc\r\n--\r\n-b\n--"]),
        ] {
            let text = String::from_utf8_lossy(body).into_owned();
            assert_eq!(data(body), (expected.iter().map(|part| part.to_vec()).collect(), None), "{text:?}");
        }
    }

    #[test]
    fn what_is_broken_is_said_and_gives_no_part_of_it() {
        for (body, parts, err) in [
            (&b""[..], 0, Broken::NoPart("b".into())),
            (b"hello", 0, Broken::NoPart("b".into())),
            (b"--b\r\nA: b\r\n\r\nhalf", 0, Broken::Ended),
            (b"--b\r\n\r\none\r\n--b\r\n\r\nhalf\r\n--", 1, Broken::Ended),
            (b"--b\r\nno end of this", 0, Broken::Ended),
        ] {
            let (read, why) = data(body);
            assert_eq!((read.len(), why), (parts, Some(err)), "{:?}", String::from_utf8_lossy(body));
        }
        let endless = [&b"--b\r\n"[..], &vec![b'x'; LONGEST_HEADER + 10]].concat();
        assert_eq!(data(&endless).1, Some(Broken::Header));
        let before = vec![b'x'; LONGEST_PREAMBLE * 2];
        assert_eq!(data(&before).1, Some(Broken::NoPart("b".into())));
        assert_eq!(read(vec![], "").1, Some(Broken::NoBoundary));
        assert_eq!(read(vec![], &"x".repeat(201)).1, Some(Broken::NoBoundary));
    }

    #[test]
    fn that_nothing_more_comes_is_no_end() {
        let (sender, body) = mpsc::channel(1);
        sender.try_send(Arrival::Piece(Bytes::from_static(b"half"))).expect("room");
        drop(sender);
        let mut body = Body::new(body);
        assert_eq!(body.piece(), Ok(Some(Bytes::from_static(b"half"))));
        assert!(matches!(body.piece(), Err(Broken::Connection(_))));
    }

    proptest! {
        #[test]
        fn how_it_is_cut_makes_no_difference(
            parts in proptest::collection::vec(
                proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'-'), Just(b'b'), any::<u8>()], 0..60),
                0..5,
            ),
            cuts in proptest::collection::vec(0_usize..400, 0..40),
        ) {
            let boundary = "-b-0123456789";
            let mut body = Vec::new();
            for part in &parts {
                body.extend_from_slice(b"--");
                body.extend_from_slice(boundary.as_bytes());
                body.extend_from_slice(b"\r\nA: b\r\n\r\n");
                body.extend_from_slice(part);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"--");
            body.extend_from_slice(boundary.as_bytes());
            body.extend_from_slice(b"--");
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(body.len())).collect();
            cuts.extend([0, body.len()]);
            cuts.sort_unstable();
            let chunks = cuts.windows(2).map(|ends| &body[ends[0]..ends[1]]).collect();
            let (read, err) = read(chunks, boundary);
            prop_assert_eq!(err, None);
            let read: Vec<Vec<u8>> = read.into_iter().map(|(_, data)| data).collect();
            prop_assert_eq!(read, parts);
        }
    }
}
