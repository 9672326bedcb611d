//! pydicom's own test files in transfer syntaxes they were not stored in: the same pixels as pydicom decodes, and
//! every other element as it was.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use filmroom::archive::Archive;
use filmroom::archive::retrieve::Holding;
use filmroom::archive::retrieve::transcode::{Target, targets};
use filmroom::codec::Decoder;
use filmroom::db::{self, visibility::Visibility};
use filmroom::storage::Storage;
use mysql_async::prelude::Queryable;
use serde::Deserialize;

use crate::pydicom_files::storable;
use crate::support::instance::Instance;
use crate::support::{FILMROOM, TestServer, python, store_files};

const TARGETS: [Target; 2] = [Target::ExplicitVrLittleEndian, Target::ImplicitVrLittleEndian];

/// Files that are not converted, with a part of the sentence for whoever wants them.
const UNCONVERTIBLE: [(&str, &str); 1] =
    [("JPEG2000-embedded-sequence-delimiter.dcm", "holds a picture of 3722445056 x 1024 pixels")];

/// Samples of what was compressed with loss may differ by so much: decoders round differently. Others may not.
const LOSSY_TOLERANCE: f64 = 2.0;
/// Those that differ by more, and why.
const TOLERANCES: [(&str, f64, &str); 1] =
    [("examples_ybr_color.dcm", 3.0, "a step of chroma, times 1.77, between two JPEG decoders")];

#[derive(Deserialize)]
struct Compared {
    original: PathBuf,
    frames: u32,
    most: f64,
    lossy: Option<String>,
    problems: Vec<String>,
    unknown: Option<String>,
}

/// An archive over the database and the folder of a server that has stopped.
async fn archive(pacs: &TestServer, decoder: &Decoder) -> Archive {
    let pool = db::connect(&pacs.database.url).await.unwrap();
    let (storage, _) = Storage::open(pacs.folder.path()).unwrap();
    Archive::new(pool, storage, decoder.clone(), tokio::runtime::Handle::current()).unwrap()
}

/// Everything that was stored, also what is in quarantine because its UID was known.
async fn holdings(pacs: &TestServer, archive: &Archive) -> Vec<Holding> {
    let mut conn = pacs.database.connect().await;
    let held: Vec<String> = conn.query("SELECT sop_instance_uid FROM instance").await.unwrap();
    let quarantined: Vec<u64> = conn.query("SELECT quarantine_key FROM quarantine").await.unwrap();
    let mut holdings = Vec::new();
    for uid in held {
        let uid = uid.parse().unwrap();
        holdings.extend(archive.instance(&uid, &Visibility::All).await.unwrap());
    }
    for key in quarantined {
        holdings.extend(archive.quarantined_file(key, &Visibility::All).await.unwrap());
    }
    holdings
}

/// The instance in another transfer syntax, as a file, or why there is none.
async fn transcoded(
    archive: &Archive,
    decoder: &Decoder,
    holding: &Holding,
    target: Target,
) -> Result<tempfile::NamedTempFile, String> {
    let header = archive.header(holding).await.map_err(|err| err.to_string())?;
    let mut converted =
        archive.transcode(decoder, holding, &header, target).map_err(|err| err.to_string())?;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let head = Instance {
        sop_class_uid: holding.row().sop_class_uid.clone(),
        sop_instance_uid: holding.row().sop_instance_uid.clone(),
        transfer_syntax_uid: target.uid().to_owned(),
        data_set: Vec::new(),
    };
    file.write_all(&head.part10()).unwrap();
    // Pieces of an odd size, as a P-DATA-TF may be.
    let mut piece = vec![0; 16_381];
    loop {
        match converted.read(&mut piece) {
            Ok(0) => return Ok(file),
            Ok(count) => file.write_all(&piece[..count]).unwrap(),
            Err(err) => return Err(err.to_string()),
        }
    }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_of_pydicom_is_the_same_in_both_native_transfer_syntaxes() {
    let mut pacs = TestServer::start().await;
    let files = storable();
    let paths: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    store_files(pacs.dicom, &paths).await;
    pacs.stop().await.unwrap();
    let decoder = Decoder::new(2, PathBuf::from(FILMROOM));
    let archive = archive(&pacs, &decoder).await;
    let holdings = holdings(&pacs, &archive).await;
    assert!(holdings.len() > 100, "{} are stored", holdings.len());

    let originals: Vec<(Vec<u8>, &PathBuf)> = files.iter().map(|file| (data_set_hash(file), file)).collect();
    let mut wrong = Vec::new();
    let mut pairs = Vec::new();
    let mut kept = Vec::new();
    for holding in &holdings {
        let stored = originals.iter().find(|(hash, _)| *hash == holding.row().data_set_sha256);
        let original = stored.expect("a file that was sent").1;
        for target in TARGETS {
            let known = UNCONVERTIBLE.iter().find(|(known, _)| *known == name(original));
            match (transcoded(&archive, &decoder, holding, target).await, known) {
                (Ok(file), None) => {
                    pairs.extend([original.display().to_string(), file.path().display().to_string()]);
                    kept.push(file);
                }
                (Err(sentence), Some((_, part))) if sentence.contains(part) => {}
                (Ok(_), Some(_)) => wrong.push(format!("{}: {target:?} was made", name(original))),
                (Err(sentence), _) => wrong.push(format!("{}: {target:?}: {sentence}", name(original))),
            }
            let is_other = target.uid() != holding.transfer_syntax().as_str();
            assert_eq!(targets(holding.transfer_syntax()).contains(&target), is_other, "{}", name(original));
        }
    }

    let (mut frames, mut lossy) = (0, 0);
    for line in python("transcoded.py", &pairs).await.lines() {
        let compared: Compared = serde_json::from_str(line).expect("a line of JSON");
        let file = name(&compared.original);
        let is_lossy = compared.lossy.as_deref() == Some("01");
        frames += compared.frames;
        lossy += if is_lossy { compared.frames } else { 0 };
        let known = TOLERANCES.iter().find(|(known, ..)| *known == file);
        let usual = if is_lossy { LOSSY_TOLERANCE } else { 0.0 };
        if compared.most > known.map_or(usual, |(_, tolerance, _)| *tolerance) {
            wrong.push(format!("{file}: samples differ by up to {}", compared.most));
        }
        wrong.extend(compared.problems.iter().map(|problem| format!("{file}: {problem}")));
        if let Some(unknown) = compared.unknown {
            println!("{file}: pydicom cannot decode it: {unknown}");
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(frames > 200 && lossy > 10, "{frames} frames, {lossy} of them lossy, were compared");
}

fn data_set_hash(file: &Path) -> Vec<u8> {
    use sha2::{Digest, Sha256};
    let bytes = std::fs::read(file).expect("a file");
    Sha256::digest(crate::support::instance::data_set_of(&bytes)).to_vec()
}
