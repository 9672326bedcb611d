//! Groups, and who is given a study.

use filmroom::db::role::Role;

use crate::support::TestServer;
use crate::support::instance::slice;
use crate::support::person::Person;
use crate::web_study::{all, texts};

/// Of the study of `slice(1, 1, ..)`.
const STUDY: &str = "/studies/1.2.3.1";
const ACCESS: &str = "/studies/1.2.3.1/access";

/// What the last row of the audit trail with this action says, and of which patient and study.
async fn last(pacs: &TestServer, action: &str) -> (String, String, String) {
    let column = async |name: &str| {
        pacs.value(&format!(
            "SELECT {name} FROM audit WHERE action = '{action}' ORDER BY audit_key DESC LIMIT 1"
        ))
        .await
    };
    (column("details").await, column("patient_id").await, column("study_instance_uid").await)
}

/// A server with a study that the referrer `smith` has no part in.
async fn with_study() -> (TestServer, Person) {
    let pacs = TestServer::start().await;
    assert!(pacs.store(&slice(1, 1, 1, 1).build()).await.is_success());
    let smith = pacs.person("smith", Role::Referrer).await;
    assert_eq!(smith.status(STUDY).await, 404);
    (pacs, smith)
}

async fn key(pacs: &TestServer, sql: &str) -> u64 {
    pacs.value(sql).await
}

async fn smiths_key(pacs: &TestServer) -> u64 {
    key(pacs, "SELECT user_key FROM user WHERE name = 'smith'").await
}

/// Makes a group, and returns its number.
async fn group(pacs: &TestServer, name: &str) -> u64 {
    let made = pacs.admin.post("/admin/groups", "/admin/groups", &[("name", name)]).await;
    assert_eq!(made.status(), 303);
    key(pacs, "SELECT MAX(group_key) FROM user_group").await
}

#[tokio::test]
async fn a_group_is_made_changed_and_removed_and_its_names_are_text() {
    let pacs = TestServer::start().await;
    pacs.person("smith", Role::Referrer).await;
    let key = group(&pacs, "<script>alert(1)</script>").await;
    assert_eq!(last(&pacs, "change-group").await.0, "made <script>alert(1)</script>");
    let page = format!("/admin/groups/{key}");

    let twice =
        pacs.admin.post("/admin/groups", "/admin/groups", &[("name", "<SCRIPT>alert(1)</script> ")]).await;
    assert_eq!(twice.status(), 200);
    let text = twice.text().await.expect("text");
    assert_eq!(all(&scraper::Html::parse_document(&text), "#name-mistake").len(), 1);
    assert!(!text.to_lowercase().contains("<script>alert"));

    let smith = smiths_key(&pacs).await.to_string();
    let form =
        [("name", "Practice"), ("description", "<script>alert(2)</script>"), ("member", smith.as_str())];
    assert_eq!(pacs.admin.post(&page, &page, &form).await.status(), 303);
    assert_eq!(pacs.admin.post(&page, &page, &form).await.status(), 303);
    assert_eq!(pacs.audited("change-group").await, 2, "saving without a change is no change");
    let details = last(&pacs, "change-group").await.0;
    assert!(details.contains("to \"Practice\"") && details.ends_with("added smith"), "{details}");

    for path in ["/admin/groups", &page, &format!("{page}/remove"), &format!("/admin/users/{smith}")] {
        let text = pacs.admin.get(path).await.text().await.expect("text");
        assert!(!text.contains("<script>alert"), "{path}");
        assert!(text.contains("Practice"), "{path}");
    }

    let remove = format!("{page}/remove");
    assert!(texts(&pacs.page(&remove).await, ".admin-section p").concat().contains("One person is in it"));
    assert_eq!(pacs.admin.post(&remove, &remove, &[]).await.status(), 303);
    assert_eq!((pacs.count("user_group").await, pacs.count("user_group_member").await), (0, 0));
    assert_eq!(pacs.audited("change-group").await, 3);
}

#[tokio::test]
async fn a_study_given_to_a_group_is_seen_by_its_members_for_as_long_as_they_are_in_it() {
    let (pacs, smith) = with_study().await;
    let group_key = group(&pacs, "Practice").await;
    let page = format!("/admin/groups/{group_key}");
    let to = format!("group-{group_key}");

    let given = pacs.admin.post(ACCESS, ACCESS, &[("to", &to), ("what", "study")]).await;
    assert_eq!((given.status().as_u16(), given.headers()["location"].to_str().expect("text")), (303, ACCESS));
    assert_eq!(smith.status(STUDY).await, 404, "not in the group yet");
    assert_eq!(
        last(&pacs, "grant").await,
        ("gave the study to group Practice".into(), "P1".into(), "1.2.3.1".into())
    );

    let member = smiths_key(&pacs).await.to_string();
    let with = [("name", "Practice"), ("description", ""), ("member", member.as_str())];
    assert_eq!(pacs.admin.post(&page, &page, &with).await.status(), 303);
    assert_eq!(smith.status(STUDY).await, 200);
    assert_eq!(texts(&pacs.page(&page).await, ".grants .name"), ["Doe, Jane1"]);

    assert_eq!(pacs.admin.post(&page, &page, &with[..2]).await.status(), 303);
    assert_eq!(last(&pacs, "change-group").await.0, "changed Practice: removed smith");
    assert_eq!(smith.status(STUDY).await, 404, "no longer in the group");

    pacs.admin.post(&page, &page, &with).await;
    assert_eq!(smith.status(STUDY).await, 200);
    let remove = format!("{page}/remove");
    assert!(texts(&pacs.page(&remove).await, ".losses li").concat().contains("Doe, Jane1"));
    pacs.admin.post(&remove, &remove, &[]).await;
    assert_eq!(smith.status(STUDY).await, 404, "the group is gone");
    assert_eq!((pacs.count("study_grant").await, pacs.audited("grant").await), (0, 1));
}

#[tokio::test]
async fn a_study_is_given_to_a_person_once_and_taken_back() {
    let (pacs, smith) = with_study().await;
    let key_of_smith = smiths_key(&pacs).await;
    let to = format!("user-{key_of_smith}");
    let form = [("to", to.as_str()), ("what", "study")];
    assert_eq!(pacs.admin.post(ACCESS, ACCESS, &form).await.status(), 303);
    assert_eq!(smith.status(STUDY).await, 200);

    let twice = pacs.admin.post(ACCESS, ACCESS, &form).await;
    assert_eq!(twice.status(), 200);
    let page = scraper::Html::parse_document(&twice.text().await.expect("text"));
    assert_eq!(texts(&page, "#to-mistake"), ["smith was given the study already."]);
    assert_eq!((pacs.count("study_grant").await, pacs.audited("grant").await), (1, 1));

    // The page of the person has the button, and one comes back to it.
    let theirs = format!("/admin/users/{key_of_smith}");
    let button = format!("/admin/grants/{}/take-back", key(&pacs, "SELECT grant_key FROM study_grant").await);
    assert_eq!(all(&pacs.page(&theirs).await, &format!("form[action='{button}']")).len(), 1);
    let taken = pacs.admin.post(&theirs, &button, &[("back", theirs.as_str())]).await;
    assert_eq!(taken.headers()["location"].to_str().expect("text"), theirs);
    assert_eq!(smith.status(STUDY).await, 404);
    assert_eq!(
        last(&pacs, "grant").await,
        ("took the study back from user smith".into(), "P1".into(), "1.2.3.1".into())
    );
    let again = pacs.admin.post(&theirs, &button, &[("back", "//example.org")]).await;
    assert_eq!(again.headers()["location"], "/studies", "no other site is gone back to");
    assert_eq!(pacs.audited("grant").await, 2, "what is not there is not taken");
}

#[tokio::test]
async fn all_studies_of_a_patient_are_given_those_to_come_too() {
    let (pacs, smith) = with_study().await;
    let to = format!("user-{}", smiths_key(&pacs).await);
    assert_eq!(pacs.admin.post(ACCESS, ACCESS, &[("to", &to), ("what", "patient")]).await.status(), 303);
    let (details, patient, _) = last(&pacs, "grant").await;
    assert_eq!(
        (details.as_str(), patient.as_str()),
        ("gave all studies of the patient, now and to come, to user smith", "P1")
    );

    assert!(pacs.store(&slice(1, 2, 1, 1).build()).await.is_success());
    assert!(pacs.store(&slice(2, 3, 1, 1).build()).await.is_success());
    let seen = [smith.status(STUDY).await, smith.status("/studies/1.2.3.2").await];
    assert_eq!(seen, [200, 200]);
    assert_eq!(smith.status("/studies/1.2.3.3").await, 404, "of another patient");

    // The page of the other study shows it as well.
    let other = "/studies/1.2.3.2/access";
    assert_eq!(texts(&pacs.page(other).await, ".grants .name"), ["smith"]);
    let button = format!("/admin/grants/{}/take-back", key(&pacs, "SELECT grant_key FROM study_grant").await);
    pacs.admin.post(other, &button, &[("back", other)]).await;
    let seen = [smith.status(STUDY).await, smith.status("/studies/1.2.3.2").await];
    assert_eq!(seen, [404, 404]);
    let (details, patient, _) = last(&pacs, "grant").await;
    assert_eq!(
        (details.as_str(), patient.as_str()),
        ("took all studies of the patient, now and to come, back from user smith", "P1")
    );
}

#[tokio::test]
async fn only_those_are_offered_who_do_not_see_all_and_looking_leaves_a_trace() {
    let (pacs, _) = with_study().await;
    pacs.person("reader", Role::Reader).await;
    let page = pacs.page(ACCESS).await;
    assert_eq!(texts(&page, "#to option"), ["Choose", "smith"]);
    assert_eq!(pacs.count("audit WHERE action = 'view-study' AND study_instance_uid = '1.2.3.1'").await, 1);
    assert_eq!(all(&pacs.page(STUDY).await, &format!("a[href='{ACCESS}']")).len(), 1);

    let reader = key(&pacs, "SELECT user_key FROM user WHERE name = 'reader'").await;
    for to in [format!("user-{reader}"), "user-999".into(), "group-1".into(), "smith".into(), String::new()] {
        let answer = pacs.admin.post(ACCESS, ACCESS, &[("to", &to), ("what", "study")]).await;
        assert_eq!(answer.status(), 200, "{to}");
        let page = scraper::Html::parse_document(&answer.text().await.expect("text"));
        assert_eq!(all(&page, "#to-mistake").len(), 1, "{to}");
    }
    assert_eq!((pacs.count("study_grant").await, pacs.audited("grant").await), (0, 0));
    assert_eq!(pacs.admin.status("/studies/1.2.3.9/access").await, 404);
}

#[tokio::test]
async fn a_page_that_names_patients_leaves_a_trace_and_one_that_does_not_leaves_none() {
    let (pacs, _) = with_study().await;
    let key_of_smith = smiths_key(&pacs).await;
    let group_key = group(&pacs, "Practice").await;
    let before = pacs.count("audit").await;
    let pages = [format!("/admin/users/{key_of_smith}"), format!("/admin/groups/{group_key}")];
    for path in ["/admin/users", "/admin/groups", "/admin/roles", "/admin/sign-in", &pages[0], &pages[1]] {
        pacs.page(path).await;
    }
    assert_eq!(pacs.count("audit").await, before);

    for to in [format!("user-{key_of_smith}"), format!("group-{group_key}")] {
        pacs.admin.post(ACCESS, ACCESS, &[("to", &to), ("what", "study")]).await;
    }
    for page in &pages {
        pacs.page(page).await;
    }
    assert_eq!(last(&pacs, "query").await.0, "what group Practice was given; 1 shown");
    assert_eq!(pacs.audited("query").await, 2);
}

#[tokio::test]
async fn who_is_disabled_stays_in_the_group() {
    let (pacs, _) = with_study().await;
    let group_key = group(&pacs, "Practice").await;
    let page = format!("/admin/groups/{group_key}");
    let smith = smiths_key(&pacs).await;
    let member = smith.to_string();
    pacs.admin.post(&page, &page, &[("name", "Practice"), ("member", &member)]).await;
    let disable = format!("/admin/users/{smith}/disable");
    pacs.admin.post(&page, &disable, &[]).await;

    let boxes = all(&pacs.page(&page).await, "input[name=member]")
        .iter()
        .filter(|input| input.attr("checked").is_some())
        .map(|input| input.attr("value").expect("a number").to_owned())
        .collect::<Vec<_>>();
    assert_eq!(boxes, [member.as_str()]);
    pacs.admin.post(&page, &page, &[("name", "North"), ("member", &member)]).await;
    assert_eq!(pacs.count("user_group_member").await, 1);
    pacs.admin.post(&page, &page, &[("name", "North")]).await;
    assert_eq!(pacs.count("user_group_member").await, 0);
}
