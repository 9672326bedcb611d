//! Data sets as XML, PS3.18 section 8.7.3.3: each is a part of its own, or the whole of an answer that has but one.

use actix_web::body::SizedStream;
use actix_web::web::{Bytes, block};
use actix_web::{HttpResponse, HttpResponseBuilder};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::value::RawValue;

use super::media::Range;
use super::multipart::cut_off;
use super::wado::found::pieces;
use super::wado::one;
use crate::dicom::native_xml;
use crate::web::error::Error;
use crate::web::picture::Pictures;

/// The media type.
pub const XML: &str = "application/dicom+xml";

/// Parts are made until they are so many bytes, and then sent.
const PIECE: usize = 128 << 10;

/// The answer with these data sets, whose text is an array in the DICOM JSON Model as
/// [`json`](crate::dicom::json) writes them. They become XML one after the other while the answer is taken.
pub async fn answer(
    mut response: HttpResponseBuilder,
    pictures: &Pictures,
    text: impl Into<Bytes>,
    range: &Range,
    boundary: String,
) -> Result<HttpResponse, Error> {
    let text = text.into();
    if range.name == XML {
        let text = text.clone();
        if let Some(document) = made(pictures, move || only(&text)).await? {
            let place = pictures.hold(length(&document))?;
            let body = SizedStream::new(length(&document), pieces(document.into(), Some(place)));
            return Ok(response.content_type(XML).body(body));
        }
    }
    let pictures = pictures.clone();
    let kind = format!("multipart/related; type=\"{XML}\"; boundary={boundary}");
    let end = format!("--{boundary}--\r\n");
    let parts = stream::try_unfold(0, move |at| {
        let (pictures, text, boundary) = (pictures.clone(), text.clone(), boundary.clone());
        async move {
            let made = made(&pictures, move || parts(&text, at, &boundary)).await;
            let (bytes, at) = made.map_err(|err| cut_off(&err))?;
            if bytes.is_empty() {
                return Ok(None);
            }
            let place = pictures.hold(length(&bytes)).map_err(|err| cut_off(&err))?;
            Ok::<_, std::io::Error>(Some((pieces(bytes.into(), Some(place)), at)))
        }
    });
    Ok(response.content_type(kind).streaming(parts.try_flatten().chain(one(end.into()))))
}

/// Makes XML, for which there are only so many places.
async fn made<T: Send + 'static>(
    pictures: &Pictures,
    make: impl FnOnce() -> Result<T, serde_json::Error> + Send + 'static,
) -> Result<T, Error> {
    let processor = pictures.processor().await?;
    let work = move || {
        let _processor = processor;
        make()
    };
    let made = block(work).await.map_err(|err| Error::Unavailable(err.into()))?;
    made.map_err(|err| match err.is_data() {
        true => Error::Invalid(format!("A data set cannot be written as XML: {err}.")),
        false => Error::internal(err),
    })
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// The data set as a document, if there is exactly one.
fn only(text: &[u8]) -> Result<Option<Vec<u8>>, serde_json::Error> {
    let Some((object, end)) = next(text, 0)? else { return Ok(None) };
    if next(text, end)?.is_some() {
        return Ok(None);
    }
    let mut document = Vec::new();
    native_xml::write(object.get().as_bytes(), &mut document)?;
    Ok(Some(document))
}

/// The parts of the data sets from a place on, and where they end; none at the end of the array.
fn parts(text: &[u8], mut at: usize, boundary: &str) -> Result<(Vec<u8>, usize), serde_json::Error> {
    let mut bytes = Vec::new();
    while bytes.len() < PIECE
        && let Some((object, end)) = next(text, at)?
    {
        bytes.extend_from_slice(format!("--{boundary}\r\nContent-Type: {XML}\r\n\r\n").as_bytes());
        native_xml::write(object.get().as_bytes(), &mut bytes)?;
        bytes.extend_from_slice(b"\r\n");
        at = end;
    }
    Ok((bytes, at))
}

/// The data set that is next in the array behind a bracket or a comma, and where it ends.
fn next(text: &[u8], at: usize) -> Result<Option<(&RawValue, usize)>, serde_json::Error> {
    let rest = text.get(at..).unwrap_or_default();
    let Some((b'[' | b',', rest)) = rest.split_first() else { return Ok(None) };
    if rest.first() == Some(&b']') {
        return Ok(None);
    }
    let mut objects = serde_json::Deserializer::from_slice(rest).into_iter::<&RawValue>();
    let object = objects.next().transpose()?;
    Ok(object.map(|object| (object, at + 1 + objects.byte_offset())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::body::to_bytes;

    fn range(name: &str) -> Range {
        Range { name: name.to_owned(), parameters: Vec::new(), quality: 1000 }
    }

    async fn taken(text: &'static str, name: &str) -> (String, String) {
        let response =
            answer(HttpResponse::Ok(), &Pictures::new(1), text, &range(name), "b".to_owned()).await;
        let response = response.expect("an answer");
        let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
        let kind = kind.expect("text").to_owned();
        let body = to_bytes(response.into_body()).await.unwrap_or_else(|_| panic!("{text}"));
        (kind, String::from_utf8(body.to_vec()).expect("UTF-8"))
    }

    #[actix_web::test]
    async fn each_data_set_is_a_part_and_an_only_one_may_be_all() {
        let multipart = "multipart/related; type=\"application/dicom+xml\"; boundary=b";
        let document = |inner: &str| {
            let mut bytes = Vec::new();
            native_xml::write(inner.as_bytes(), &mut bytes).expect("a data set");
            String::from_utf8(bytes).expect("UTF-8")
        };
        let part = |inner: &str| {
            format!("--b\r\nContent-Type: application/dicom+xml\r\n\r\n{}\r\n", document(inner))
        };
        let (a, b) = (r#"{"00100020":{"vr":"LO","Value":["],["]}}"#, "{}");
        for name in [XML, "multipart/related"] {
            assert_eq!(taken("[]", name).await, (multipart.to_owned(), "--b--\r\n".to_owned()));
            let both = taken(concat!(r#"[{"00100020":{"vr":"LO","Value":["],["]}}"#, ",{}]"), name).await;
            assert_eq!(both, (multipart.to_owned(), part(a) + &part(b) + "--b--\r\n"));
        }
        assert_eq!(taken("[{}]", XML).await, (XML.to_owned(), document(b)));
        assert_eq!(taken("[{}]", "multipart/related").await, (multipart.to_owned(), part(b) + "--b--\r\n"));
    }

    #[actix_web::test]
    async fn where_nobody_can_work_no_xml_is_made() {
        let pictures = Pictures::new(1);
        let _busy = pictures.processor().await.expect("a place");
        let range = range(XML);
        let made = answer(HttpResponse::Ok(), &pictures, "[{}]", &range, "b".to_owned());
        let made = tokio::time::timeout(std::time::Duration::from_millis(200), made).await;
        assert!(made.is_err(), "it waits");
    }

    #[actix_web::test]
    async fn many_come_in_pieces() {
        let one = r#"{"00100020":{"vr":"LO","Value":["x"]}}"#;
        let text = format!("[{}]", vec![one; 5000].join(","));
        let (first, end) = parts(text.as_bytes(), 0, "b").expect("parts");
        assert!((PIECE..PIECE + 1000).contains(&first.len()) && end < text.len(), "{}", first.len());
        let response = answer(HttpResponse::Ok(), &Pictures::new(1), text, &range(XML), "b".to_owned()).await;
        let response = response.expect("an answer");
        let body = to_bytes(response.into_body()).await.unwrap_or_else(|_| panic!("a body"));
        assert_eq!(String::from_utf8_lossy(&body).matches("<NativeDicomModel").count(), 5000);
    }
}
