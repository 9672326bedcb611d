//! The pages of sending and of jobs.

use dicom_core::VR;
use dicom_dictionary_std::tags;
use filmroom::db::role::Role;

use crate::jobs::{impatient, newest, send, until};
use crate::support::TestServer;
use crate::support::browser::Browser;
use crate::support::instance::slice;
use crate::support::remote::{Remote, add_peer, free_port};
use crate::web_study::{all, texts};

async fn with_two_studies() -> TestServer {
    let pacs = TestServer::start_with(impatient).await;
    let referred = |study: u32, series: u32, by: &str| {
        slice(study, study, series, 1).text(tags::REFERRING_PHYSICIAN_NAME, VR::PN, by).build()
    };
    pacs.store_all(&[
        referred(1, 1, "Smith^John"),
        referred(1, 2, "Smith^John"),
        referred(2, 1, "Jones^Mary"),
    ])
    .await;
    pacs
}

#[tokio::test(flavor = "multi_thread")]
async fn series_that_are_not_ticked_are_not_sent() {
    let pacs = with_two_studies().await;
    let remote = Remote::scripted(&["store", "good"]).await;
    remote.become_peer(&pacs.database).await;
    let page = pacs.page("/send?study=1.2.3.1").await;
    assert_eq!(all(&page, "input[name=series][checked]").len(), 2, "all are ticked at first");
    let fields = [("study", "1.2.3.1"), ("peer", "SCRIPTED"), ("by_series", "on")];
    let none = pacs.admin.post("/send?study=1.2.3.1", "/send", &fields).await;
    assert_eq!(none.status(), 200);
    assert!(none.text().await.expect("text").contains("Tick at least one series."));
    assert_eq!(pacs.count("job").await, 0);
    let fields = [&fields[..], &[("series", "1.2.3.1.2")]].concat();
    assert_eq!(pacs.admin.post("/send?study=1.2.3.1", "/send", &fields).await.status(), 303);
    until(&pacs, "done").await;
    assert_eq!(remote.lines(), ["1.2.3.1.2.1"]);
    let series: String = pacs.value("SELECT series_instance_uid FROM audit WHERE action = 'send'").await;
    assert_eq!(series, "1.2.3.1.2");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_studies_of_the_list_are_sent_as_one_job_with_a_row_for_each() {
    let pacs = with_two_studies().await;
    let remote = Remote::scripted(&["store", "good"]).await;
    remote.become_peer(&pacs.database).await;
    let list = pacs.page("/studies").await;
    assert_eq!(all(&list, "form[action='/send'] input[name=study]").len(), 2);
    let address = "/send?study=1.2.3.1&study=1.2.3.2";
    let page = pacs.page(address).await;
    assert_eq!(texts(&page, "h1"), ["Send 2 studies, 3 instances"]);
    let fields = [("study", "1.2.3.1"), ("study", "1.2.3.2"), ("peer", "SCRIPTED")];
    assert_eq!(pacs.admin.post(address, "/send", &fields).await.status(), 303);
    assert_eq!(pacs.audited("send").await, 2);
    until(&pacs, "done").await;
    assert_eq!(remote.taken(), 3);
    let page = pacs.page("/jobs").await;
    assert_eq!(texts(&page, ".job-name .name"), ["Send to SCRIPTED"]);
    assert!(texts(&page, ".job-extent").concat().contains("3 of 3 instances"));
    assert_eq!(all(&page, ".row-actions button").len(), 0, "there is nothing to do any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sends_or_reads_of_what_they_may_not_see() {
    let pacs = with_two_studies().await;
    add_peer(&pacs.database, "GONE", free_port()).await;
    let rights = [
        ("referrer", "view"),
        ("referrer", "send"),
        ("administrator", "view"),
        ("administrator", "see-all"),
        ("administrator", "send"),
    ];
    pacs.admin.post("/admin/roles", "/admin/roles", &rights).await;
    let smith = pacs.referring("smith", Role::Referrer, "Smith^John").await;
    assert_eq!(smith.status("/send?study=1.2.3.2").await, 404);
    let fields = [("study", "1.2.3.2"), ("peer", "GONE")];
    assert_eq!(smith.post("/send?study=1.2.3.1", "/send", &fields).await.status(), 404);
    assert_eq!(pacs.count("job").await + pacs.count("job_item").await, 0);
    // Of two studies the one that may be seen goes.
    let fields = [("study", "1.2.3.1"), ("study", "1.2.3.2"), ("peer", "GONE")];
    assert_eq!(smith.post("/send?study=1.2.3.1", "/send", &fields).await.status(), 303);
    assert_eq!(pacs.count("job_item WHERE study_instance_uid = '1.2.3.2'").await, 0);

    // Another's job is not there, whoever asks; an administrator's pages have it.
    send(&pacs, "GONE").await;
    let key: u64 = pacs.value("SELECT MAX(job_key) FROM job").await;
    assert_eq!(smith.status(&format!("/jobs/{key}")).await, 404);
    assert_eq!(all(&smith.page("/jobs").await, "[data-job]").len(), 1);
    assert_eq!(all(&pacs.page("/jobs").await, "[data-job]").len(), 2);

    // A study that one may not see any more is not named.
    crate::support::database::statement(
        &pacs.database.url,
        "UPDATE study SET referring_physician_name = '', referring_physician_name_folded = ''",
    )
    .await;
    let own: u64 = pacs.value("SELECT MIN(job_key) FROM job").await;
    let page = smith.page(&format!("/jobs/{own}")).await;
    let text = page.html();
    assert!(!text.contains("Doe") && !text.contains("1.2.3.1"), "{text}");
    assert!(text.contains("A study you cannot see"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_jobs_looks_again_without_scripts_while_something_is_under_way() {
    let pacs = with_two_studies().await;
    add_peer(&pacs.database, "GONE", free_port()).await;
    let job = send(&pacs, "GONE").await;
    let text = pacs.get(&job).await.text().await.expect("text");
    assert!(text.contains(&format!("content=\"5;url={job}?again\"")), "{text}");
    pacs.admin.post(&job, &format!("{job}/cancel"), &[]).await;
    until(&pacs, "cancelled").await;
    let text = pacs.get(&job).await.text().await.expect("text");
    assert!(!text.contains("http-equiv"));
    assert_eq!(newest(&pacs).await.0, "cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_followed_and_cancelled_by_hand_and_nothing_is_wider_than_a_telephone() {
    let pacs = with_two_studies().await;
    let remote = Remote::scripted(&["store", "slow", "0.3"]).await;
    remote.become_peer(&pacs.database).await;
    let browser = Browser::start(1440, 1000).await;
    browser.sign_in(&pacs, "admin").await;
    browser.open(&pacs.address("/studies")).await;
    browser.click("tr[data-study='1.2.3.1'] td.choice label").await;
    browser.click(".selection-actions button").await;
    browser.until("location.pathname === '/send'").await;
    browser.click(".form-actions .main-action").await;
    browser.until("location.pathname.startsWith('/jobs/')").await;
    browser.until("document.querySelector('.state-word').textContent === 'Done'").await;
    assert_eq!(remote.taken(), 2);
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    for width in [360, 900] {
        browser.resize(width, 800).await;
        for path in ["/studies", "/jobs", "/jobs/1", "/remote", "/send?study=1.2.3.1"] {
            browser.open(&pacs.address(path)).await;
            let wider = browser.script("return document.documentElement.scrollWidth - innerWidth").await;
            assert!(wider.as_i64().is_some_and(|wider| wider <= 0), "{path} at {width}: {wider}");
        }
    }
}
