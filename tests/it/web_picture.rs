//! Pictures and downloads: addresses that keep their bytes, requests that are refused in words, and places of pictures
//! that cannot be made.

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};
use reqwest::StatusCode;

use crate::support::instance::{self, Instance, data_set_of, slice};
use crate::support::peer::{self, Peer};
use crate::support::person;
use crate::support::process::{self, Process};
use crate::support::{TestServer, database};

/// The grey values of a PNG, and its width and height.
pub fn decoded(png: &[u8]) -> (u32, u32, Vec<u8>) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().expect("a PNG");
    let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
    let info = reader.next_frame(&mut pixels).expect("pixels");
    pixels.truncate(info.buffer_size());
    (info.width, info.height, pixels)
}

async fn body(pacs: &TestServer, path: &str) -> Vec<u8> {
    let response = pacs.get(path).await;
    assert_eq!(response.status(), StatusCode::OK, "GET {path}");
    response.bytes().await.expect("a body").to_vec()
}

fn header(response: &reqwest::Response, name: &str) -> String {
    response.headers().get(name).map(|value| value.to_str().expect("text").to_owned()).unwrap_or_default()
}

/// Four frames of 16 by 16 pixels, each of one grey.
pub fn clip() -> Instance {
    let pixels = [10_u8, 60, 110, 160].iter().flat_map(|&grey| [grey; 256]).collect();
    slice(1, 1, 1, 1)
        .text(tags::NUMBER_OF_FRAMES, VR::IS, "4")
        .bytes(tags::PIXEL_DATA, VR::OB, pixels)
        .build()
}

/// Fragments in Explicit VR Little Endian, as Pixel Data of undefined length.
pub fn encapsulated(mut instance: Instance, transfer_syntax: &str, fragments: &[&[u8]]) -> Instance {
    let at =
        instance.data_set.windows(4).rposition(|tag| tag == [0xE0, 0x7F, 0x10, 0x00]).expect("Pixel Data");
    instance.data_set.truncate(at);
    instance.data_set.extend_from_slice(&[0xE0, 0x7F, 0x10, 0x00, b'O', b'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]);
    instance.data_set.extend_from_slice(&[0xFE, 0xFF, 0x00, 0xE0, 0, 0, 0, 0]);
    for fragment in fragments {
        instance.data_set.extend_from_slice(&[0xFE, 0xFF, 0x00, 0xE0]);
        let length = u32::try_from(fragment.len()).expect("a short fragment");
        instance.data_set.extend_from_slice(&length.to_le_bytes());
        instance.data_set.extend_from_slice(fragment);
    }
    instance.data_set.extend_from_slice(&[0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
    transfer_syntax.clone_into(&mut instance.transfer_syntax_uid);
    instance
}

/// One row of RLE segments (PS3.5 annex G) for 256 pixels of one grey.
pub fn rle(grey: u8) -> Vec<u8> {
    let mut frame = vec![0; 64];
    frame[0] = 1;
    frame[4] = 64;
    // Two runs of 128.
    frame.extend_from_slice(&[129, grey, 129, grey]);
    frame
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_of_a_clip_is_that_frame_and_its_window_is_applied() {
    let pacs = TestServer::start().await;
    assert!(pacs.store(&clip()).await.is_success());

    let (width, height, third) = decoded(&body(&pacs, "/instances/1.2.3.1.1.1/frames/3.png").await);
    assert_eq!((width, height), (16, 16));
    assert!(third.iter().all(|&grey| grey.abs_diff(110) <= 1), "{:?}", third.first());
    let (.., dark) = decoded(&body(&pacs, "/instances/1.2.3.1.1.1/frames/3.png?wc=200&ww=20").await);
    assert!(dark.iter().all(|&grey| grey == 0));
    let (.., white) =
        decoded(&body(&pacs, "/instances/1.2.3.1.1.1/frames/3.png?wc=200&ww=20&invert=1").await);
    assert!(white.iter().all(|&grey| grey == 255));
    assert_eq!(pacs.get("/instances/1.2.3.1.1.1/frames/5.png").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(pacs.get("/instances/1.2.3.1.1.1/frames/0.png").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(pacs.get("/instances/9.9/frames/1.png").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_of_an_encapsulated_clip_is_found_by_its_index() {
    let pacs = TestServer::start().await;
    let frames: Vec<Vec<u8>> = [10, 60, 110, 160].into_iter().map(rle).collect();
    let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    assert!(pacs.store(&encapsulated(clip(), uids::RLE_LOSSLESS, &frames)).await.is_success());
    assert_eq!(pacs.count("frame_index").await, 1);

    for (frame, grey) in [(4, 160), (1, 10), (2, 60)] {
        let (.., pixels) = decoded(&body(&pacs, &format!("/instances/1.2.3.1.1.1/frames/{frame}.png")).await);
        assert!(pixels.iter().all(|shown| shown.abs_diff(grey) <= 1), "frame {frame}: {:?}", pixels.first());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_address_has_the_same_bytes_and_is_kept() {
    let pacs = TestServer::start().await;
    assert!(pacs.store(&slice(1, 1, 1, 1).build()).await.is_success());
    let path = "/instances/1.2.3.1.1.1/frames/1.png?w=8&h=8";

    let first = pacs.get(path).await;
    let tag = header(&first, "etag");
    assert!(tag.starts_with('"'), "a strong tag: {tag}");
    assert_eq!(header(&first, "cache-control"), "private, max-age=31536000, immutable");
    assert_eq!(header(&first, "content-type"), "image/png");
    let first = first.bytes().await.expect("a body");
    assert_eq!(body(&pacs, path).await, first);

    let again = pacs.admin.request("GET", path).header("If-None-Match", &tag).send();
    assert_eq!(again.await.expect("an answer").status(), StatusCode::NOT_MODIFIED);
    let other = pacs.get("/instances/1.2.3.1.1.1/frames/1.png?w=9&h=8").await;
    assert_ne!(header(&other, "etag"), tag);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_makes_no_sense_is_refused_in_words() {
    let pacs = TestServer::start().await;
    assert!(pacs.store(&slice(1, 1, 1, 1).build()).await.is_success());
    for (query, word) in [
        ("wc=40", "both"),
        ("wc=a&ww=1", "number"),
        ("wc=1&ww=-5", "greater than 0"),
        ("w=0", "width"),
        ("h=100000", "height"),
        ("voi=0", "voi"),
        ("invert=perhaps", "invert"),
    ] {
        let response = pacs.get(&format!("/instances/1.2.3.1.1.1/frames/1.png?{query}")).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{query}");
        let text = response.text().await.expect("text");
        assert!(text.contains(word), "{query}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_decoded_has_a_tile_and_a_sentence_and_costs_nothing_else() {
    let pacs = TestServer::start().await;
    let damaged =
        encapsulated(slice(1, 1, 1, 1).build(), uids::JPEG_BASELINE8_BIT, &[&[0xFF, 0xD8, 0xFF, 0xE0, 1, 2]]);
    let fine = slice(1, 1, 1, 2).build();
    let answers = pacs.store_all(&[damaged, fine]).await;
    assert!(answers.iter().all(crate::support::Answer::is_success), "{answers:?}");

    let response = pacs.get("/instances/1.2.3.1.1.1/frames/1.png?w=64&h=64").await;
    assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let sentence = header(&response, "picture-problem");
    assert!(sentence.contains("JPEG"), "{sentence}");
    let (width, height, _) = decoded(&response.bytes().await.expect("a body"));
    assert_eq!((width, height), (64, 64));
    body(&pacs, "/instances/1.2.3.1.1.2/frames/1.png").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_and_a_document_are_stood_for_by_a_sign() {
    let pacs = TestServer::start().await;
    let video = encapsulated(slice(1, 1, 1, 1).build(), "1.2.840.10008.1.2.4.102", &[&[0, 0, 1, 0xB3]]);
    let document = slice(1, 1, 2, 1)
        .text(tags::SOP_CLASS_UID, VR::UI, uids::ENCAPSULATED_PDF_STORAGE)
        .bytes(tags::ENCAPSULATED_DOCUMENT, VR::OB, b"%PDF-1.4".to_vec())
        .text(tags::MIME_TYPE_OF_ENCAPSULATED_DOCUMENT, VR::LO, "application/pdf")
        .build();
    let document = without_pixels(document);
    let answers = pacs.store_all(&[video, document]).await;
    assert!(answers.iter().all(crate::support::Answer::is_success), "{answers:?}");

    let response = pacs.get("/instances/1.2.3.1.1.1/frames/1.png").await;
    assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert!(header(&response, "picture-problem").contains("video"));
    let video = body(&pacs, "/series/1.2.3.1.1/thumbnail.png?study=1.2.3.1").await;
    let document = body(&pacs, "/series/1.2.3.1.2/thumbnail.png?study=1.2.3.1").await;
    assert_eq!(decoded(&video).0, 160);
    assert_ne!(video, document);

    let file = pacs.get("/instances/1.2.3.1.2.1/document").await;
    assert_eq!(header(&file, "content-type"), "application/pdf");
    assert!(header(&file, "content-disposition").starts_with("attachment"));
    assert!(header(&file, "content-security-policy").contains("sandbox"));
    assert_eq!(header(&file, "x-content-type-options"), "nosniff");
    assert_eq!(file.bytes().await.expect("a body").as_ref(), b"%PDF-1.4");
}

pub fn without_pixels(mut instance: Instance) -> Instance {
    let at =
        instance.data_set.windows(4).rposition(|tag| tag == [0xE0, 0x7F, 0x10, 0x00]).expect("Pixel Data");
    instance.data_set.truncate(at);
    instance
}

#[tokio::test(flavor = "multi_thread")]
async fn the_thumbnail_of_a_study_is_not_its_localizer_and_fits_its_box() {
    let pacs = TestServer::start().await;
    let grey = |series, instance, grey: u8, kind| {
        slice(1, 1, series, instance)
            .text(tags::IMAGE_TYPE, VR::CS, kind)
            .bytes(tags::PIXEL_DATA, VR::OB, vec![grey; 256])
            .build()
    };
    let localizer = "ORIGINAL\\PRIMARY\\LOCALIZER";
    let images = [
        grey(1, 1, 20, localizer),
        grey(1, 2, 20, localizer),
        grey(1, 3, 20, localizer),
        grey(2, 1, 200, "ORIGINAL\\PRIMARY\\AXIAL"),
    ];
    let answers = pacs.store_all(&images).await;
    assert!(answers.iter().all(crate::support::Answer::is_success), "{answers:?}");

    let (width, height, pixels) = decoded(&body(&pacs, "/studies/1.2.3.1/thumbnail.png").await);
    assert!(width <= 160 && height <= 160);
    assert!(pixels.iter().all(|shown| shown.abs_diff(200) <= 1), "{:?}", pixels.first());
    assert_eq!(pacs.get("/studies/1.2.3.1/thumbnail.png?w=5000").await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(pacs.get("/studies/9.9.9/thumbnail.png").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_download_holds_the_data_set_as_it_was_received() {
    let pacs = TestServer::start().await;
    let sent: Instance = instance::slice(1, 1, 1, 1).side(700).build();
    assert!(pacs.store(&sent).await.is_success());

    let response = pacs.get("/instances/1.2.3.1.1.1.dcm").await;
    assert_eq!(header(&response, "content-type"), "application/dicom");
    assert!(header(&response, "content-disposition").contains("1.2.3.1.1.1.dcm"));
    let length = response.content_length();
    let file = response.bytes().await.expect("a body");
    assert_eq!(length, u64::try_from(file.len()).ok());
    assert!(data_set_of(&file) == sent.data_set, "the data set is another one");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_quarantine_has_pictures_and_a_download_too() {
    let pacs = TestServer::start().await;
    let first = slice(1, 1, 1, 1).bytes(tags::PIXEL_DATA, VR::OB, vec![30; 256]).build();
    let second = slice(1, 1, 1, 1).bytes(tags::PIXEL_DATA, VR::OB, vec![220; 256]).build();
    pacs.store(&first).await;
    pacs.store(&second).await;
    let key: u64 = pacs.value("SELECT quarantine_key FROM quarantine").await;

    let (.., pixels) = decoded(&body(&pacs, &format!("/quarantine/{key}/frames/1.png")).await);
    assert!(pixels.iter().all(|shown| shown.abs_diff(220) <= 1), "{:?}", pixels.first());
    let file = body(&pacs, &format!("/quarantine/{key}.dcm")).await;
    assert!(data_set_of(&file) == second.data_set, "the data set is another one");
    pacs.page(&format!("/quarantine/{key}/attributes")).await;
}

/// A frame of 128 by 128 pixels with nothing to compress: PS3.5 annex G of literal runs alone.
fn literal_rle(seed: usize) -> Vec<u8> {
    let mut frame = vec![0; 64];
    frame[0] = 1;
    frame[4] = 64;
    for row in 0..128_usize {
        frame.push(127);
        frame.extend((0..128).map(|column| ((row * 7 + column * 3 + seed) % 256) as u8));
    }
    frame
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_of_a_long_clip_costs_one_frame_of_reading() {
    const FRAMES: usize = 200;
    let database = database::fresh().await;
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(process::serve(&database.url.with_password(), folder.path())).await;
    let clip = |series, bytes| {
        slice(1, 1, series, 1)
            .side(128)
            .text(tags::NUMBER_OF_FRAMES, VR::IS, &FRAMES.to_string())
            .bytes(tags::PIXEL_DATA, VR::OB, bytes)
            .build()
    };
    let native = clip(1, (0..128 * 128 * FRAMES).map(|at| (at % 251) as u8).collect());
    let frames: Vec<Vec<u8>> = (0..FRAMES).map(literal_rle).collect();
    let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    let encoded = encapsulated(clip(2, vec![0; 2]), uids::RLE_LOSSLESS, &frames);
    assert!(native.data_set.len() > 3_000_000 && encoded.data_set.len() > 3_000_000);
    for instance in [&native, &encoded] {
        let mut request = peer::request();
        request.presentation_contexts[0].transfer_syntaxes = vec![instance.transfer_syntax_uid.clone()];
        let answer = Peer::associate_with(process.dicom, request).await.store(instance, 16_000).await;
        assert_eq!(answer, Some(0));
    }

    let admin = person::administrator(&database, process.http).await;
    for instance in ["1.2.3.1.1.1", "1.2.3.1.2.1"] {
        for frame in [150, 1, 200] {
            let before = process.bytes_read();
            let response = admin.get(&format!("/instances/{instance}/frames/{frame}.png")).await;
            assert_eq!(response.status(), StatusCode::OK);
            let (width, height, _) = decoded(&response.bytes().await.expect("a body"));
            assert_eq!((width, height), (128, 128));
            let read = process.bytes_read() - before;
            // A frame is 16 KB; the rest is the header, its place in the index and the request.
            assert!(read < 100_000, "frame {frame} of {instance}: {read} bytes");
        }
    }
    assert_eq!(process.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_picture_has_every_pixel_in_its_place_however_small_it_is_shown() {
    let pacs = TestServer::start().await;
    // More than a megapixel of 16 bits, in which each sample follows from its place.
    let sample = |row: u32, column: u32| u16::try_from((row * 31 + column * 17) % 4096).expect("12 bits");
    let pixels =
        (0..1200).flat_map(|row| (0..1100).flat_map(move |column| sample(row, column).to_le_bytes()));
    let image = slice(1, 1, 1, 1)
        .words(tags::ROWS, 1200)
        .words(tags::COLUMNS, 1100)
        .words(tags::BITS_ALLOCATED, 16)
        .words(tags::BITS_STORED, 12)
        .words(tags::HIGH_BIT, 11)
        .bytes(tags::PIXEL_DATA, VR::OW, pixels.collect())
        .build();
    assert!(pacs.store(&image).await.is_success());

    let path = "/instances/1.2.3.1.1.1/frames/1.png?wc=2048&ww=4096";
    let (width, height, shown) = decoded(&body(&pacs, path).await);
    assert_eq!((width, height), (1100, 1200));
    let places = (0..1200).flat_map(|row| (0..1100).map(move |column| (row, column)));
    for ((row, column), shown) in places.zip(&shown) {
        let expected = f64::from(sample(row, column)) / 4095.0 * 255.0;
        assert!((f64::from(*shown) - expected).abs() <= 0.51, "row {row}, column {column}: {shown}");
    }
    let (width, height, small) = decoded(&body(&pacs, &format!("{path}&w=110&h=120")).await);
    assert_eq!((width, height), (110, 120));
    let mean = small.iter().map(|&grey| u64::from(grey)).sum::<u64>() / 13_200;
    assert!(mean.abs_diff(127) <= 2, "{mean}");
}
