//! dicomweb-client for JavaScript, as OHIF and others have it inside, in a real browser with a person's session.

use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::browser::Browser;
use crate::support::instance::{data_set_of, slice};
use crate::support::{TestServer, pydicom_data, store_files};

/// The package as it is published; `.ci/install test` takes it from npm.
const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.tools/npm/dicomweb-client/dicomweb-client.js");

/// Every call that it has, on the one study there is, and what came of it.
const CALLS: &str = r#"
    const client = new DICOMwebClient.api.DICOMwebClient({ url: location.origin + "/dicom-web" });
    const hash = async (buffer) =>
      [...new Uint8Array(await crypto.subtle.digest("SHA-256", buffer))].map((b) => b.toString(16).padStart(2, "0")).join("");
    const first = (object, name) => object[name]?.Value?.[0];
    const start = (buffers) => [...new Uint8Array([buffers].flat()[0]).slice(0, 4)];
    return (async () => {
      const [one] = await client.searchForStudies({ queryParams: { PatientID: "1CT1" } });
      const studyInstanceUID = first(one, "0020000D");
      const none = await client.searchForStudies({ queryParams: { PatientName: "nobody*" } });
      const named = await client.searchForStudies({ queryParams: { PatientName: "*COMPRESSED*", limit: 1, offset: 0 } });
      const [series] = await client.searchForSeries({ studyInstanceUID });
      const seriesInstanceUID = first(series, "0020000E");
      const [instance] = await client.searchForInstances({ studyInstanceUID, seriesInstanceUID });
      const sopInstanceUID = first(instance, "00080018");
      const of = { studyInstanceUID, seriesInstanceUID, sopInstanceUID };
      const metadata = await client.retrieveInstanceMetadata(of);
      const ofSeries = await client.retrieveSeriesMetadata(of);
      const ofStudy = await client.retrieveStudyMetadata(of);
      const whole = await client.retrieveInstance(of);
      const inSeries = await client.retrieveSeries(of);
      const inStudy = await client.retrieveStudy(of);
      const [frame] = await client.retrieveInstanceFrames({ ...of, frameNumbers: [1] });
      const [bulk] = await client.retrieveBulkData({ BulkDataURI: ofSeries[0]["7FE00010"].BulkDataURI });
      const png = await client.retrieveInstanceRendered({ ...of, mediaTypes: [{ mediaType: "image/png" }] });
      const jpeg = await client.retrieveInstanceFramesRendered({ ...of, frameNumbers: [1], mediaTypes: [{ mediaType: "image/jpeg" }] });
      const small = await client.retrieveInstanceThumbnail({ ...of, mediaTypes: [{ mediaType: "image/jpeg" }] });
      const frameSmall = await client.retrieveInstanceFramesThumbnail({ ...of, frameNumbers: [1], mediaTypes: [{ mediaType: "image/png" }] });
      await client.storeInstances({ datasets: [whole, Uint8Array.from(FILE).buffer] });
      const refused = await client.storeInstances({ datasets: [new TextEncoder().encode("hello").buffer] }).catch((err) => err.status);
      const missing = await client.retrieveInstance({ ...of, sopInstanceUID: "1.2" }).catch((err) => err.status);
      return {
        none, named: named.length, modality: first(series, "00080060"), rows: first(instance, "00280010"),
        metadata: [metadata, ofSeries, ofStudy].map((all) => [all].flat().length),
        name: first(ofStudy[0], "00100010"), wholes: [inSeries.length, inStudy.length],
        whole: await hash(whole), series: await hash(inSeries[0]), study: await hash(inStudy[0]),
        frame: await hash(frame), bulk: await hash(bulk),
        png: start(png), jpeg: start(jpeg), small: start(small), frameSmall: start(frameSmall), refused, missing,
      };
    })();"#;

#[tokio::test]
async fn dicomweb_client_for_javascript_finds_retrieves_draws_and_stores() {
    let pacs = TestServer::start().await;
    let file = pydicom_data().join("test_files/CT_small.dcm");
    assert!(store_files(pacs.dicom, &[&file]).await[0].is_success());
    let stored = std::fs::read(&pacs.files()[0]).expect("a file");
    let client = std::fs::read_to_string(Path::new(CLIENT)).expect("dicomweb-client: run .ci/install test");
    let browser = Browser::start(900, 700).await;
    browser.sign_in(&pacs, "admin").await;
    let new = slice(7, 7, 1, 1).build();
    let script = format!("{client}\n{}", CALLS.replace("FILE", &json!(new.part10()).to_string()));
    let answer = browser.script(&script).await;

    let whole = hex::encode(Sha256::digest(&stored));
    let data_set = data_set_of(&stored);
    let at = data_set.windows(8).position(|bytes| bytes == b"\xe0\x7f\x10\0OW\0\0").expect("Pixel Data") + 12;
    let pixels = hex::encode(Sha256::digest(&data_set[at..at + 128 * 128 * 2]));
    let (png, jpeg) = (json!([0x89, 0x50, 0x4E, 0x47]), json!([0xFF, 0xD8, 0xFF, 0xE0]));
    let expected = json!({
        "none": [], "named": 1, "modality": "CT", "rows": 128,
        "metadata": [1, 1, 1], "name": { "Alphabetic": "CompressedSamples^CT1" }, "wholes": [1, 1],
        "whole": whole, "series": whole, "study": whole, "frame": pixels, "bulk": pixels,
        "png": png, "jpeg": jpeg, "small": jpeg, "frameSmall": png, "refused": 409, "missing": 404,
    });
    assert_eq!(answer, expected);
    assert_eq!(pacs.count("instance").await, 2);
    // The two that were to fail are all that the browser complains of; the client itself says more.
    let complaints = browser.complaints().await;
    assert!(
        complaints
            .iter()
            .filter(|line| !line.starts_with("console-api"))
            .all(|line| line.contains("409") || line.contains("404")),
        "{complaints:?}"
    );
    assert_eq!(answer.get("error"), None::<&Value>);
}
