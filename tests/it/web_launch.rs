//! Weasis, which is started by an address with a token for one study.

use dicom_core::VR;
use dicom_dictionary_std::tags;
use filmroom::db::role::{Right, Rights, Role};
use filmroom::db::token;
use filmroom::people::secret::Secret;
use filmroom::people::sign_in::TOKEN_PREFIX;
use mysql_async::prelude::Queryable;
use serde_json::Value;

use crate::support::TestServer;
use crate::support::browser::Browser;
use crate::support::instance::slice;
use crate::support::person::Person;
use crate::web_study::{all, texts};

/// A study of Smith^John and one of Jones^Mary.
async fn archive() -> TestServer {
    let pacs = TestServer::start().await;
    let referred = |study: u32, by: &str| {
        slice(study, study, 1, 1).text(tags::REFERRING_PHYSICIAN_NAME, VR::PN, by).build()
    };
    pacs.store_all(&[referred(1, "Smith^John"), referred(2, "Jones^Mary")]).await;
    pacs
}

/// The command that somebody's button gives Weasis for the first study.
async fn command(person: &Person) -> String {
    let answer = person.post("/studies/1.2.3.1", "/studies/1.2.3.1/weasis", &[]).await;
    assert_eq!(answer.status(), 303);
    let address = answer.headers()["location"].to_str().expect("text");
    let encoded = address.strip_prefix("weasis://").expect("an address for Weasis");
    percent_encoding::percent_decode_str(encoded).decode_utf8().expect("text").into_owned()
}

async fn token_of(person: &Person) -> String {
    let command = command(person).await;
    let (_, token) = command.split_once("Authorization: Bearer ").expect("a token");
    token.trim_end_matches('"').to_owned()
}

fn program(pacs: &TestServer, token: &str) -> Person {
    Person::with_headers(pacs, &[("authorization", &format!("Bearer {token}"))])
}

async fn change(pacs: &TestServer, sql: &str) {
    let mut conn = pacs.database.connect().await;
    conn.query_drop(sql).await.expect("a statement that runs");
    conn.disconnect().await.expect("a goodbye");
}

#[tokio::test]
async fn weasis_is_told_where_the_study_is_and_finds_it_alone() {
    let pacs = archive().await;
    let command = command(&pacs.admin).await;
    let expected = format!(
        "$dicom:rs --url \"{}\" -r \"studyUID=1.2.3.1\" -H \"Authorization: Bearer {TOKEN_PREFIX}",
        pacs.address("/dicom-web")
    );
    assert!(command.starts_with(&expected), "{command}");

    let weasis = program(&pacs, &token_of(&pacs.admin).await);
    let found: Value = weasis.get("/dicom-web/studies").await.json().await.expect("JSON");
    let found: Vec<_> =
        found.as_array().expect("studies").iter().map(|one| &one["0020000D"]["Value"][0]).collect();
    assert_eq!(found, ["1.2.3.1"]);
    for (path, status) in [
        ("/dicom-web/studies?StudyInstanceUID=1.2.3.1&includefield=00081030", 200),
        ("/dicom-web/studies/1.2.3.1/series", 200),
        ("/dicom-web/studies/1.2.3.1/series/1.2.3.1.1/instances", 200),
        ("/dicom-web/studies/1.2.3.1/series/1.2.3.1.1/instances/1.2.3.1.1.1", 200),
        ("/dicom-web/studies/1.2.3.1/series/1.2.3.1.1/thumbnail", 200),
        ("/dicom-web/studies/1.2.3.2/metadata", 404),
        ("/dicom-web/studies/1.2.3.2/series/1.2.3.2.1/instances/1.2.3.2.1.1", 404),
        ("/studies/1.2.3.2", 404),
        ("/patients/2", 404),
        ("/send?study=1.2.3.1", 403),
        ("/account", 403),
        ("/admin/users", 403),
    ] {
        assert_eq!(weasis.status(path).await, status, "{path}");
    }
    let trail = "audit WHERE study_instance_uid = '1.2.3.1' AND details LIKE";
    assert_eq!(pacs.count(&format!("{trail} 'made a token for this study, for Weasis'")).await, 2);
    assert_eq!(pacs.count(&format!("{trail} 'token Weasis; 1 instances by DICOMweb'")).await, 1);
}

#[tokio::test]
async fn a_viewer_without_headers_has_the_token_in_the_address_of_dicomweb_and_nowhere_else() {
    let pacs = archive().await;
    let launched = token_of(&pacs.admin).await;
    let nobody = Person::nobody(&pacs);
    let metadata = "/dicom-web/studies/1.2.3.1/metadata?access_token=";
    assert_eq!(nobody.status(&format!("{metadata}{launched}")).await, 200);
    assert_eq!(
        nobody.status(&format!("/dicom-web/studies/1.2.3.2/metadata?access_token={launched}")).await,
        404
    );
    assert_eq!(nobody.status(&format!("/studies/1.2.3.1?access_token={launched}")).await, 401);
    assert_eq!(nobody.status(&format!("{metadata}filmroom_0123")).await, 401);

    // A token for months belongs into no address.
    let lasting = Secret::random_with(TOKEN_PREFIX).expect("random");
    let mut conn = pacs.database.connect().await;
    token::add(&mut conn, &lasting.hash(), 1, "lasting", Rights::of(&[Right::View]), 30)
        .await
        .expect("a token");
    conn.disconnect().await.expect("a goodbye");
    assert_eq!(program(&pacs, lasting.text()).status("/dicom-web/studies").await, 200);
    assert_eq!(nobody.status(&format!("{metadata}{}", lasting.text())).await, 401);
}

#[tokio::test]
async fn the_token_is_used_within_minutes_and_lasts_for_hours() {
    let pacs = archive().await;
    let too_late = "UPDATE token SET first_use_by = UTC_TIMESTAMP(6) - INTERVAL 1 SECOND";
    let unused = program(&pacs, &token_of(&pacs.admin).await);
    change(&pacs, too_late).await;
    assert_eq!(unused.status("/dicom-web/studies").await, 401);

    let used = program(&pacs, &token_of(&pacs.admin).await);
    assert_eq!(pacs.count("token").await, 1, "what is over is forgotten");
    assert_eq!(used.status("/dicom-web/studies").await, 200);
    change(&pacs, too_late).await;
    assert_eq!(used.status("/dicom-web/studies").await, 200);
    let hours: u64 = pacs.value("SELECT TIMESTAMPDIFF(HOUR, created_at, expires_at) FROM token").await;
    assert_eq!(hours, 8);
    change(&pacs, "UPDATE token SET expires_at = UTC_TIMESTAMP(6)").await;
    assert_eq!(used.status("/dicom-web/studies").await, 401);
}

#[tokio::test]
async fn whoever_made_it_takes_it_back_on_the_page_of_their_account() {
    let pacs = archive().await;
    let weasis = program(&pacs, &token_of(&pacs.admin).await);
    let page = pacs.page("/account").await;
    assert_eq!(texts(&page, "#tokens td.name"), ["Weasis for one study"]);
    let remove = all(&page, "#tokens .row-actions form").first().and_then(|form| form.attr("action"));
    let removed = pacs.admin.post("/account", remove.expect("a form"), &[]).await;
    assert_eq!(removed.status(), 303);
    assert_eq!(weasis.status("/dicom-web/studies").await, 401);
}

#[tokio::test]
async fn it_opens_no_more_than_its_person_may() {
    let pacs = archive().await;
    let smith = pacs.referring("smith", Role::Referrer, "Smith^John").await;
    let weasis = program(&pacs, &token_of(&smith).await);
    assert_eq!(weasis.status("/dicom-web/studies/1.2.3.1/metadata").await, 200);
    let other = smith.post("/studies", "/studies/1.2.3.2/weasis", &[]).await;
    assert_eq!(other.status(), 404);

    change(&pacs, "UPDATE user SET referring_names = 'Else^Somebody' WHERE name = 'smith'").await;
    assert_eq!(weasis.status("/dicom-web/studies/1.2.3.1/metadata").await, 404);
    change(&pacs, "UPDATE user SET referring_names = 'Smith^John', is_disabled = TRUE WHERE name = 'smith'")
        .await;
    assert_eq!(weasis.status("/dicom-web/studies/1.2.3.1/metadata").await, 401);
    change(&pacs, "UPDATE user SET is_disabled = FALSE WHERE name = 'smith'").await;
    assert_eq!(weasis.status("/dicom-web/studies/1.2.3.1").await, 200);
    change(&pacs, "UPDATE role SET may_download = FALSE WHERE role = 'referrer'").await;
    assert_eq!(weasis.status("/dicom-web/studies/1.2.3.1").await, 403);
    assert!(all(&smith.page("/studies/1.2.3.1").await, "#weasis").is_empty());
}

#[tokio::test]
async fn a_browser_lets_the_button_lead_to_weasis_from_the_page_of_a_study_alone() {
    let pacs = archive().await;
    let policy = async |path: &str| {
        pacs.get(path).await.headers()["content-security-policy"].to_str().expect("text").to_owned()
    };
    assert!(policy("/studies/1.2.3.1").await.contains("form-action 'self' weasis:;"));
    assert!(!policy("/studies").await.contains("weasis"));

    let browser = Browser::start(1440, 1000).await;
    browser.sign_in(&pacs, "admin").await;
    browser.open(&pacs.address("/studies/1.2.3.1")).await;
    browser.click("button[form=weasis]").await;
    crate::support::eventually("a token is made", async || pacs.count("token").await == 1).await;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    let complaints = browser.complaints().await;
    assert!(!complaints.iter().any(|line| line.contains("Content Security Policy")), "{complaints:?}");
}
