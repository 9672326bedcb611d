//! pydicom's own test files in the DICOM JSON Model: as pydicom writes them, and where not, for a reason.

use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};

use filmroom::dicom::file_meta::{FileMeta, file_meta};
use filmroom::dicom::json::{self, BulkData, ElementPath, Place};
use filmroom::dicom::prescan::{Encoding, Fragment};
use serde::Deserialize;
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
        Some(Stored { data_set, encoding, plain })
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
        let length = self.data_set.len() as u64;
        let found = json::bulk_data(Cursor::new(&self.data_set), length, self.encoding, path);
        let BulkData { swapped, place, .. } = found.expect("a data set").expect("what was named is there");
        let bytes = |offset: u64, length: u64| {
            let from = usize::try_from(offset).unwrap();
            self.plain[from..from + usize::try_from(length).unwrap()].to_vec()
        };
        let mut value = match place {
            Place::Native { offset, length } => bytes(offset, length),
            Place::Encapsulated(fragments) => fragments
                .iter()
                .flat_map(|&Fragment { offset, length }| bytes(offset - 8, u64::from(length) + 8))
                .collect(),
        };
        if swapped > 1 {
            value.chunks_exact_mut(swapped).for_each(<[u8]>::reverse);
        }
        hex::encode(Sha256::digest(&value))
    }
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

    let mut attributes = 0;
    let mut reasons = vec![false; BETTER.len()];
    for line in python("dicom_json.py", &pairs).await.lines() {
        let compared: Compared = serde_json::from_str(line).expect("a line of JSON");
        let file = name(&compared.original);
        attributes += compared.compared;
        for (path, difference) in compared.differences {
            match BETTER.iter().position(|(known, at, _)| *known == file && *at == path) {
                Some(reason) => reasons[reason] = true,
                None => wrong.push(format!("{file}: {path}: {difference}")),
            }
        }
        if let Some(unknown) = compared.unknown {
            println!("{file}: pydicom cannot read it: {unknown}");
        }
    }
    for ((file, path, reason), _) in BETTER.iter().zip(&reasons).filter(|(_, is_met)| !**is_met) {
        wrong.push(format!("{file}: {path}: does not differ any more, so not because {reason}"));
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    println!("{attributes} attributes of {} files", kept.len());
    assert!(kept.len() > 100 && attributes > 5_000, "{attributes} attributes of {} files", kept.len());
}
