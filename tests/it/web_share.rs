//! Share links: who makes them, what whoever holds one sees, and how they end.

use dicom_core::VR;
use dicom_dictionary_std::tags;
use filmroom::db::role::Role;
use mysql_async::prelude::Queryable;
use qrcodegen::{QrCode, QrCodeEcc};
use scraper::Html;

use crate::support::TestServer;
use crate::support::instance::slice;
use crate::support::person::{Person, cookie_of};
use crate::web_study::{all, texts};

const SECRET: &str = "tulip gravel sideways";
const SHARES: &str = "/studies/1.2.3.1/shares";

/// A server with two studies of one patient.
async fn archive() -> TestServer {
    let pacs = TestServer::start().await;
    let other = slice(1, 2, 1, 1).text(tags::STUDY_DESCRIPTION, VR::LO, "Knee");
    pacs.store_all(&[slice(1, 1, 1, 1).build(), other.build()]).await;
    pacs
}

async fn html(answer: reqwest::Response) -> Html {
    Html::parse_document(&answer.text().await.expect("text"))
}

async fn run(pacs: &TestServer, sql: &str) {
    let mut conn = pacs.database.connect().await;
    conn.query_drop(sql).await.expect("a statement that runs");
    conn.disconnect().await.expect("a goodbye");
}

/// Details and outcome of the rows of this action, the last first.
async fn entries(pacs: &TestServer, action: &str) -> Vec<(String, String, String, String)> {
    let mut conn = pacs.database.connect().await;
    let sql = format!(
        "SELECT actor, study_instance_uid, details, outcome FROM audit WHERE action = '{action}' ORDER BY audit_key DESC"
    );
    let rows = conn.query(sql).await.expect("rows");
    conn.disconnect().await.expect("a goodbye");
    rows
}

/// Shares study 1, and returns the path of the link.
async fn share(person: &Person, fields: &[(&str, &str)]) -> String {
    let mut all_fields = vec![("days", "7")];
    all_fields.extend_from_slice(fields);
    let answer = person.post(SHARES, SHARES, &all_fields).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["cache-control"]),
        (200, &"no-store".parse().expect("text"))
    );
    let address = texts(&html(answer).await, ".secret code").concat();
    let at = address.find("/share/").unwrap_or_else(|| panic!("a link: {address}"));
    address[at..].to_owned()
}

/// A browser that nobody has used before looks at a link.
async fn landing(pacs: &TestServer, link: &str) -> (Person, reqwest::Response) {
    let answer = Person::nobody(pacs).get(link).await;
    let form = cookie_of(&answer, "form").expect("a cookie for the form");
    (Person::with_cookie(pacs, "form", &form), answer)
}

/// Presses the button of the landing page.
async fn open(pacs: &TestServer, link: &str, password: &str) -> reqwest::Response {
    let (browser, _) = landing(pacs, link).await;
    browser.post(link, link, &[("password", password)]).await
}

/// Opens a link that is good.
async fn visitor(pacs: &TestServer, link: &str, password: &str) -> Person {
    let answer = open(pacs, link, password).await;
    let to = answer.headers().get("location").map(|to| to.to_str().expect("text").to_owned());
    assert_eq!((answer.status().as_u16(), to.as_deref()), (303, Some("/studies/1.2.3.1")));
    Person::with_cookie(pacs, "visit", &cookie_of(&answer, "visit").expect("a visit"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_shows_its_study_and_nothing_else() {
    let pacs = archive().await;
    let anna = pacs.person("anna", Role::Reader).await;
    let link = share(&anna, &[]).await;
    let guest = visitor(&pacs, &link, "").await;

    let list = guest.page("/studies").await;
    let listed: Vec<_> = all(&list, "[data-study]").iter().filter_map(|row| row.attr("data-study")).collect();
    assert_eq!(listed, ["1.2.3.1"]);
    for path in [
        "/studies/1.2.3.1",
        "/studies/1.2.3.1/thumbnail.png",
        "/studies/1.2.3.1/viewer",
        "/series/1.2.3.1.1/thumbnail.png",
        "/instances/1.2.3.1.1.1",
        "/instances/1.2.3.1.1.1/frames/1.png",
    ] {
        assert_eq!(guest.status(path).await, 200, "{path}");
        let other = path.replace("1.2.3.1", "1.2.3.2");
        assert_eq!(guest.status(&other).await, 404, "{other}");
        assert_eq!(anna.status(&other).await, 200, "{other} is there");
    }
    for path in ["/account", "/shares", SHARES, "/admin", "/admin/peers", "/admin/quarantine"] {
        assert_eq!(guest.status(path).await, 403, "{path}");
    }
    assert_eq!(guest.status("/instances/1.2.3.1.1.1.dcm").await, 403, "looking is not taking away");
    assert_eq!(guest.status("/instances/1.2.3.2.1.1.dcm").await, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_a_visit_lead_nowhere_it_does_not_include() {
    let pacs = archive().await;
    // A study that came under two patients, with an instance in quarantine: nobody tells a visitor of the other patient.
    let moved = slice(7, 1, 2, 1).build();
    let twice = slice(1, 1, 1, 1).text(tags::SERIES_DESCRIPTION, VR::LO, "Other").build();
    pacs.store_all(&[moved, twice]).await;
    let anna = pacs.person("anna", Role::Reader).await;
    let study = anna.page("/studies/1.2.3.1").await;
    assert!(all(&study, ".banner").len() >= 2 && study.html().contains("Jane7"));
    assert_eq!(all(&study, &format!("a[href='{SHARES}']")).len(), 1);

    let link = share(&anna, &[]).await;
    let guest = visitor(&pacs, &link, "").await;
    for path in ["/studies/1.2.3.1", "/studies", "/studies/1.2.3.1/viewer"] {
        let page = guest.page(path).await;
        assert!(!page.html().contains("Jane7"), "{path}");
        for anchor in all(&page, "a[href]") {
            let to = anchor.attr("href").expect("an address");
            let is_within = to.starts_with('#') || guest.status(to).await == 200;
            assert!(is_within, "{path} leads to {to}");
            assert!(!to.starts_with("/patients/"), "{path} leads to {to}");
        }
    }
    let page = guest.page("/studies/1.2.3.1").await;
    assert!(all(&page, ".other-studies, .banner").is_empty());
    assert!(texts(&page, ".visit-line").concat().starts_with("Shared with you until 20"));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_taken_away_only_by_a_link_that_says_so() {
    let pacs = archive().await;
    let anna = pacs.person("anna", Role::Reader).await;
    let guest = visitor(&pacs, &share(&anna, &[("may_download", "on")]).await, "").await;
    assert_eq!(guest.status("/instances/1.2.3.1.1.1.dcm").await, 200);
    assert_eq!(guest.status("/instances/1.2.3.2.1.1.dcm").await, 404);

    // Nobody gives what they do not have.
    run(&pacs, "UPDATE role SET may_share = TRUE WHERE role = 'technologist'").await;
    let techno = pacs.person("techno", Role::Technologist).await;
    assert!(all(&techno.page(SHARES).await, "input[name=may_download]").is_empty());
    let guest = visitor(&pacs, &share(&techno, &[("may_download", "on")]).await, "").await;
    assert_eq!(guest.status("/instances/1.2.3.1.1.1.dcm").await, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_landing_page_names_nobody_and_changes_nothing() {
    let pacs = archive().await;
    let anna = pacs.person("anna", Role::Reader).await;
    let link = share(&anna, &[("note", "Dr. House")]).await;
    let before = pacs.count("audit").await;
    for method in ["GET", "HEAD"] {
        let answer = Person::nobody(&pacs).request(method, &link).send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{method}");
    }
    let (_, answer) = landing(&pacs, &link).await;
    let text = answer.text().await.expect("text");
    assert!(text.contains("Somebody has shared a study with you"));
    for told in ["Jane", "Doe", "P1", "Head", "House", "1.2.3", "ACC1", "anna", "2026-11-22"] {
        let shown = text.replace(&link, "");
        assert!(!shown.contains(told), "{told}");
    }
    assert_eq!((pacs.count("visit").await, pacs.count("audit").await), (0, before));
    assert_eq!(pacs.count("share WHERE opened = 0 AND last_opened_at IS NULL").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_shown_once_as_text_and_as_a_code_and_kept_as_a_hash() {
    let pacs = archive().await;
    let anna = pacs.person("anna", Role::Reader).await;
    let before = pacs.audited("share").await;
    let note = "<script>alert(1)</script> & \"Söhne\"";
    let fields = [("days", "7"), ("note", note), ("password", SECRET)];
    let page = html(anna.post(SHARES, SHARES, &fields).await).await;
    let address = texts(&page, ".secret code").concat();
    assert!(address.starts_with(&format!("http://{}/share/", pacs.http)), "{address}");

    let code = QrCode::encode_text(&address, QrCodeEcc::Medium).expect("a code");
    let drawn = all(&page, "svg.qr-code path")[0].attr("d").expect("a path").to_owned();
    let dark = (0..code.size()).flat_map(|y| (0..code.size()).map(move |x| (x, y)));
    let dark = dark.filter(|&(x, y)| code.get_module(x, y)).count();
    let lengths = drawn.split('h').skip(1).filter_map(|part| part.split('v').next()?.parse::<usize>().ok());
    assert_eq!(lengths.sum::<usize>(), dark);

    assert_eq!(pacs.audited("share").await, before + 1);
    let [(actor, study, details, outcome)] = &entries(&pacs, "share").await[..] else { panic!("one row") };
    assert_eq!((actor.as_str(), study.as_str(), outcome.as_str()), ("anna", "1.2.3.1", "done"));
    assert!(
        details.contains("7 days") && details.contains("with a password") && details.contains("Söhne"),
        "{details}"
    );
    let kept: String = pacs.value("SELECT CONCAT(HEX(link_hash), password_hash, note) FROM share").await;
    let secret = address.rsplit('/').next().expect("a secret");
    assert!(!kept.to_lowercase().contains(secret) && !kept.contains(SECRET));

    for path in [SHARES, "/shares"] {
        let page = anna.page(path).await;
        assert!(!page.html().contains(secret), "{path}");
        assert!(
            texts(&page, ".account-list td").contains(&"<script>alert(1)</script> & \"Söhne\"".to_owned()),
            "{path}"
        );
        assert!(all(&page, ".account-list script").is_empty(), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_link_stands_beside_its_field() {
    let pacs = archive().await;
    let anna = pacs.person("anna", Role::Reader).await;
    let fields = [("days", "30"), ("note", "Dr. House"), ("password", "short one"), ("may_download", "on")];
    let page = html(anna.post(SHARES, SHARES, &fields).await).await;
    assert!(texts(&page, "#password-mistake").concat().contains("at least 12 characters"));
    let value = |selector: &str| {
        all(&page, selector).first().and_then(|one| one.attr("value")).unwrap_or("").to_owned()
    };
    assert_eq!(
        (value("#note"), value("#days option[selected]"), value("#password")),
        ("Dr. House".into(), "30".into(), String::new())
    );
    assert_eq!(all(&page, "input[name=may_download][checked]").len(), 1);
    assert_eq!(anna.post(SHARES, SHARES, &[("days", "1000")]).await.status(), 400);
    assert_eq!((pacs.count("share").await, pacs.audited("share").await), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_asked_for_and_cannot_be_guessed() {
    let pacs = archive().await;
    let anna = pacs.person("anna", Role::Reader).await;
    let link = share(&anna, &[("password", SECRET)]).await;
    let (_, page) = landing(&pacs, &link).await;
    assert_eq!(all(&html(page).await, "input[type=password]").len(), 1);

    let wrong = open(&pacs, &link, "tulip gravel sidewayz").await;
    assert_eq!(wrong.status(), 401);
    assert!(cookie_of(&wrong, "visit").is_none());
    assert_eq!(texts(&html(wrong).await, "#password-mistake"), ["This is not the password of this link."]);
    let [(_, study, _, outcome)] = &entries(&pacs, "open-share").await[..] else { panic!("one row") };
    assert_eq!((study.as_str(), outcome.as_str()), ("1.2.3.1", "refused"));

    let guest = visitor(&pacs, &link, SECRET).await;
    assert_eq!(guest.status("/studies/1.2.3.1").await, 200);
    let rows = entries(&pacs, "open-share").await;
    assert_eq!((rows.len(), rows[0].3.as_str()), (2, "done"));
    assert!(rows[0].0.starts_with("share "), "{:?}", rows[0]);
    assert_eq!(pacs.count("share WHERE opened = 1 AND last_opened_at IS NOT NULL").await, 1);

    let mut waits = 0;
    for guess in 0..14 {
        // A new browser each time does not help.
        let answer = open(&pacs, &link, &format!("guess number {guess}")).await;
        waits += usize::from(answer.status() == 429 && answer.headers().contains_key("retry-after"));
    }
    assert!(waits > 0, "after ten it takes time");
    let other = share(&anna, &[("password", SECRET)]).await;
    visitor(&pacs, &other, SECRET).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_expired_and_revoked_links_are_the_same_to_whoever_asks() {
    let pacs = archive().await;
    let anna = pacs.person("anna", Role::Reader).await;
    let expired = share(&anna, &[("note", "expired")]).await;
    let revoked = share(&anna, &[("note", "revoked"), ("password", SECRET)]).await;
    let running = visitor(&pacs, &expired, "").await;
    assert_eq!(running.status("/studies/1.2.3.1").await, 200);
    run(&pacs, "UPDATE share SET expires_at = UTC_TIMESTAMP(6) WHERE note = 'expired'").await;
    run(&pacs, "UPDATE share SET revoked_at = UTC_TIMESTAMP(6) WHERE note = 'revoked'").await;
    assert_eq!(running.status("/studies/1.2.3.1").await, 401, "a visit ends with its link");

    let mut pages = Vec::new();
    for link in [expired.as_str(), &revoked, "/share/0123456789abcdef0123456789abcdef", "/share/x"] {
        let answer = Person::nobody(&pacs).get(link).await;
        assert_eq!(answer.status(), 404, "{link}");
        let page = html(answer).await;
        pages.push(texts(&page, "main"));
        let browser = Person::with_cookie(&pacs, "form", "0123456789abcdef0123456789abcdef");
        let posted = browser.post("/login", link, &[("password", SECRET)]).await;
        assert_eq!(
            (posted.status().as_u16(), texts(&html(posted).await, "main")),
            (404, pages[0].clone()),
            "{link}"
        );
    }
    assert!(pages[0].concat().contains("may have expired"));
    assert!(pages.iter().all(|page| *page == pages[0]));
    assert_eq!(pacs.count("visit").await, 1);

    let states = texts(&anna.page(SHARES).await, ".account-list td[data-label=Lasts]");
    assert!(states[0].starts_with("revoked 20") && states[1].starts_with("expired 20"), "{states:?}");
    assert!(texts(&anna.page("/shares").await, "main").concat().contains("There are none."));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_revoked_by_its_maker_or_an_administrator_and_its_visits_end() {
    let pacs = archive().await;
    let anna = pacs.person("anna", Role::Reader).await;
    let berta = pacs.person("berta", Role::Reader).await;
    let chief = pacs.person("chief", Role::Administrator).await;
    let link = share(&anna, &[]).await;
    let guest = visitor(&pacs, &link, "").await;
    let revoke = format!("/shares/{}/revoke", pacs.value::<u64>("SELECT share_key FROM share").await);

    assert_eq!(all(&anna.page("/shares").await, ".account-list tbody tr").len(), 1);
    assert!(all(&berta.page("/shares").await, ".account-list").is_empty(), "not hers");
    assert_eq!(all(&chief.page("/shares").await, ".account-list tbody tr").len(), 1);
    // On the study's page she sees it, and cannot revoke it.
    let page = berta.page(SHARES).await;
    assert_eq!(
        (all(&page, ".account-list tbody tr").len(), all(&page, "form[action$='/revoke']").len()),
        (1, 0)
    );
    assert_eq!(berta.post("/account", &revoke, &[]).await.status(), 404);
    assert_eq!(guest.status("/studies/1.2.3.1").await, 200);

    let before = pacs.audited("share").await;
    let answer = anna.post("/account", &revoke, &[("from", "study")]).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["location"]),
        (303, &SHARES.parse().expect("text"))
    );
    assert_eq!((pacs.audited("share").await, pacs.count("visit").await), (before + 1, 0));
    assert_eq!(guest.status("/studies/1.2.3.1").await, 401);
    assert_eq!(guest.status("/instances/1.2.3.1.1.1/frames/1.png").await, 401);
    assert_eq!(anna.post("/account", &revoke, &[]).await.status(), 303);
    assert_eq!(pacs.audited("share").await, before + 1, "once is enough");

    let link = share(&berta, &[]).await;
    let guest = visitor(&pacs, &link, "").await;
    let revoke = format!("/shares/{}/revoke", pacs.value::<u64>("SELECT MAX(share_key) FROM share").await);
    assert_eq!(chief.post("/account", &revoke, &[]).await.status(), 303);
    assert_eq!(guest.status("/studies/1.2.3.1").await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_is_signed_in_goes_to_the_study_or_is_told_who_they_are() {
    let pacs = archive().await;
    let anna = pacs.person("anna", Role::Reader).await;
    let link = share(&anna, &[]).await;
    let berta = pacs.person("berta", Role::Reader).await;
    for answer in [berta.get(&link).await, berta.post("/account", &link, &[]).await] {
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["location"]),
            (303, &"/studies/1.2.3.1".parse().expect("text"))
        );
        assert!(cookie_of(&answer, "visit").is_none());
    }
    let jones = pacs.referring("jones", Role::Referrer, "Jones^Mary").await;
    for answer in [jones.get(&link).await, jones.post("/account", &link, &[]).await] {
        assert_eq!(answer.status(), 200);
        let page = html(answer).await;
        assert!(texts(&page, "main").concat().contains("You are signed in as jones"));
        assert_eq!(all(&page, "main form[action='/logout']").len(), 1);
        assert!(!page.html().contains("1.2.3.1"));
    }
    assert_eq!(jones.status("/studies/1.2.3.1").await, 404);
    assert_eq!(pacs.count("visit").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_one_sees_oneself_is_shared() {
    let pacs = archive().await;
    run(&pacs, "UPDATE role SET may_share = TRUE WHERE role = 'referrer'").await;
    let jones = pacs.referring("jones", Role::Referrer, "Jones^Mary").await;
    assert_eq!(jones.status(SHARES).await, 404);
    assert_eq!(jones.post("/account", SHARES, &[("days", "7")]).await.status(), 404);
    assert_eq!(jones.status("/studies/9.9/shares").await, 404);
    assert_eq!(pacs.count("share").await, 0);

    // What one saw once and does not any more has no name on the list of links.
    let house = pacs.referring("house", Role::Referrer, "House^Gregory").await;
    share(&house, &[]).await;
    assert_eq!(texts(&house.page("/shares").await, ".account-list a.name").len(), 1);
    run(&pacs, "UPDATE user SET referring_names = '' WHERE name = 'house'").await;
    let page = house.page("/shares").await;
    assert!(!page.html().contains("Jane") && !page.html().contains("Head"), "neither patient nor study");
    assert_eq!(all(&page, ".account-list form").len(), 1, "it can be revoked");
}
