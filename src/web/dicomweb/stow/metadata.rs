//! Instances that come as metadata, and their bulk data behind it, PS3.18 section 10.5.1.2 and 8.6.1.2: they are put together to
//! what a file would have been.
//!
//! Metadata is in memory, as JSON becomes a data set there. Bulk data, which comes in any order, waits in a file.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use dicom_dictionary_std::{tags, uids};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{MOST_PARTS, sentence};
use crate::archive::import::{FileReception, Identity, Intake, Received, Spool};
use crate::archive::receive::{Refusal, Said};
use crate::dicom::json::read::{self, Around, Piece, Plan, Reference};
use crate::dicom::native_xml;
use crate::dicom::uid::TransferSyntaxUid;
use crate::web::dicomweb::media;
use crate::web::dicomweb::xml::XML;
use crate::web::multipart::{Broken, Header, Multipart};

/// Metadata of one request, and of one instance, bytes.
const MOST_METADATA: usize = 64 << 20;
const MOST_OF_ONE: usize = 4 << 20;

/// A data set takes many times more in memory than as text.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Bulk data that came under one address: its parts, of several frames one each.
#[derive(Default)]
struct Bulk {
    media_type: String,
    transfer_syntax: Option<String>,
    /// Where each begins in the file, and its length.
    parts: Vec<(u64, u64)>,
}

/// Reads the parts, and gives the instances to the archive. What is wrong with one costs that one.
pub(super) fn take(
    intake: &mut Intake,
    parts: &mut Multipart,
    received: &mut Vec<Received>,
) -> Result<(), String> {
    let in_words = |broken: Broken| sentence(&broken);
    let mut documents: Vec<(bool, Vec<u8>)> = Vec::new();
    let mut bulk: BTreeMap<String, Bulk> = BTreeMap::new();
    let mut spool = intake.spool();
    let (mut number, mut metadata) = (0, 0);
    while let Some(header) = parts.next_part().map_err(in_words)? {
        number += 1;
        if number > MOST_PARTS {
            return Err(format!("One request has at most {MOST_PARTS} parts; none of them was stored."));
        }
        let kind = header.get("content-type").and_then(media::media_type);
        let name = kind.as_ref().map(|kind| kind.name.as_str()).unwrap_or_default();
        if matches!(name, "application/dicom+json" | "application/json" | XML) {
            let mut text = Vec::new();
            while let Some(data) = parts.next_data().map_err(in_words)? {
                metadata += data.len();
                if metadata > MOST_METADATA {
                    return Err(format!("Metadata of one request has at most {} MiB.", MOST_METADATA >> 20));
                }
                text.extend_from_slice(&data);
            }
            documents.push((name == XML, text));
            continue;
        }
        let start = spool.length();
        while let Some(data) = parts.next_data().map_err(in_words)? {
            spool.append(&data);
        }
        let Some(location) = header.get("content-location") else { continue };
        metadata += location.len();
        if metadata > MOST_METADATA {
            return Err(format!("Metadata of one request has at most {} MiB.", MOST_METADATA >> 20));
        }
        let known = bulk.entry(location.to_owned()).or_default();
        (known.media_type, known.transfer_syntax) = described(&header);
        known.parts.push((start, spool.length() - start));
    }
    // What is wrong with the list of them is found out before any is stored.
    let mut texts: Vec<(bool, &[u8])> = Vec::new();
    for (is_xml, text) in &documents {
        match is_xml {
            true => texts.push((true, text)),
            false => texts.extend(of_json(text)?.into_iter().map(|object| (false, object))),
        }
    }
    if texts.len() > MOST_PARTS {
        return Err(format!("One request has at most {MOST_PARTS} instances; none of them was stored."));
    }
    for text in texts {
        received.extend(one(intake, text, &mut bulk, &spool));
    }
    Ok(())
}

fn described(header: &Header) -> (String, Option<String>) {
    let kind = header.get("content-type").and_then(media::media_type);
    let syntax = kind.as_ref().and_then(|kind| kind.parameter("transfer-syntax")).map(str::to_owned);
    (kind.map(|kind| kind.name).unwrap_or_default(), syntax)
}

/// The texts of the data sets.
fn of_json(text: &[u8]) -> Result<Vec<&[u8]>, String> {
    let is_one = text.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    let objects: Result<Vec<&RawValue>, _> = match is_one {
        true => serde_json::from_slice(text).map(|one| vec![one]),
        false => serde_json::from_slice(text),
    };
    match objects {
        Ok(objects) => Ok(objects.into_iter().map(|object| object.get().as_bytes()).collect()),
        Err(err) if err.is_data() => Err("The metadata is no array of data sets.".to_owned()),
        Err(err) => Err(format!("The metadata is no JSON: {err}.")),
    }
}

/// One instance: what became of an earlier one that waited for its answer, or at once why this one cannot be.
fn one(
    intake: &mut Intake,
    text: (bool, &[u8]),
    bulk: &mut BTreeMap<String, Bulk>,
    spool: &Spool,
) -> Option<Received> {
    let mut identity = Identity::default();
    let file = planned(text, &mut identity).and_then(|(plan, available)| {
        let said = Said::ByFile(identity.sop_class.clone(), identity.sop_instance.clone());
        put_together(intake, plan, available.as_deref(), said, bulk, spool)
    });
    match file {
        Ok(file) => intake.complete(String::new(), file),
        Err(refusal) => Some(Received { name: String::new(), identity, result: Err(refusal) }),
    }
}

/// The data set that a text is, XML or JSON, and its Available Transfer Syntax UID.
fn planned(
    (is_xml, text): (bool, &[u8]),
    identity: &mut Identity,
) -> Result<(Plan, Option<String>), Refusal> {
    if text.len() > MOST_OF_ONE {
        let most = MOST_OF_ONE >> 20;
        return Err(Refusal::Metadata(format!("the metadata of an instance has at most {most} MiB")));
    }
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let object: Value = match is_xml {
        true => native_xml::read(text).map_err(|err| Refusal::Metadata(err.to_string()))?,
        false => serde_json::from_slice(text).map_err(|err| Refusal::Metadata(err.to_string()))?,
    };
    let uid = |name: &str| object[name]["Value"][0].as_str();
    identity.sop_class = uid("00080016").and_then(|uid| uid.parse().ok());
    identity.sop_instance = uid("00080018").and_then(|uid| uid.parse().ok());
    let plan = read::plan(&object).map_err(|err| Refusal::Metadata(err.to_string()))?;
    Ok((plan, uid("00083002").map(str::to_owned)))
}

fn put_together(
    intake: &mut Intake,
    plan: Plan,
    available: Option<&str>,
    said: Said,
    bulk: &mut BTreeMap<String, Bulk>,
    spool: &Spool,
) -> Result<FileReception, Refusal> {
    let refused = |err: read::Error| Refusal::Metadata(err.to_string());
    let pixels = plan.pieces.iter().find_map(|piece| match piece {
        Piece::BulkData(reference) if is_top_pixels(reference) => bulk.get(&reference.uri),
        _ => None,
    });
    let syntax = transfer_syntax(pixels, plan.transfer_syntax_uid(), available)?;
    let is_encapsulated = syntax.as_str() != uids::EXPLICIT_VR_LITTLE_ENDIAN;
    let mut file = intake.data_set(said, syntax);
    for piece in plan.pieces {
        match piece {
            Piece::Bytes(bytes) => file.push(bytes.into()),
            Piece::BulkData(reference) => {
                // Each is used once, so that what is stored is no longer than what came.
                let missing = || {
                    let tag = reference.path.tag;
                    Refusal::Metadata(format!("the bulk data of {tag} is not in the request, or used before"))
                };
                let found = bulk.remove(&reference.uri).ok_or_else(missing)?;
                let whole: u64 = found.parts.iter().map(|(_, length)| length).sum();
                if is_encapsulated && is_top_pixels(&reference) {
                    let around = reference.encapsulated();
                    file.push(around.before.into());
                    // Without an offset table: the first fragment is empty, PS3.5 A.4.
                    for &part in [(0, 0)].iter().chain(&found.parts) {
                        let too_long = || Refusal::Metadata("a frame is longer than 4 GiB".to_owned());
                        let around = Around::fragment(part.1).ok_or_else(too_long)?;
                        copied(&mut file, &around, spool, &[part])?;
                    }
                    file.push(around.after.into());
                } else {
                    let around = reference.native(whole).map_err(refused)?;
                    copied(&mut file, &around, spool, &found.parts)?;
                }
            }
        }
    }
    Ok(file)
}

fn is_top_pixels(reference: &Reference) -> bool {
    reference.path.items.is_empty() && reference.path.tag == tags::PIXEL_DATA
}

fn copied(
    file: &mut FileReception,
    around: &Around,
    spool: &Spool,
    parts: &[(u64, u64)],
) -> Result<(), Refusal> {
    file.push(Bytes::copy_from_slice(&around.before));
    for &(start, length) in parts {
        let copied: io::Result<()> = spool.read(start, length, |bytes| file.push(bytes));
        copied.map_err(|err| Refusal::Archive(err.into()))?;
    }
    file.push(Bytes::copy_from_slice(&around.after));
    Ok(())
}

/// In which transfer syntax the instance is: pixels that are compressed say so by their part's media type, PS3.18 table
/// 8.7.3-5. Transfer Syntax UID (0002,0010) of the metadata says of which kind, and Available Transfer Syntax UID
/// (0008,3002), which is about where it came from, only where the type says that they are compressed at all. All else is
/// Explicit VR Little Endian, because that is what is written.
fn transfer_syntax(
    pixels: Option<&Bulk>,
    declared: Option<&str>,
    available: Option<&str>,
) -> Result<TransferSyntaxUid, Refusal> {
    let of_type = |name: &str| match name {
        "image/jpeg" => Some(uids::JPEG_LOSSLESS_SV1),
        "image/dicom-rle" | "image/x-dicom-rle" => Some(uids::RLE_LOSSLESS),
        "image/jls" | "image/x-jls" => Some(uids::JPEGLS_LOSSLESS),
        "image/jp2" => Some(uids::JPEG2000_LOSSLESS),
        "image/jpx" => Some(uids::JPEG2000MC_LOSSLESS),
        "image/jphc" => Some(uids::HTJ2K_LOSSLESS),
        "image/jxl" => Some(uids::JPEGXL_LOSSLESS),
        "video/mpeg" | "video/mpeg2" => Some(uids::MPEG2MPML),
        "video/mp4" => Some(uids::MPEG4HP41),
        _ => None,
    };
    let said = pixels.and_then(|pixels| {
        let own = pixels.transfer_syntax.as_deref().filter(|uid| *uid != "*");
        let declared = declared.filter(|uid| is_compressed(uid));
        match pixels.media_type.as_str() {
            "" | "application/octet-stream" => own.or(declared),
            name => own.or(declared).or(available.filter(|uid| is_compressed(uid))).or_else(|| of_type(name)),
        }
    });
    let uid = said.filter(|uid| is_compressed(uid)).unwrap_or(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    uid.parse().map_err(|err| Refusal::Metadata(format!("the transfer syntax is no UID: {err}")))
}

fn is_compressed(uid: &str) -> bool {
    let native = [
        uids::IMPLICIT_VR_LITTLE_ENDIAN,
        uids::EXPLICIT_VR_LITTLE_ENDIAN,
        uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
        "1.2.840.10008.1.2.2",
        "1.2.840.113619.5.2",
    ];
    !native.contains(&uid)
}
