//! Hostile text from everywhere, and a browser that walks through all pages: nothing of it runs, and nothing of a
//! patient is in the log.

use std::collections::{BTreeSet, VecDeque};

use dicom_core::VR;
use dicom_dictionary_std::tags;
use filmroom::db::role::{Right, Rights, Role};
use filmroom::db::user::{self, NewUser};
use filmroom::db::visibility::ReferringNames;
use filmroom::db::{group, share, token};

use crate::support::browser::Browser;
use crate::support::instance::slice;
use crate::support::peer::{Peer, request};
use crate::support::person;
use crate::support::process::{self, Process};
use crate::support::{TestServer, database};
use crate::web_rendered::{reel, taken};
use crate::web_wado::parts;

/// What a page must show as text.
const SCRIPT: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}";
/// Names and IDs that no log may hold, however they are written.
const SEEDS: [&str; 4] = ["Zzyzxova", "Quorralie", "QX-77731-SEED", "zzyzxova"];
/// Pages that are looked at, at the most.
const PAGES: usize = 150;

fn patient(number: u32) -> crate::support::instance::Builder {
    slice(number, number, 1, 1)
        .text(tags::PATIENT_NAME, VR::PN, &format!("Zzyzxova{SCRIPT}^Quorralie"))
        .text(tags::PATIENT_ID, VR::LO, &format!("QX-77731-SEED{number}<b>"))
        .text(tags::STUDY_DESCRIPTION, VR::LO, SCRIPT)
        .text(tags::SERIES_DESCRIPTION, VR::LO, SCRIPT)
        .text(tags::REFERRING_PHYSICIAN_NAME, VR::PN, &format!("House{SCRIPT}"))
        .text(tags::INSTITUTION_NAME, VR::LO, SCRIPT)
        .text(tags::STATION_NAME, VR::SH, "<b>x</b>")
        .text(tags::ACCESSION_NUMBER, VR::SH, "<i>1</i>")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_walks_through_all_pages_runs_nothing_of_it_and_the_log_names_nobody() {
    let database = database::fresh().await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut serve = process::serve(&database.url.with_password(), folder.path());
    serve.env("FILMROOM_LOG", "info,filmroom=debug");
    let process = Process::start(serve).await;
    person::administrator(&database, process.http).await;

    // From modalities: names, IDs, descriptions; twice with other content, so that there is a quarantine; an AE title.
    let mut named = request();
    named.calling_ae_title = "<img src=x>".into();
    let mut modality = Peer::associate_with(process.dicom, named).await;
    for instance in [
        patient(1).build(),
        patient(1).bytes(tags::PIXEL_DATA, VR::OB, vec![9; 256]).build(),
        patient(2).text(tags::PATIENT_ID, VR::LO, "QX-77731-SEED1<b>").build(),
    ] {
        assert!(modality.store(&instance, 16_000).await.is_some_and(|status| status & 0xF000 != 0xC000));
    }
    drop(modality);
    // From people: full names, groups, tokens, notes.
    let mut conn = database.connect().await;
    let new = NewUser {
        name: "eve".parse().expect("a name"),
        full_name: SCRIPT.to_owned(),
        role: Role::Referrer,
        password_hash: person::password_hash().await,
        referring_names: ReferringNames::parse(&format!("House{SCRIPT}")),
    };
    user::add(&mut conn, &new).await.expect("an account");
    group::add(&mut conn, SCRIPT, SCRIPT).await.expect("a group");
    token::add(&mut conn, &[1; 32], 1, SCRIPT, Rights::of(&[Right::View]), 1).await.expect("a token");
    let link = share::NewShare {
        link_hash: [2; 32],
        study_key: 1,
        user_key: 1,
        password_hash: "",
        may_download: false,
        note: SCRIPT,
        days: 1,
    };
    share::add(&mut conn, &link).await.expect("a link");
    conn.disconnect().await.expect("a goodbye");

    let browser = Browser::start(1440, 1000).await;
    let home = format!("http://{}", process.http);
    browser.sign_in_at(&home, "admin").await;
    let hostile = percent_encoding::utf8_percent_encode(SCRIPT, percent_encoding::NON_ALPHANUMERIC);
    let mut waiting: VecDeque<String> = [
        "/studies".to_owned(),
        // Reflected: every search box, and addresses that are none.
        format!("/studies?q={hostile}&description={hostile}&referring={hostile}&institution={hostile}&id={hostile}&accession={hostile}&modality={hostile}&from={hostile}&to={hostile}&date=range&sort={hostile}"),
        format!("/admin/audit?patient={hostile}&user={hostile}&action={hostile}&from={hostile}"),
        format!("/instances/1.2.3.1.1.1?q={hostile}"),
        format!("/studies/{hostile}"),
        format!("/login?next={hostile}"),
        format!("/setup?token={hostile}"),
        format!("/share/{hostile}"),
    ]
    .into();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    while let Some(path) = waiting.pop_front() {
        // Pages that differ in numbers alone are one page.
        if seen.len() >= PAGES || !seen.insert(path.clone()) {
            continue;
        }
        // A dialog would make the next command fail.
        browser.open(&format!("{home}{path}")).await;
        let ran =
            browser.script("return document.querySelectorAll('img[src=x], script:not([src])').length").await;
        assert_eq!(ran, 0, "{path}: hostile text became an element");
        let links = browser
            .script(
                "return [...document.querySelectorAll('a[href]')].map((a) => a.getAttribute('href'))
                   .filter((href) => href.startsWith('/') && !/\\.(dcm|csv)|\\/document$/.test(href))",
            )
            .await;
        let links = links.as_array().cloned().unwrap_or_default();
        waiting.extend(links.iter().filter_map(|link| link.as_str().map(str::to_owned)));
        let complaints: Vec<String> = browser.complaints().await;
        // The browser notes what is not there or not allowed, a day that is none, and what would help its own
        // keeper of passwords.
        const NOTES: [&str; 3] =
            ["the server responded with a status of 4", "does not conform to the required format", "[DOM]"];
        let is_wrong = |text: &&String| !NOTES.iter().any(|note| text.contains(note));
        let wrong: Vec<&String> = complaints.iter().filter(is_wrong).collect();
        assert!(wrong.is_empty(), "{path}: {wrong:?}");
    }
    for part in [
        "/studies/1.2.3.1",
        "/patients/",
        "/viewer",
        "/instances/",
        "/admin/quarantine/",
        "/admin/audit",
        "/admin/peers",
        "/admin/system",
    ] {
        assert!(seen.iter().any(|path| path.contains(part)), "the walk came to {part}: {seen:?}");
    }

    // Somebody who guesses, and somebody who may not: their lines are in the log, too.
    let nobody = person::Person::nobody_at(process.http);
    nobody.get(&format!("/studies?q={}", SEEDS[0])).await;
    let log = process.log();
    assert!(log.lines().count() > 5, "{log}");
    for seed in SEEDS {
        assert!(!log.contains(seed), "the log names a patient: {seed}");
    }
    assert!(!log.contains(person::PASSWORD), "the log holds a password");
    assert_eq!(process.terminate().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_are_said_to_be_there_and_are_not_cost_nothing() {
    let pacs = TestServer::start().await;
    let instance = "/dicom-web/studies/1.2.3.1/series/1.2.3.1.1/instances/1.2.3.1.1.1";
    let liar = slice(1, 1, 1, 1).text(tags::NUMBER_OF_FRAMES, VR::IS, "2147483647").build();
    assert!(pacs.store(&liar).await.is_success());
    let png = [("accept", "multipart/related; type=image/png")];
    let drawn = parts(pacs.admin.get_with(&format!("{instance}/rendered"), &png).await).await;
    assert_eq!(drawn.len(), 1);
    let wado = "/wado?requestType=WADO&studyUID=1.2.3.1&seriesUID=1.2.3.1.1&objectUID=1.2.3.1.1.1";
    for path in [format!("{instance}/rendered"), format!("{wado}&contentType=image/gif")] {
        let (status, _, film) = taken(&pacs, &path, "image/gif").await;
        assert_eq!((status, reel(&film).2.len()), (200, 1), "{path}");
    }
    // Nothing looks whole that is not; whether the only frame is on its way before that is found out, is a matter of luck.
    let stored = [("accept", "multipart/related; type=\"application/octet-stream\"; transfer-syntax=*")];
    let (name, accept) = stored[0];
    let request = pacs.admin.request("GET", &format!("{instance}/pixeldata")).header(name, accept);
    let is_cut_off = match request.send().await {
        Ok(frames) => frames.status() == 200 && frames.bytes().await.is_err(),
        Err(err) => err.is_request(),
    };
    assert!(is_cut_off, "behind the only frame");
}
