//! pydicom's own test files, sent as they are: stored byte for byte, listed under the right name, and shown as
//! pydicom decodes them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mysql_async::prelude::Queryable;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::support::instance::data_set_of;
use crate::support::{TestServer, files_below, pydicom_data, python, store_files};

/// What is refused, with a part of the sentence for the sender: cut off in the middle, or no SOP class anywhere.
const REFUSED: [(&str, &str); 3] = [
    ("MR_truncated.dcm", "declares 8192 bytes, but only 8130 follow"),
    ("rtplan_truncated.dcm", "declares 976 bytes, but only 711"),
    ("nested_priv_SQ.dcm", "Affected SOP Class UID"),
];

/// Images whose pixels are not square: their pictures are wider, so that they look right on a screen.
const NOT_SQUARE: [(&str, (u32, u32)); 2] = [("6293", (18, 16)), ("6924", (18, 16))];

/// Frames that differ by more than rounding, and why. Everything else must be within two of 255.
const TOLERANCES: [(&str, u8, &str); 1] =
    [("examples_ybr_color.dcm", 3, "a step of chroma, times 1.77, between two JPEG decoders")];

/// Files of which no picture is made, with a part of the sentence that is shown instead.
const WITHOUT_PICTURE: [(&str, &str); 0] = [];

/// Part 10 files that are instances.
pub fn storable() -> Vec<PathBuf> {
    let mut files = files_below(&pydicom_data().join("test_files"));
    files.extend(files_below(&pydicom_data().join("charset_files")));
    files.retain(|file| {
        let bytes = std::fs::read(file).expect("a file");
        let is_part_10 = bytes.get(128..132) == Some(b"DICM") && bytes.get(132..138) == Some(b"\x02\0\0\0UL");
        let meta = bytes.get(..1024.min(bytes.len())).unwrap_or_default();
        // The file meta group must name class, instance and transfer syntax, or there is nothing to propose.
        is_part_10
            && [b"\x02\0\x02\0", b"\x02\0\x03\0", b"\x02\0\x10\0"]
                .iter()
                .all(|tag| meta.windows(4).any(|bytes| bytes == *tag))
            && !meta.windows(19).any(|bytes| bytes == b"1.2.840.10008.1.3.1")
    });
    assert!(files.len() > 100, "pydicom's files are there: {}", files.len());
    files
}

fn name(file: &Path) -> &str {
    file.file_name().and_then(|name| name.to_str()).expect("a name")
}

#[derive(Deserialize)]
struct Expected {
    file: PathBuf,
    frames: Option<Vec<ExpectedFrame>>,
    problem: Option<String>,
}

#[derive(Deserialize)]
struct ExpectedFrame {
    frame: u32,
    width: u32,
    height: u32,
    channels: usize,
    path: PathBuf,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_is_stored_byte_for_byte_and_shown_as_pydicom_shows_it() {
    let pacs = TestServer::start().await;
    let files = storable();
    let mut wrong = Vec::new();
    let paths: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let answers = store_files(pacs.dicom, &paths).await;
    for (file, answer) in files.iter().zip(&answers) {
        let stored = matches!(answer.status, Some(0 | 0xB000 | 0xB007));
        let refused = REFUSED.iter().find(|(known, _)| *known == name(file));
        let is_right = match refused {
            Some((_, part)) => answer.status == Some(0xC000) && answer.comment.contains(part),
            None => stored,
        };
        if !is_right {
            wrong.push(format!("{}: {answer:04X?}", name(file)));
        }
    }

    // By the hash of the data set: where the picture is.
    let mut places: BTreeMap<Vec<u8>, String> = BTreeMap::new();
    let mut conn = pacs.database.connect().await;
    let held: Vec<(String, Vec<u8>)> =
        conn.query("SELECT sop_instance_uid, data_set_sha256 FROM instance").await.unwrap();
    let quarantined: Vec<(u64, Vec<u8>)> =
        conn.query("SELECT quarantine_key, data_set_sha256 FROM quarantine").await.unwrap();
    places.extend(held.into_iter().map(|(uid, hash)| (hash, format!("/instances/{uid}"))));
    places.extend(quarantined.into_iter().map(|(key, hash)| (hash, format!("/quarantine/{key}"))));

    let out = tempfile::tempdir().unwrap();
    let mut arguments = vec![out.path().display().to_string()];
    arguments.extend(files.iter().map(|file| file.display().to_string()));
    let expected = python("pictures.py", &arguments).await;
    let mut compared = 0;
    for line in expected.lines() {
        let expected: Expected = serde_json::from_str(line).expect("a line of JSON");
        if REFUSED.iter().any(|(known, _)| *known == name(&expected.file)) {
            continue;
        }
        let hash = Sha256::digest(data_set_of(&std::fs::read(&expected.file).unwrap())).to_vec();
        let Some(place) = places.get(&hash) else {
            wrong.push(format!("{}: not stored byte for byte", name(&expected.file)));
            continue;
        };
        for frame in expected.frames.iter().flatten() {
            match compare(&pacs, place, &expected.file, frame).await {
                Ok(()) => compared += 1,
                Err(sentence) => wrong.push(format!("{}: {sentence}", name(&expected.file))),
            }
        }
        if let Some(problem) = expected.problem.filter(|problem| problem != "no pixels") {
            // pydicom cannot, so there is nothing to compare; ours must be a picture or a sentence, never a fault.
            let response = pacs.get(&format!("{place}/frames/1.png")).await;
            if !matches!(response.status().as_u16(), 200 | 422) {
                wrong.push(format!(
                    "{}: {} where pydicom says {problem}",
                    name(&expected.file),
                    response.status()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(compared > 100, "{compared} frames were compared");
}

async fn compare(
    pacs: &TestServer,
    place: &str,
    file: &Path,
    expected: &ExpectedFrame,
) -> Result<(), String> {
    let response = pacs.get(&format!("{place}/frames/{}.png?overlays=0", expected.frame)).await;
    let status = response.status().as_u16();
    let sentence = response.headers().get("picture-problem").map(|value| value.to_str().unwrap().to_owned());
    if let Some((_, part)) = WITHOUT_PICTURE.iter().find(|(known, _)| *known == name(file)) {
        return match sentence {
            Some(sentence) if status == 422 && sentence.contains(part) => Ok(()),
            other => Err(format!("{status} {other:?} instead of a sentence with {part:?}")),
        };
    }
    if status != 200 {
        return Err(format!("frame {}: {status} {sentence:?}", expected.frame));
    }
    let bytes = response.bytes().await.map_err(|err| err.to_string())?;
    let mut reader =
        png::Decoder::new(std::io::Cursor::new(&bytes)).read_info().map_err(|err| err.to_string())?;
    let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
    let info = reader.next_frame(&mut pixels).map_err(|err| err.to_string())?;
    pixels.truncate(info.buffer_size());
    if let Some((_, size)) = NOT_SQUARE.iter().find(|(known, _)| *known == name(file)) {
        let got = (info.width, info.height);
        return if got == *size { Ok(()) } else { Err(format!("{got:?} instead of {size:?}")) };
    }
    if (info.width, info.height) != (expected.width, expected.height) {
        return Err(format!(
            "{}x{} instead of {}x{}",
            info.width, info.height, expected.width, expected.height
        ));
    }
    let channels = info.color_type.samples();
    let raw = std::fs::read(&expected.path).unwrap();
    let area = usize::try_from(expected.width * expected.height).unwrap();
    let mut most = 0;
    for pixel in 0..area {
        for channel in 0..3 {
            let ours = pixels[pixel * channels + channel.min(channels - 1)];
            let theirs = raw[pixel * expected.channels + channel.min(expected.channels - 1)];
            most = most.max(ours.abs_diff(theirs));
        }
    }
    let tolerance =
        TOLERANCES.iter().find(|(known, ..)| *known == name(file)).map_or(2, |(_, tolerance, _)| *tolerance);
    if most > tolerance {
        return Err(format!("frame {}: differs from pydicom's by up to {most}", expected.frame));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_character_set_shows_the_right_name() {
    let names = [
        ("chrArab.dcm", "قباني, لنزار"),
        ("chrFren.dcm", "Buc, Jérôme"),
        ("chrFrenMulti.dcm", "Buc, Jérôme"),
        ("chrGerm.dcm", "Äneas, Rüdiger"),
        ("chrGreek.dcm", "Διονυσιος"),
        ("chrH31.dcm", "Yamada, Tarou"),
        ("chrH32.dcm", "ﾔﾏﾀﾞ ﾀﾛｳ"),
        ("chrHbrw.dcm", "שרון, דבורה"),
        ("chrI2.dcm", "Hong, Gildong"),
        ("chrJapMulti.dcm", "やまだ たろう"),
        ("chrJapMultiExplicitIR6.dcm", "やまだ たろう"),
        ("chrKoreanMulti.dcm", "김희중"),
        ("chrRuss.dcm", "Люкceмбypг"),
        ("chrX1.dcm", "Wang, XiaoDong"),
        ("chrX2.dcm", "Wang, XiaoDong"),
    ];
    // The ideographic and phonetic groups, and folded ways to ask for them.
    let searches = [
        ("chrH31.dcm", "山田"),
        ("chrH31.dcm", "やまだ"),
        ("chrH31.dcm", "yamada tarou"),
        ("chrI2.dcm", "길동"),
        ("chrX1.dcm", "小東"),
        ("chrX2.dcm", "小东"),
        ("chrFren.dcm", "jerome buc"),
        ("chrGerm.dcm", "rudiger"),
        ("chrGreek.dcm", "διονυσιοσ"),
    ];
    for (file, shown) in names {
        // A server each, because some of these files share a SOP Instance UID.
        let pacs = TestServer::start().await;
        let path = pydicom_data().join("charset_files").join(file);
        store_files(pacs.dicom, &[&path]).await;
        let list = pacs.page("/studies").await.root_element().text().collect::<String>();
        assert!(list.contains(shown), "{file}: {shown} in {list}");
        for (_, words) in searches.iter().filter(|(of, _)| *of == file) {
            let found = pacs.page(&format!("/studies?q={}", encoded(words))).await;
            let found = found.root_element().text().collect::<String>();
            assert!(found.contains(shown), "{file}: {words} finds {shown}: {found}");
        }
    }
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
