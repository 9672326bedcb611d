//! pydicom's own test files in the DICOM JSON Model: as pydicom writes them, and where not, for a reason.

use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};

use filmroom::dicom::file_meta::{self, FileMeta, file_meta};
use filmroom::dicom::json::read::{self, Around, Piece, Plan};
use filmroom::dicom::json::{self, BulkData, ElementPath, Place};
use filmroom::dicom::native_xml;
use filmroom::dicom::prescan::{Encoding, Fragment};
use filmroom::dicom::uid::TransferSyntaxUid;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::{files_below, pydicom_data, python};

/// Files that are cut off in the middle, with a part of the sentence about them.
const CUT_OFF: [(&str, &str); 2] = [
    ("MR_truncated.dcm", "declares 8192 bytes, but only 8130 follow"),
    ("rtplan_truncated.dcm", "declares 976 bytes, but only 711"),
];

/// Attributes that differ from pydicom's, by file and path, and why ours are right.
const BETTER: [(&str, &str, &str); 2] = [
    ("badVR.dcm", "00280008", "1A is no number, which pydicom fails at, and the string is what was sent"),
    (
        "DICOMDIR-nooffset",
        "00041220",
        "the last item is longer than what is left of the sequence, so it is none",
    ),
];

#[derive(Deserialize)]
struct Compared {
    original: PathBuf,
    compared: usize,
    differences: Vec<(String, String)>,
    unknown: Option<String>,
}

/// A data set as it is in a file.
struct Stored {
    transfer_syntax: TransferSyntaxUid,
    data_set: Vec<u8>,
    encoding: Encoding,
    /// The same, inflated if it is deflated.
    plain: Vec<u8>,
}

impl Stored {
    /// `None` for what is no DICOM file.
    fn open(file: &Path) -> Option<Stored> {
        let bytes = std::fs::read(file).expect("a file");
        let FileMeta { transfer_syntax, offset, .. } = file_meta(Cursor::new(&bytes))?;
        let data_set = bytes[usize::try_from(offset).unwrap()..].to_vec();
        let encoding = transfer_syntax.encoding();
        let mut plain = Vec::new();
        match encoding {
            Encoding::Deflated => {
                flate2::read::DeflateDecoder::new(&data_set[..]).read_to_end(&mut plain).expect("deflate");
            }
            _ => plain.clone_from(&data_set),
        }
        Some(Stored { transfer_syntax, data_set, encoding, plain })
    }

    /// What a file begins with that has the same data set in explicit little endian.
    fn head(&self) -> Vec<u8> {
        let native = "1.2.840.10008.1.2.1".parse().unwrap();
        let kept = self.encoding == Encoding::ExplicitVrLittleEndian;
        let syntax = if kept { &self.transfer_syntax } else { &native };
        file_meta::head(Some(&"1.2".parse().unwrap()), Some(&"1.2.3".parse().unwrap()), syntax, "")
            .expect("a head")
    }

    fn json(&self) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        let source = Cursor::new(&self.data_set);
        let length = self.data_set.len() as u64;
        json::write(source, length, self.encoding, &[], |path| self.hash(path), &mut out)
            .map_err(|err| err.to_string())?;
        Ok(out)
    }

    /// The SHA-256 of bulk data, in little endian; of encapsulated one with the headers of its items.
    fn hash(&self, path: &ElementPath) -> String {
        let mut bytes = Vec::new();
        let (place, swapped) = self.place(path);
        match place {
            Place::Native { .. } => bytes = self.native(&place, swapped),
            Place::Encapsulated(fragments) => {
                for &Fragment { offset, length } in &fragments {
                    bytes.extend(self.bytes(offset - 8, u64::from(length) + 8));
                }
            }
        }
        hex::encode(Sha256::digest(&bytes))
    }

    fn place(&self, path: &ElementPath) -> (Place, usize) {
        let length = self.data_set.len() as u64;
        let found = json::bulk_data(Cursor::new(&self.data_set), length, self.encoding, path);
        let BulkData { swapped, place, .. } = found.expect("a data set").expect("what was named is there");
        (place, swapped)
    }

    fn native(&self, place: &Place, swapped: usize) -> Vec<u8> {
        let Place::Native { offset, length } = place else { panic!("it is encapsulated") };
        let mut value = self.bytes(*offset, *length);
        if swapped > 1 {
            value.chunks_exact_mut(swapped).for_each(<[u8]>::reverse);
        }
        value
    }

    fn bytes(&self, offset: u64, length: u64) -> Vec<u8> {
        let from = usize::try_from(offset).unwrap();
        self.plain[from..from + usize::try_from(length).unwrap()].to_vec()
    }

    /// The data set that a plan is, with the bulk data of this one.
    fn filled(&self, plan: &Plan) -> Vec<u8> {
        let mut data_set = Vec::new();
        for piece in &plan.pieces {
            let reference = match piece {
                Piece::Bytes(bytes) => {
                    data_set.extend(bytes);
                    continue;
                }
                Piece::BulkData(reference) => reference,
            };
            assert_eq!(reference.uri, self.hash(&reference.path), "{}", reference.path);
            let (place, swapped) = self.place(&reference.path);
            let (around, value) = match &place {
                Place::Native { length, .. } => {
                    (reference.native(*length).expect("a length"), self.native(&place, swapped))
                }
                Place::Encapsulated(fragments) => {
                    let mut value = Vec::new();
                    for &Fragment { offset, length } in fragments {
                        let around = Around::fragment(u64::from(length)).expect("a length");
                        value.extend(
                            [around.before, self.bytes(offset, u64::from(length)), around.after].concat(),
                        );
                    }
                    (reference.encapsulated(), value)
                }
            };
            data_set.extend([around.before, value, around.after].concat());
        }
        data_set
    }
}

/// The files of pydicom that can be read, with their data sets as JSON.
fn readable() -> Vec<(PathBuf, Stored, Vec<u8>)> {
    let mut files = files_below(&pydicom_data().join("test_files"));
    files.extend(files_below(&pydicom_data().join("charset_files")));
    let stored = files.into_iter().filter_map(|file| Some((Stored::open(&file)?, file)));
    let readable = stored.filter_map(|(stored, file)| Some((stored.json().ok()?, stored, file)));
    let readable: Vec<_> = readable.map(|(json, stored, file)| (file, stored, json)).collect();
    assert!(readable.len() > 100, "{} files", readable.len());
    readable
}

/// Pairs of a DICOM file and its JSON: how many attributes there are, and which differ from those that pydicom reads,
/// by the file's name and the attribute's path, and how.
async fn compare_with_pydicom(pairs: &[String]) -> (usize, Vec<(String, String, String)>) {
    let (mut attributes, mut differing) = (0, Vec::new());
    for line in python("dicom_json.py", pairs).await.lines() {
        let compared: Compared = serde_json::from_str(line).expect("a line of JSON");
        let file = name(&compared.original);
        attributes += compared.compared;
        let differences = compared.differences.into_iter();
        differing.extend(differences.map(|(path, difference)| (file.clone(), path, difference)));
        if let Some(unknown) = compared.unknown {
            println!("{file}: pydicom cannot read it: {unknown}");
        }
    }
    (attributes, differing)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

#[tokio::test]
async fn every_file_of_pydicom_is_in_json_what_pydicom_makes_of_it() {
    let mut files = files_below(&pydicom_data().join("test_files"));
    files.extend(files_below(&pydicom_data().join("charset_files")));
    let mut wrong = Vec::new();
    let mut pairs = Vec::new();
    let mut kept = Vec::new();
    for file in &files {
        let Some(stored) = Stored::open(file) else { continue };
        let known = CUT_OFF.iter().find(|(known, _)| *known == name(file));
        match (stored.json(), known) {
            (Ok(json), None) => {
                let mut text = tempfile::NamedTempFile::new().unwrap();
                text.write_all(&json).unwrap();
                pairs.extend([file.display().to_string(), text.path().display().to_string()]);
                kept.push(text);
            }
            (Err(sentence), Some((_, part))) if sentence.contains(part) => {}
            (Ok(_), Some(_)) => wrong.push(format!("{}: it was written", name(file))),
            (Err(sentence), _) => wrong.push(format!("{}: {sentence}", name(file))),
        }
    }

    let mut reasons = vec![false; BETTER.len()];
    let (attributes, differing) = compare_with_pydicom(&pairs).await;
    for (file, path, difference) in differing {
        match BETTER.iter().position(|(known, at, _)| *known == file && *at == path) {
            Some(reason) => reasons[reason] = true,
            None => wrong.push(format!("{file}: {path}: {difference}")),
        }
    }
    for ((file, path, reason), _) in BETTER.iter().zip(&reasons).filter(|(_, is_met)| !**is_met) {
        wrong.push(format!("{file}: {path}: does not differ any more, so not because {reason}"));
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    println!("{attributes} attributes of {} files", kept.len());
    assert!(kept.len() > 100 && attributes > 5_000, "{attributes} attributes of {} files", kept.len());
}

/// What XML cannot hold is replaced.
fn in_xml(text: &str) -> String {
    let is_held = |c: char| !c.is_control() || matches!(c, '\t' | '\n' | '\r' | '\u{7F}'..);
    text.chars().map(|c| if is_held(c) { c } else { '\u{FFFD}' }).collect()
}

fn all_in_xml(value: &mut Value) {
    match value {
        Value::String(text) => *text = in_xml(text),
        Value::Array(values) => values.iter_mut().for_each(all_in_xml),
        Value::Object(values) => values.values_mut().for_each(all_in_xml),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[test]
fn every_file_of_pydicom_is_the_same_after_it_was_xml() {
    let mut private = 0;
    for (file, _, text) in readable() {
        let mut json: Value = serde_json::from_slice(&text).expect("JSON");
        all_in_xml(&mut json);
        let mut xml = Vec::new();
        native_xml::write(&text, &mut xml).unwrap_or_else(|err| panic!("{}: {err}", file.display()));
        let again = native_xml::read(&xml).unwrap_or_else(|err| panic!("{}: {err}", file.display()));
        assert!(again == json, "{}: {again}\ninstead of {json}", file.display());
        private += xml.windows(15).filter(|window| window == b" privateCreator").count();
    }
    assert!(private > 500, "{private} attributes of private creators");
}

#[tokio::test]
async fn every_file_of_pydicom_holds_the_same_in_xml() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut pairs = Vec::new();
    for (number, (_, _, text)) in readable().into_iter().enumerate() {
        let mut xml = Vec::new();
        native_xml::write(&text, &mut xml).expect("XML");
        for (name, bytes) in [(format!("{number}.xml"), xml), (format!("{number}.json"), text)] {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).expect("a file");
            pairs.push(path.display().to_string());
        }
    }
    let found: Value = serde_json::from_str(&python("native_xml.py", &pairs).await).expect("JSON");
    assert_eq!(found["differences"], Value::Array(Vec::new()));
    assert!(found["compared"].as_u64() > Some(5_000) && found["private"].as_u64() > Some(500), "{found}");
}

#[tokio::test]
async fn every_file_of_pydicom_is_the_same_data_set_after_it_was_json() {
    const PUT_RIGHT: [&str; 2] = [
        // PS3.5 A.4: encapsulated pixels are OB, and are written so where a file says OW.
        "/7FE00010/vr: \"OB\" instead of \"OW\"",
        // PS3.5 section 7.1.1: a length is even, and is made so.
        "/00010001/Value/00010002/InlineBinary: \"TmVzdGVkIFNRAA==\" instead of \"TmVzdGVkIFNR\"",
    ];
    let (mut bulk, mut bytes, mut stored_bytes) = (0, 0, 0);
    let (mut wrong, mut pairs) = (Vec::new(), Vec::new());
    let folder = tempfile::tempdir().expect("a folder");
    for (number, (path, stored, text)) in readable().into_iter().enumerate() {
        let file = path.display();
        let json: Value = serde_json::from_slice(&text).expect("JSON");
        let plan = read::plan(&json).unwrap_or_else(|err| panic!("{file}: {err}"));
        bulk += plan.pieces.iter().filter(|piece| matches!(piece, Piece::BulkData(_))).count();
        let data_set = stored.filled(&plan);
        bytes += data_set.len();
        stored_bytes += stored.plain.len();
        let again = Stored {
            transfer_syntax: stored.transfer_syntax.clone(),
            plain: data_set.clone(),
            data_set,
            encoding: Encoding::ExplicitVrLittleEndian,
        };
        let text = again.json().expect("a data set");
        // An independent reader is to find the same in it.
        let below = folder.path().join(number.to_string());
        std::fs::create_dir(&below).expect("a folder");
        let (part10, json_file) = (below.join(name(&path)), below.join("json"));
        std::fs::write(&part10, [stored.head(), again.data_set].concat()).expect("a file");
        std::fs::write(&json_file, &text).expect("a file");
        pairs.extend([part10.display().to_string(), json_file.display().to_string()]);
        let again: Value = serde_json::from_slice(&text).expect("JSON");
        let differences = differences(&json, &again, "").into_iter();
        let differences = differences.filter(|difference| !PUT_RIGHT.contains(&difference.as_str()));
        wrong.extend(differences.map(|difference| format!("{file}: {difference}")));
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    let (attributes, differing) = compare_with_pydicom(&pairs).await;
    let differing: Vec<_> = differing
        .iter()
        .filter(|(file, at, _)| !BETTER.iter().any(|(known, path, _)| known == file && path == at))
        .collect();
    assert!(differing.is_empty() && attributes > 5_000, "of {attributes} attributes: {differing:#?}");
    // Group lengths are gone, and headers differ.
    assert!(
        bulk > 80 && bytes.abs_diff(stored_bytes) < stored_bytes / 20,
        "{bulk}; {bytes} of {stored_bytes} bytes"
    );
}

fn differences(one: &Value, other: &Value, path: &str) -> Vec<String> {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) if one.keys().eq(other.keys()) => {
            let pairs = one.iter().zip(other.values());
            pairs
                .flat_map(|((name, one), other)| differences(one, other, &format!("{path}/{name}")))
                .collect()
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            one.iter().zip(other).flat_map(|(one, other)| differences(one, other, path)).collect()
        }
        (one, other) if one == other => Vec::new(),
        (one, other) => vec![format!("{path}: {other} instead of {one}")],
    }
}
