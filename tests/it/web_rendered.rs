//! What WADO-RS shows without DICOM, PS3.18 section 10.4.1.1.3: pictures of frames, instances, series and studies, films,
//! reports and documents. Pictures are compared with those of the pages, which other tests compare with pydicom.

use dicom_core::VR;
use dicom_dictionary_std::{tags, uids};

use crate::support::instance::{Instance, slice};
use crate::support::{TestServer, pydicom_data, store_files};
use crate::web_dicomweb::json_of;
use crate::web_picture::{clip, decoded, encapsulated, without_pixels};
use crate::web_wado::parts;

const INSTANCE: &str = "/dicom-web/studies/1.2.3.1/series/1.2.3.1.1/instances/1.2.3.1.1.1";
/// What OHIF asks everything with.
const OHIF: &str = "multipart/related; type=\"application/octet-stream\"";

pub async fn taken(pacs: &TestServer, path: &str, accept: &str) -> (u16, String, Vec<u8>) {
    let response = pacs.admin.get_with(path, &[("accept", accept)]).await;
    let kind = response.headers().get("content-type").map(|kind| kind.to_str().expect("text").to_owned());
    let status = response.status().as_u16();
    (status, kind.unwrap_or_default(), response.bytes().await.expect("bytes").to_vec())
}

/// The grey or RGB bytes of a PNG that must be there, with its width and height.
async fn png(pacs: &TestServer, path: &str) -> (u32, u32, Vec<u8>) {
    let (status, kind, bytes) = taken(pacs, path, "image/png").await;
    assert_eq!((status, kind.as_str()), (200, "image/png"), "{path}");
    decoded(&bytes)
}

/// Width and height of a baseline JPEG.
pub fn jpeg_size(bytes: &[u8]) -> (u32, u32) {
    let at = bytes.windows(2).position(|marker| marker == [0xFF, 0xC0]).expect("a start of frame");
    let number = |at: usize| u32::from(bytes[at]) << 8 | u32::from(bytes[at + 1]);
    (number(at + 7), number(at + 5))
}

/// The frames of a GIF: for how long each is shown, hundredths of a second, and its RGBA pixels.
pub fn reel(bytes: &[u8]) -> (u16, u16, Vec<(u16, Vec<u8>)>) {
    let mut options = gif::DecodeOptions::new();
    options.set_color_output(gif::ColorOutput::RGBA);
    let mut decoder = options.read_info(bytes).expect("a GIF");
    let mut frames = Vec::new();
    while let Some(frame) = decoder.read_next_frame().expect("a frame") {
        frames.push((frame.delay, frame.buffer.to_vec()));
    }
    assert_eq!(bytes.last(), Some(&0x3B), "it has an end");
    (decoder.width(), decoder.height(), frames)
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_come_in_the_form_and_the_size_that_is_asked_for() {
    let pacs = TestServer::start().await;
    assert!(pacs.store(&slice(1, 1, 1, 1).side(64).build()).await.is_success());
    let (study, series) = ("/dicom-web/studies/1.2.3.1", "/dicom-web/studies/1.2.3.1/series/1.2.3.1.1");
    for (path, accept, kind, side) in [
        (format!("{INSTANCE}/rendered"), "*/*", "image/jpeg", 64),
        (format!("{INSTANCE}/rendered?viewport=32,32"), "image/png", "image/png", 32),
        // As large as the viewport allows, 8.3.5.1.3.
        (format!("{INSTANCE}/rendered?viewport=128,256"), "image/png", "image/png", 128),
        (
            format!("{INSTANCE}/frames/1/rendered?window=128,256,linear&quality=50"),
            "image/jpeg",
            "image/jpeg",
            64,
        ),
        (format!("{INSTANCE}/rendered"), "image/gif", "image/gif", 64),
        (format!("{INSTANCE}/thumbnail?viewport=16,16"), "image/jpeg", "image/jpeg", 16),
        (format!("{INSTANCE}/frames/1/thumbnail"), "image/jpeg", "image/jpeg", 64),
        (format!("{INSTANCE}/thumbnail?accept=image/jpeg"), OHIF, "image/jpeg", 64),
        (format!("{study}/thumbnail?accept=image/png"), OHIF, "image/png", 64),
        (format!("{series}/thumbnail?viewport=48,48"), "image/png", "image/png", 48),
        (format!("{series}/rendered?accept=image/jpeg"), OHIF, "image/jpeg", 64),
        (format!("{study}/rendered?accept=image/jpeg&viewport=32,32"), OHIF, "image/jpeg", 32),
    ] {
        let response = pacs.admin.get_with(&path, &[("accept", accept)]).await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (200, &kind.parse().unwrap()),
            "{path}"
        );
        let tag = response.headers()["etag"].to_str().expect("text").to_owned();
        let bytes = response.bytes().await.expect("bytes");
        let size = match kind {
            "image/png" => {
                let (width, height, _) = decoded(&bytes);
                (width, height)
            }
            "image/gif" => {
                let (width, height, frames) = reel(&bytes);
                assert_eq!(frames.len(), 1);
                (width.into(), height.into())
            }
            _ => jpeg_size(&bytes),
        };
        assert_eq!(size, (side, side), "{path}");
        let again = pacs.admin.get_with(&path, &[("accept", accept), ("if-none-match", &tag)]).await;
        assert_eq!(again.status(), 304, "{path}");
        assert_eq!(again.headers()["cache-control"], "private, no-cache", "{path}");
        assert_eq!(again.headers()["vary"], "Accept, Cookie, Authorization", "{path}");
    }
    for (path, accept, status) in [
        ("rendered", "image/webp", 406),
        ("rendered?viewport=0,0", "*/*", 400),
        ("rendered?window=1,2,cubic", "*/*", 400),
        ("rendered?viewport=9,9,64,0", "*/*", 400),
        ("rendered?annotation=all", "*/*", 400),
        ("rendered?iccprofile=adobergb", "*/*", 400),
        ("frames/2/rendered", "*/*", 404),
        ("frames/0/rendered", "*/*", 404),
        ("frames/1,2/rendered", "*/*", 404),
        ("frames/2/thumbnail", "*/*", 404),
    ] {
        let (found, ..) = taken(&pacs, &format!("{INSTANCE}/{path}"), accept).await;
        assert_eq!(found, status, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_a_picture_is_that_part_of_it_turned_as_its_signs_say() {
    let pacs = TestServer::start().await;
    // Without a window, so that what is black and white follows from all of the image.
    let image = slice(1, 1, 1, 1).without(tags::WINDOW_CENTER).without(tags::WINDOW_WIDTH).side(40);
    assert!(pacs.store(&image.build()).await.is_success());
    let (.., whole) = png(&pacs, "/instances/1.2.3.1.1.1/frames/1.png").await;
    let part = |left: usize, top: usize, across: usize, down: usize| -> Vec<Vec<u8>> {
        (top..top + down).map(|row| whole[row * 40 + left..row * 40 + left + across].to_vec()).collect()
    };
    let straight = part(10, 20, 8, 4);
    let mirrored: Vec<Vec<u8>> = straight.iter().map(|row| row.iter().rev().copied().collect()).collect();
    let upside_down: Vec<Vec<u8>> = straight.iter().rev().cloned().collect();
    let wider = part(9, 20, 9, 4).iter().map(|row| row.iter().rev().copied().collect()).collect();
    for (viewport, expected) in [
        ("8,4,10,20,8,4", &straight),
        ("8,8,10,20,8,4", &straight),
        ("8,4,10,20,-8,4", &mirrored),
        ("8,4,10,20,8,-4", &upside_down),
        // Pixels of which a part is wanted are there as a whole.
        ("9,4,9.9,20.5,-7.2,3", &wider),
        ("8,4,32,36", &part(32, 36, 8, 4)),
    ] {
        let (width, height, shown) = png(&pacs, &format!("{INSTANCE}/rendered?viewport={viewport}")).await;
        assert_eq!((width as usize, height as usize), (expected[0].len(), expected.len()), "{viewport}");
        assert_eq!(shown, expected.concat(), "{viewport}");
    }
    let (width, height, _) = png(&pacs, &format!("{INSTANCE}/rendered?viewport=80,80,10,20,8,4")).await;
    assert_eq!((width, height), (80, 40));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_function_of_a_window_is_the_one_of_the_standard() {
    let pacs = TestServer::start().await;
    assert!(pacs.store(&slice(1, 1, 1, 1).build()).await.is_success());
    let shown = async |function: &str| {
        let (.., pixels) = png(&pacs, &format!("{INSTANCE}/rendered?window=100,80{function}")).await;
        pixels
    };
    type Function = fn(f64) -> f64;
    let functions: [(&str, Function); 3] = [
        (",linear", |x| ((x - 99.5) / 79.0 + 0.5).clamp(0.0, 1.0)),
        (",linear-exact", |x| ((x - 100.0) / 80.0 + 0.5).clamp(0.0, 1.0)),
        (",sigmoid", |x| 1.0 / (1.0 + (-4.0 * (x - 100.0) / 80.0).exp())),
    ];
    for (name, function) in functions {
        for (at, grey) in shown(name).await.into_iter().enumerate() {
            let expected = function((at % 251) as f64) * 255.0;
            assert!((f64::from(grey) - expected).abs() <= 0.51, "{name} of {}: {grey}", at % 251);
        }
    }
    assert_eq!(shown("").await, shown(",LINEAR").await, "the instance says nothing else");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clip_moves_as_a_gif_and_comes_frame_by_frame_otherwise() {
    let pacs = TestServer::start().await;
    assert!(pacs.store(&clip()).await.is_success());
    let greys = [10_u8, 60, 110, 160];
    let (_, kind, film) = taken(&pacs, &format!("{INSTANCE}/rendered"), "image/gif").await;
    assert_eq!(kind, "image/gif");
    let (width, height, frames) = reel(&film);
    assert_eq!((width, height, frames.len()), (16, 16, 4));
    for ((delay, pixels), grey) in frames.iter().zip(greys) {
        assert_eq!(*delay, 10, "a tenth of a second, where nothing is said");
        assert!(pixels.chunks(4).all(|pixel| pixel[0].abs_diff(grey) <= 1), "{grey}: {:?}", &pixels[..4]);
    }
    let (.., some) = taken(&pacs, &format!("{INSTANCE}/frames/4,2/rendered?viewport=8,8"), "image/gif").await;
    let (width, _, frames) = reel(&some);
    assert_eq!((width, frames.len()), (8, 2));
    assert!(frames[0].1[0].abs_diff(160) <= 1 && frames[1].1[0].abs_diff(60) <= 1);

    // In parts: all frames of the instance, or those of the list in its order.
    for (path, expected) in [("rendered", greys.as_slice()), ("frames/3,1/rendered", &[110, 10])] {
        let accept = [("accept", "multipart/related; type=image/png")];
        let parts = parts(pacs.admin.get_with(&format!("{INSTANCE}/{path}"), &accept).await).await;
        assert_eq!(parts.len(), expected.len());
        for ((kind, file), grey) in parts.iter().zip(expected) {
            assert_eq!(kind, "image/png");
            assert!(decoded(file).2.iter().all(|shown| shown.abs_diff(*grey) <= 1), "{path}: {grey}");
        }
    }
    let (status, ..) = taken(&pacs, &format!("{INSTANCE}/frames/3,1/rendered"), "image/png").await;
    assert_eq!(status, 406, "two frames are no PNG");
    let accept = [("accept", "image/png, multipart/related; type=image/png; q=0.5")];
    let both = parts(pacs.admin.get_with(&format!("{INSTANCE}/frames/3,1/rendered"), &accept).await).await;
    assert_eq!(both.len(), 2, "what can be answered is");
    let (_, kind, _) = taken(&pacs, &format!("{INSTANCE}/rendered"), "image/jpeg;q=0, */*").await;
    assert_eq!(kind, "image/png");
    let (.., middle) = png(&pacs, &format!("{INSTANCE}/rendered")).await;
    assert!(middle[0].abs_diff(110) <= 1, "one picture is that of the middle frame");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clip_plays_as_fast_as_its_cine_module_says() {
    let pacs = TestServer::start().await;
    let clip = |number, tag, value: &str| {
        let pixels = vec![0; 256 * 3];
        slice(1, 1, 1, number)
            .text(tags::NUMBER_OF_FRAMES, VR::IS, "3")
            .text(tag, VR::DS, value)
            .bytes(tags::PIXEL_DATA, VR::OB, pixels)
            .build()
    };
    let clips = [
        clip(1, tags::FRAME_TIME, "50"),
        clip(2, tags::CINE_RATE, "25"),
        clip(3, tags::FRAME_TIME_VECTOR, "0\\200\\400"),
    ];
    assert!(pacs.store_all(&clips).await.iter().all(crate::support::Answer::is_success));
    for (number, expected) in [(1, [5, 5, 5]), (2, [4, 4, 4]), (3, [20, 40, 30])] {
        let path =
            format!("/dicom-web/studies/1.2.3.1/series/1.2.3.1.1/instances/1.2.3.1.1.{number}/rendered");
        let (.., film) = taken(&pacs, &path, "image/gif").await;
        let delays: Vec<u16> = reel(&film).2.iter().map(|(delay, _)| *delay).collect();
        assert_eq!(delays, expected, "{number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn films_and_pictures_in_colour_are_those_of_the_pages() {
    let pacs = TestServer::start().await;
    let files = ["examples_ybr_color.dcm", "SC_rgb_rle_2frame.dcm"]
        .map(|name| pydicom_data().join("test_files").join(name));
    let paths: Vec<_> = files.iter().map(std::path::PathBuf::as_path).collect();
    assert!(store_files(pacs.dicom, &paths).await.iter().all(crate::support::Answer::is_success));
    let instances = json_of(&pacs, "/dicom-web/instances?includefield=NumberOfFrames").await;
    for instance in instances.as_array().expect("instances") {
        let text = |tag: &str| instance[tag]["Value"][0].as_str().expect("a text").to_owned();
        let uid = text("00080018");
        let frames = instance["00280008"]["Value"][0].as_u64().expect("a number");
        let at =
            format!("/dicom-web/studies/{}/series/{}/instances/{uid}", text("0020000D"), text("0020000E"));
        let (.., film) = taken(&pacs, &format!("{at}/rendered"), "image/gif").await;
        let (width, height, shown) = reel(&film);
        assert_eq!(shown.len() as u64, frames);
        for frame in [1, frames] {
            let page = png(&pacs, &format!("/instances/{uid}/frames/{frame}.png")).await;
            assert_eq!((u32::from(width), u32::from(height)), (page.0, page.1));
            let (_, pixels) = &shown[usize::try_from(frame - 1).expect("small")];
            let colours = pixels.chunks(4).flat_map(|pixel| &pixel[..3]);
            let difference: u64 =
                colours.zip(&page.2).map(|(one, other)| u64::from(one.abs_diff(*other))).sum();
            let mean = difference as f64 / page.2.len() as f64;
            assert!(mean < 6.0, "256 colours are near the ones of frame {frame}: {mean}");
            let rendered = png(&pacs, &format!("{at}/frames/{frame}/rendered")).await;
            assert!(rendered == page, "a PNG is the one of the pages");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_series_and_a_study_come_as_a_picture_of_each_instance() {
    let pacs = TestServer::start().await;
    let image = |series, instance, grey| {
        slice(1, 1, series, instance).bytes(tags::PIXEL_DATA, VR::OB, vec![grey; 256]).build()
    };
    let damaged = encapsulated(image(2, 3, 0), uids::JPEG_BASELINE8_BIT, &[&[0xFF, 0xD8, 1, 2]]);
    let document = without_pixels(
        slice(1, 1, 3, 1)
            .text(tags::SOP_CLASS_UID, VR::UI, uids::ENCAPSULATED_PDF_STORAGE)
            .bytes(tags::ENCAPSULATED_DOCUMENT, VR::OB, b"%PDF-1.4".to_vec())
            .build(),
    );
    let all = [image(1, 1, 50), image(1, 2, 90), damaged, image(2, 1, 130), image(2, 2, 170), document];
    assert!(pacs.store_all(&all).await.iter().all(crate::support::Answer::is_success));
    let greys = async |path: &str, accept: &str| {
        let response = pacs.admin.get_with(path, &[("accept", accept)]).await;
        let kind = response.headers()["content-type"].to_str().expect("text").to_owned();
        assert!(kind.starts_with("multipart/related; type=\"image/png\""), "{path}: {kind}");
        let text = parts(response).await;
        text.iter().map(|(_, file)| decoded(file).2[0]).collect::<Vec<u8>>()
    };
    let near = |found: &[u8], expected: &[u8]| {
        found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| a.abs_diff(*b) <= 1)
    };
    let multipart = "multipart/related; type=\"image/png\"";
    let series = greys("/dicom-web/studies/1.2.3.1/series/1.2.3.1.2/rendered", multipart).await;
    assert!(near(&series, &[130, 170]), "what cannot be drawn is left out: {series:?}");
    let study = greys("/dicom-web/studies/1.2.3.1/rendered?viewport=8,8", multipart).await;
    assert!(near(&study, &[50, 90, 130, 170]), "{study:?}");
    let views = pacs.count("audit WHERE action = 'view-series'").await;
    assert_eq!(views, 2, "each series that is looked at leaves its trace");

    let whole = pacs.admin.get_with("/dicom-web/studies/1.2.3.1/rendered", &[("accept", "*/*")]).await;
    let text = String::from_utf8_lossy(&whole.bytes().await.expect("bytes")).into_owned();
    let at = pacs.address("/dicom-web/studies/1.2.3.1/series/1.2.3.1.1/instances/1.2.3.1.1.2/rendered");
    assert!(
        text.contains(&format!("Content-Type: image/jpeg\r\nContent-Location: {at}\r\n")),
        "parts say of what"
    );
    let (status, ..) = taken(&pacs, "/dicom-web/studies/1.2.3.1/series/1.2.3.1.3/rendered", "*/*").await;
    assert_eq!(status, 406, "a document is no picture");
}

#[tokio::test(flavor = "multi_thread")]
async fn words_are_burned_in_where_they_are_asked_for_and_nowhere_else() {
    let pacs = TestServer::start().await;
    let image = slice(1, 1, 1, 1).text(tags::PATIENT_NAME, VR::PN, "Gruen^Anna").side(512).bytes(
        tags::PIXEL_DATA,
        VR::OB,
        vec![0; 512 * 512],
    );
    assert!(pacs.store(&image.build()).await.is_success());
    let plain = png(&pacs, &format!("{INSTANCE}/rendered")).await.2;
    assert!(plain.iter().all(|&grey| grey == 0));
    let inked = async |annotation: &str| {
        let (width, _, pixels) = png(&pacs, &format!("{INSTANCE}/rendered?annotation={annotation}")).await;
        let corner = |right: bool, bottom: bool| {
            pixels.iter().enumerate().any(|(at, &grey)| {
                let (x, y) = (at % width as usize, at / width as usize);
                grey > 128 && (x >= 256) == right && (y >= 256) == bottom
            })
        };
        [corner(false, false), corner(true, false), corner(false, true), corner(true, true)]
    };
    assert_eq!(inked("patient").await, [true, false, false, false]);
    assert_eq!(inked("technique").await, [false, true, true, true]);
    assert_eq!(inked("patient,technique").await, [true; 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_of_the_colours_is_in_the_file_where_it_is_asked_for() {
    let pacs = TestServer::start().await;
    let own = slice(1, 1, 1, 2)
        .text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "RGB")
        .words(tags::SAMPLES_PER_PIXEL, 3)
        .words(tags::PLANAR_CONFIGURATION, 0)
        .bytes(tags::PIXEL_DATA, VR::OB, vec![100; 768])
        .bytes(tags::ICC_PROFILE, VR::OB, b"a profile of its own".to_vec());
    let all = [slice(1, 1, 1, 1).build(), own.build()];
    assert!(pacs.store_all(&all).await.iter().all(crate::support::Answer::is_success));
    let other = INSTANCE.replace("1.1.1", "1.1.2");
    let info = async |path: &str| {
        let (status, _, bytes) = taken(&pacs, path, "image/png").await;
        assert_eq!(status, 200, "{path}");
        let reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().expect("a PNG");
        let info = reader.info();
        (info.srgb.is_some(), info.icc_profile.as_ref().map(|profile| profile.to_vec()))
    };
    assert_eq!(info(&format!("{INSTANCE}/rendered?iccprofile=no")).await, (false, None));
    assert_eq!(info(&format!("{INSTANCE}/rendered?iccprofile=yes")).await, (true, None));
    assert_eq!(info(&format!("{INSTANCE}/rendered?iccprofile=srgb")).await, (true, None));
    let own = Some(b"a profile of its own".to_vec());
    assert_eq!(info(&format!("{other}/rendered?iccprofile=yes")).await, (false, own));
    let (status, _, sentence) = taken(&pacs, &format!("{other}/rendered?iccprofile=srgb"), "image/png").await;
    assert_eq!(status, 406, "{}", String::from_utf8_lossy(&sentence));
    let (.., jpeg) = taken(&pacs, &format!("{INSTANCE}/rendered?iccprofile=srgb"), "image/jpeg").await;
    assert!(jpeg.windows(12).any(|part| part == b"ICC_PROFILE\0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_that_is_too_long_to_be_read_is_not_passed_over() {
    let pacs = TestServer::start().await;
    let image = slice(1, 1, 1, 1)
        .text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "RGB")
        .words(tags::SAMPLES_PER_PIXEL, 3)
        .words(tags::PLANAR_CONFIGURATION, 0)
        .bytes(tags::PIXEL_DATA, VR::OB, vec![100; 768])
        .bytes(tags::ICC_PROFILE, VR::OB, vec![1; 5 << 20]);
    assert!(pacs.store(&image.build()).await.is_success());
    for (path, status) in [("?iccprofile=yes", 406), ("?iccprofile=srgb", 406), ("", 200)] {
        let (found, ..) = taken(&pacs, &format!("{INSTANCE}/rendered{path}"), "image/png").await;
        assert_eq!(found, status, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_a_part_lies_outside_of_is_left_out() {
    let pacs = TestServer::start().await;
    let all = [
        slice(1, 1, 1, 1).side(16).build(),
        slice(1, 1, 1, 2).side(64).build(),
        slice(1, 1, 1, 3).side(16).build(),
    ];
    assert!(pacs.store_all(&all).await.iter().all(crate::support::Answer::is_success));
    let series = "/dicom-web/studies/1.2.3.1/series/1.2.3.1.1/rendered";
    let accept = [("accept", "multipart/related; type=image/png")];
    let path = format!("{series}?viewport=8,8,32,32");
    assert_eq!(parts(pacs.admin.get_with(&path, &accept).await).await.len(), 1);
    let path = format!("{series}?viewport=8,8,99,99");
    assert_eq!(pacs.admin.get_with(&path, &accept).await.status(), 400, "there is none");
}

/// A film of MPEG-4 in fragments, as if it had a container.
fn film() -> (Instance, Vec<u8>) {
    let stream: Vec<u8> =
        b"\0\0\0\x18ftypmp42".iter().copied().chain((0..988).map(|at| (at % 251) as u8)).collect();
    let fragments: Vec<&[u8]> = stream.chunks(300).collect();
    let image = slice(1, 1, 1, 1).text(tags::NUMBER_OF_FRAMES, VR::IS, "20").build();
    (encapsulated(image, "1.2.840.10008.1.2.4.102.1", &fragments), stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_is_its_stream_all_of_it_or_a_range() {
    let pacs = TestServer::start().await;
    let (film, stream) = film();
    assert!(pacs.store(&film).await.is_success());
    let path = format!("{INSTANCE}/rendered");
    let (status, kind, bytes) = taken(&pacs, &path, "*/*").await;
    assert_eq!((status, kind.as_str()), (200, "video/mp4"));
    assert!(bytes == stream);
    for (range, status, said, expected) in [
        ("bytes=0-1", 206, "bytes 0-1/1000", &stream[0..2]),
        ("bytes=250-650", 206, "bytes 250-650/1000", &stream[250..651]),
        ("bytes=990-", 206, "bytes 990-999/1000", &stream[990..]),
        ("bytes=1000-", 416, "bytes */1000", &[]),
    ] {
        let part = pacs.admin.get_with(&path, &[("accept", "video/*"), ("range", range)]).await;
        let found =
            (part.status().as_u16(), part.headers()["content-range"].to_str().expect("text").to_owned());
        assert_eq!(found, (status, said.to_owned()));
        assert!(part.bytes().await.expect("bytes") == *expected, "{range}");
    }
    let (_, kind, bytes) = taken(&pacs, &format!("{INSTANCE}/bulkdata/7FE00010"), "*/*").await;
    assert_eq!(kind, "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.4.102.1");
    assert!(bytes == stream);
    assert_eq!(taken(&pacs, &path, "image/jpeg").await.0, 406);
    assert_eq!(
        taken(&pacs, &format!("{INSTANCE}/frames/1/rendered"), "*/*").await.0,
        406,
        "a video has no frames"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_is_a_page_that_stands_alone_and_a_document_is_what_it_is() {
    let pacs = TestServer::start().await;
    let report = pydicom_data().join("test_files/test-SR.dcm");
    assert!(store_files(pacs.dicom, &[&report]).await[0].is_success());
    let hostile = without_pixels(
        slice(1, 1, 1, 1)
            .text(tags::SOP_CLASS_UID, VR::UI, uids::BASIC_TEXT_SR_STORAGE)
            .text(tags::MODALITY, VR::CS, "SR")
            .text(tags::PATIENT_NAME, VR::PN, "<script>alert(1)</script>")
            .item(
                tags::CONTENT_SEQUENCE,
                &[(tags::VALUE_TYPE, VR::CS, "TEXT"), (tags::TEXT_VALUE, VR::UT, "No <b>nodule</b>.")],
            )
            .build(),
    );
    let document = without_pixels(
        slice(1, 1, 2, 1)
            .text(tags::SOP_CLASS_UID, VR::UI, uids::ENCAPSULATED_PDF_STORAGE)
            .bytes(tags::ENCAPSULATED_DOCUMENT, VR::OB, b"%PDF-1.4".to_vec())
            .text(tags::MIME_TYPE_OF_ENCAPSULATED_DOCUMENT, VR::LO, "application/pdf")
            .build(),
    );
    assert!(pacs.store_all(&[hostile, document]).await.iter().all(crate::support::Answer::is_success));
    let all = json_of(&pacs, "/dicom-web/instances?Modality=SR").await;
    let mut seen = 0;
    for found in all.as_array().expect("instances") {
        let uid = |tag: &str| found[tag]["Value"][0].as_str().expect("a UID").to_owned();
        let (study, series, instance) = (uid("0020000D"), uid("0020000E"), uid("00080018"));
        let path = format!("/dicom-web/studies/{study}/series/{series}/instances/{instance}/rendered");
        let response = pacs.admin.get_with(&path, &[("accept", "text/html")]).await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (200, &"text/html; charset=utf-8".parse().unwrap())
        );
        let policy = response.headers()["content-security-policy"].to_str().expect("text").to_owned();
        assert!(
            policy.contains("default-src 'none'") && policy.contains("sandbox") && !policy.contains("unsafe"),
            "{policy}"
        );
        let text = response.text().await.expect("text");
        assert!(!text.contains("<script") && !text.contains("<b>") && !text.contains("href="), "{text}");
        let page = scraper::Html::parse_document(&text);
        let items = crate::web_study::texts(&page, "main li > span");
        let shown =
            crate::web_study::texts(&pacs.page(&format!("/instances/{instance}")).await, ".report li > span");
        assert!(!items.is_empty() && items == shown, "{items:?} and {shown:?}");
        assert_eq!(taken(&pacs, &path, "image/jpeg").await.0, 406);
        assert_eq!(taken(&pacs, &path, "*/*").await.0, 200);
        seen += 1;
    }
    assert_eq!(seen, 2);
    let path = "/dicom-web/studies/1.2.3.1/series/1.2.3.1.2/instances/1.2.3.1.2.1/rendered";
    let (status, kind, bytes) = taken(&pacs, path, "*/*").await;
    assert_eq!((status, kind.as_str(), bytes.as_slice()), (200, "application/pdf", b"%PDF-1.4".as_slice()));
    assert_eq!(taken(&pacs, path, "image/jpeg").await.0, 406);
}
