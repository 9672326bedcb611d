//! Several things in one answer, PS3.18 section 8.6.1.2: multipart/related, of which no more than a part is in memory.

use std::io;
use std::pin::Pin;

use actix_web::HttpResponse;
use actix_web::body::SizedStream;
use actix_web::web::Bytes;
use futures_util::stream::{self, LocalBoxStream};
use futures_util::{Stream, StreamExt};

use super::wado::{bytes, one};
use crate::web::error::{Error, chain};

/// A part on its way.
pub type Body = LocalBoxStream<'static, io::Result<Bytes>>;

/// A part.
pub struct Part {
    /// Its media type, with parameters.
    pub kind: String,
    /// Where it is by itself.
    pub location: String,
    /// Its bytes.
    pub body: Body,
}

impl Part {
    /// A part that is in memory.
    pub fn of(kind: &str, location: String, bytes: Bytes) -> Part {
        let body = stream::once(std::future::ready(Ok(bytes))).boxed_local();
        Part { kind: kind.to_owned(), location, body }
    }
}

/// An answer of these parts. What goes wrong in the middle ends the connection, so that nothing looks whole that is not.
pub fn answer(kind: &str, parts: impl Stream<Item = io::Result<Part>> + 'static) -> HttpResponse {
    let boundary = boundary();
    let multipart = format!("multipart/related; type=\"{kind}\"; boundary={boundary}");
    let end = format!("--{boundary}--\r\n");
    let body = parts.flat_map(move |part| match part {
        Err(err) => stream::once(std::future::ready(Err(err))).boxed_local(),
        Ok(Part { kind, location, body }) => {
            let head =
                format!("--{boundary}\r\nContent-Type: {kind}\r\nContent-Location: {location}\r\n\r\n");
            one(head.into()).chain(body).chain(one(b"\r\n".to_vec())).boxed_local()
        }
    });
    bytes(HttpResponse::Ok(), &multipart).streaming(body.chain(one(end.into())))
}

/// The same of parts whose lengths are known, in bytes, so that the whole has one too. The next part is opened while one is
/// sent.
pub fn sized(kind: &str, parts: Vec<(Part, u64)>) -> HttpResponse {
    let boundary = boundary();
    let multipart = format!("multipart/related; type=\"{kind}\"; boundary={boundary}");
    let end = format!("--{boundary}--\r\n");
    let head = |part: &Part| {
        let Part { kind, location, .. } = part;
        format!("--{boundary}\r\nContent-Type: {kind}\r\nContent-Location: {location}\r\n\r\n")
    };
    let heads: Vec<String> = parts.iter().map(|(part, _)| head(part)).collect();
    let whole = |text: &str| u64::try_from(text.len()).unwrap_or(u64::MAX);
    let length = parts.iter().zip(&heads).fold(whole(&end), |sum, ((_, length), head)| {
        sum.saturating_add(*length).saturating_add(whole(head)).saturating_add(2)
    });
    let opened = stream::iter(parts.into_iter().zip(heads)).map(|((part, _), head)| async move {
        let mut body = part.body.peekable();
        Pin::new(&mut body).peek().await;
        one(head.into()).chain(body).chain(one(b"\r\n".to_vec())).boxed_local()
    });
    let body = opened.buffered(2).flatten().chain(one(end.into()));
    bytes(HttpResponse::Ok(), &multipart).body(SizedStream::new(length, body))
}

/// In the middle of an answer there is nobody to tell but the log and the connection.
pub fn cut_off(err: &Error) -> io::Error {
    tracing::warn!(cause = chain(err), "an answer is cut off");
    io::Error::other(err.to_string())
}

/// What stands in no instance, as good as certain.
pub fn boundary() -> String {
    let mut bits = [0; 16];
    match getrandom::fill(&mut bits) {
        Ok(()) => hex::encode(bits),
        Err(_) => "filmroom-2f0c1ab1d8a54c0f8d5b8a52c2f5d1c7".to_owned(),
    }
}
