//! Who may ask for what: every address with every kind of caller, and forms that are not from our own pages.
//!
//! The table holds what is expected; an address that is not in it fails.
//!
//! Longer than 500 lines because every address has its line in the table.

use std::collections::BTreeMap;

use base64::Engine;
use dicom_core::VR;
use dicom_dictionary_std::tags;
use filmroom::db::role::{Right, Rights, Role};
use filmroom::db::{share, token};
use filmroom::people::secret::Secret;
use filmroom::people::sign_in::TOKEN_PREFIX;
use filmroom::web::access::Needs;
use filmroom::web::routes;

use crate::support::TestServer;
use crate::support::instance::slice;
use crate::support::person::{PASSWORD, Person, account, session_of};
use crate::web_study::{all, texts};

/// Everybody there is. The study in the table's addresses is the referrer's, and what the visitor's link shows; the token
/// may view, and the password is a reader's.
const CALLERS: [&str; 9] =
    ["nobody", "visitor", "other", "referrer", "technologist", "reader", "administrator", "token", "basic"];

/// Method and path as in the table of routes, and the status for each of [`CALLERS`]. The last two take every right from
/// every role, and passwords from programs.
const TABLE: &str = "
    GET  /                                                  401 303 303 303 303 303 303 303 303
    GET  /studies                                           401 200 200 200 200 200 200 200 200
    GET  /studies/{study}                                   401 200 404 200 200 200 200 200 200
    GET  /studies/{study}/thumbnail.png                     401 200 404 200 200 200 200 200 200
    GET  /studies/{study}/viewer                            401 200 404 200 200 200 200 200 200
    GET  /studies/{study}/viewer/stack.json                 401 200 404 200 200 200 200 200 200
    GET  /series/{series}/thumbnail.png                     401 200 404 200 200 200 200 200 200
    GET  /instances/{instance}.dcm                          401 403 404 200 403 200 200 403 200
    GET  /instances/{instance}/document                     401 403 404 404 403 404 404 403 404
    GET  /instances/{instance}                              401 200 404 200 200 200 200 200 200
    GET  /instances/{instance}/frames/{frame}.png           401 200 404 200 200 200 200 200 200
    GET  /instances/{instance}/frames/{frame}/caption.json  401 200 404 200 200 200 200 200 200
    GET  /studies/{study}/access                             401 403 403 403 403 403 200 403 403
    POST /studies/{study}/access                             401 403 403 403 403 403 200 403 403
    GET  /studies/{study}/audit                             401 403 403 403 403 403 200 403 403
    GET  /patients/{patient_key}                            401 200 404 200 200 200 200 200 200
    GET  /events                                            401 200 200 200 200 200 200 200 200

    GET  /dicom-web/studies                                 401 200 200 200 200 200 200 200 200
    POST /dicom-web/studies                                 401 403 403 403 415 403 415 403 403
    POST /dicom-web/studies/{study}                         401 403 403 403 415 403 415 403 403
    GET  /dicom-web/series                                  401 200 200 200 200 200 200 200 200
    GET  /dicom-web/instances                               401 200 200 200 200 200 200 200 200
    GET  /dicom-web/studies/{study}/series                  401 200 200 200 200 200 200 200 200
    GET  /dicom-web/studies/{study}/instances               401 200 200 200 200 200 200 200 200
    GET  /dicom-web/studies/{study}/series/{series}/instances 401 200 200 200 200 200 200 200 200
    GET  /dicom-web/studies/{study}                         401 403 404 200 403 200 200 403 200
    GET  /dicom-web/studies/{study}/series/{series}         401 403 404 200 403 200 200 403 200
    GET  /dicom-web/studies/{study}/series/{series}/instances/{instance} 401 403 404 200 403 200 200 403 200
    GET  /dicom-web/studies/{study}/metadata                401 200 404 200 200 200 200 200 200
    GET  /dicom-web/studies/{study}/series/{series}/metadata 401 200 404 200 200 200 200 200 200
    GET  /dicom-web/studies/{study}/series/{series}/instances/{instance}/metadata 401 200 404 200 200 200 200 200 200
    GET  /dicom-web/studies/{study}/series/{series}/instances/{instance}/frames/{frames} 401 200 404 200 200 200 200 200 200
    GET  /dicom-web/studies/{study}/pixeldata               401 200 404 200 200 200 200 200 200
    GET  /dicom-web/studies/{study}/series/{series}/pixeldata 401 200 404 200 200 200 200 200 200
    GET  /dicom-web/studies/{study}/series/{series}/instances/{instance}/pixeldata 401 200 404 200 200 200 200 200 200
    GET  /dicom-web/studies/{study}/bulkdata                401 403 404 200 403 200 200 403 200
    GET  /dicom-web/studies/{study}/series/{series}/bulkdata 401 403 404 200 403 200 200 403 200
    GET  /dicom-web/studies/{study}/series/{series}/instances/{instance}/bulkdata 401 403 404 200 403 200 200 403 200
    GET  /dicom-web/studies/{study}/series/{series}/instances/{instance}/bulkdata/{path:.+} 401 200 404 200 200 200 200 200 200
    GET  /dicom-web/studies/{study}/series/{series}/instances/{instance}/rendered 401 200 404 200 200 200 200 200 200
    GET  /dicom-web/studies/{study}/series/{series}/instances/{instance}/frames/{frames}/rendered 401 200 404 200 200 200 200 200 200
    GET  /dicom-web/studies/{study}/rendered                401 200 404 200 200 200 200 200 200
    GET  /dicom-web/studies/{study}/series/{series}/rendered 401 200 404 200 200 200 200 200 200
    GET  /dicom-web/studies/{study}/thumbnail               401 200 404 200 200 200 200 200 200
    GET  /dicom-web/studies/{study}/series/{series}/thumbnail 401 200 404 200 200 200 200 200 200
    GET  /dicom-web/studies/{study}/series/{series}/instances/{instance}/thumbnail 401 200 404 200 200 200 200 200 200
    GET  /dicom-web/studies/{study}/series/{series}/instances/{instance}/frames/{frame}/thumbnail 401 200 404 200 200 200 200 200 200
    GET  /wado                                              401 200 404 200 200 200 200 200 200

    GET  /ohif                                              401 200 200 200 200 200 200 200 200
    GET  /ohif/{name:.*}                                    401 200 200 200 200 200 200 200 200

    GET  /login                                             200 200 303 303 303 303 303 200 200
    POST /login                                             401 401 401 401 401 401 401 403 403
    POST /logout                                            303 303 303 303 303 303 303 403 403
    GET  /setup                                             403 403 403 403 403 403 403 403 403
    POST /setup                                             403 403 403 403 403 403 403 403 403
    POST /theme                                             400 400 400 400 400 400 400 403 403

    GET  /account                                           401 403 200 200 200 200 200 403 403
    POST /account/password                                  401 403 200 200 200 200 200 403 403
    GET  /account/second-factor                             401 403 200 200 200 200 200 403 403
    POST /account/second-factor                             401 403 400 400 400 400 400 403 403
    POST /account/second-factor/remove                      401 403 303 303 303 303 303 403 403
    POST /account/recovery-codes                            401 403 303 303 303 303 303 403 403
    POST /account/sessions/end-others                       401 403 303 303 303 303 303 403 403
    POST /account/sessions/{session_key}/end                401 403 404 404 404 404 404 403 403
    POST /account/tokens                                    401 403 400 400 400 400 400 403 403
    POST /account/tokens/{token_key}/remove                 401 403 404 404 404 404 404 403 403

    GET  /send                                              401 403 403 403 200 403 200 403 403
    POST /send                                              401 403 403 403 400 403 400 403 403
    GET  /upload                                            401 403 403 403 200 403 200 403 403
    POST /upload                                            401 403 403 403 415 403 415 403 403
    GET  /upload/pieces/{upload}                            401 403 403 403 200 403 200 403 403
    POST /upload/pieces/{upload}                            401 403 403 403 403 403 403 403 403
    GET  /remote                                            401 403 403 403 200 200 200 403 200
    POST /remote/retrieve                                   401 403 403 403 400 400 400 403 403
    GET  /jobs                                              401 403 403 403 200 200 200 403 403
    GET  /jobs/{job_key}                                    401 403 403 403 404 404 404 403 403
    POST /jobs/{job_key}/cancel                             401 403 403 403 404 404 404 403 403
    POST /jobs/{job_key}/try-again                          401 403 403 403 404 404 404 403 403

    GET  /studies/{study}/shares                            401 403 403 403 403 200 200 403 403
    POST /studies/{study}/shares                            401 403 403 403 403 400 400 403 403
    POST /studies/{study}/weasis                            401 403 404 303 403 303 303 403 403
    GET  /shares                                            401 403 403 403 403 200 200 403 403
    POST /shares/{share_key}/revoke                         401 403 403 403 403 404 404 403 403
    GET  /share/{link}                                      404 404 404 404 404 404 404 404 404
    POST /share/{link}                                      404 404 404 404 404 404 404 403 403

    GET  /admin                                             401 403 303 303 303 303 303 403 403
    GET  /admin/users                                        401 403 403 403 403 403 200 403 403
    POST /admin/users                                        401 403 403 403 403 403 200 403 403
    GET  /admin/users/{user_key}                             401 403 403 403 403 403 404 403 403
    POST /admin/users/{user_key}                             401 403 403 403 403 403 404 403 403
    POST /admin/users/{user_key}/password                    401 403 403 403 403 403 404 403 403
    POST /admin/users/{user_key}/disable                     401 403 403 403 403 403 404 403 403
    POST /admin/users/{user_key}/enable                      401 403 403 403 403 403 404 403 403
    POST /admin/users/{user_key}/remove-second-factor        401 403 403 403 403 403 404 403 403
    GET  /admin/groups                                       401 403 403 403 403 403 200 403 403
    POST /admin/groups                                       401 403 403 403 403 403 200 403 403
    GET  /admin/groups/{group_key}                           401 403 403 403 403 403 404 403 403
    POST /admin/groups/{group_key}                           401 403 403 403 403 403 404 403 403
    GET  /admin/groups/{group_key}/remove                    401 403 403 403 403 403 404 403 403
    POST /admin/groups/{group_key}/remove                    401 403 403 403 403 403 404 403 403
    POST /admin/grants/{grant_key}/take-back                 401 403 403 403 403 403 303 403 403
    GET  /admin/roles                                        401 403 403 403 403 403 200 403 403
    GET  /admin/sign-in                                      401 403 403 403 403 403 200 403 403
    GET  /admin/peers                                       401 403 403 403 403 403 200 403 403
    POST /admin/peers                                       401 403 403 403 403 403 200 403 403
    GET  /admin/peers/{peer_key}                            401 403 403 403 403 403 404 403 403
    POST /admin/peers/{peer_key}                            401 403 403 403 403 403 404 403 403
    GET  /admin/peers/{peer_key}/remove                     401 403 403 403 403 403 404 403 403
    POST /admin/peers/{peer_key}/remove                     401 403 403 403 403 403 404 403 403
    POST /admin/peers/{peer_key}/echo                       401 403 403 403 403 403 404 403 403
    GET  /admin/associations/events                         401 403 403 403 403 403 200 403 403
    POST /admin/associations/{association}/abort            401 403 403 403 403 403 303 403 403
    POST /admin/callers/allow                               401 403 403 403 403 403 400 403 403
    POST /admin/callers/forget                              401 403 403 403 403 403 400 403 403
    GET  /admin/audit                                       401 403 403 403 403 403 200 403 403
    GET  /admin/audit.csv                                   401 403 403 403 403 403 200 403 403
    GET  /admin/system                                      401 403 403 403 403 403 200 403 403
    GET  /admin/quarantine                                  401 403 403 403 200 403 200 403 403
    GET  /admin/quarantine/{quarantine_key}                 401 403 403 403 200 403 200 403 403
    GET  /admin/quarantine/{quarantine_key}/discard         401 403 403 403 200 403 200 403 403
    GET  /quarantine/{key}.dcm                              401 403 403 403 403 403 200 403 403
    GET  /quarantine/{key}/attributes                       401 403 403 403 200 403 200 403 403
    GET  /quarantine/{key}/frames/{frame}.png               401 403 403 403 200 403 200 403 403

    POST /admin/quarantine/{quarantine_key}/discard         401 403 403 403 303 403 404 403 403

    GET  /healthz                                           200 200 200 200 200 200 200 200 200
    GET  /readyz                                            200 200 200 200 200 200 200 200 200
    GET  /static/{name:.+}                                  200 200 200 200 200 200 200 200 200

    POST /admin/roles                                        401 403 403 403 403 403 303 403 403
    POST /admin/sign-in                                      401 403 403 403 403 403 303 403 401
";

/// A line of the table.
struct Expected {
    method: &'static str,
    pattern: &'static str,
    statuses: Vec<u16>,
}

fn expected() -> Vec<Expected> {
    let lines = TABLE.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = |line: &'static str| {
        let mut words = line.split_whitespace();
        let (method, pattern) = (words.next().expect("a method"), words.next().expect("a path"));
        let statuses: Vec<u16> = words.map(|word| word.parse().expect("a status")).collect();
        assert_eq!(statuses.len(), CALLERS.len(), "{line}");
        Expected { method, pattern, statuses }
    };
    lines.map(line).collect()
}

/// The path of a pattern, for the study that the referrer may see.
fn concrete(pattern: &str) -> String {
    let path = [
        ("{study}", "1.2.3.1"),
        ("{series}", "1.2.3.1.1"),
        ("{instance}", "1.2.3.1.1.1"),
        ("{frame}", "1"),
        ("{frames}", "1"),
        ("{path:.+}", "7FE00010"),
        ("{patient_key}", "1"),
        ("{peer_key}", "999"),
        ("{association}", "999"),
        ("{user_key}", "999"),
        ("{group_key}", "999"),
        ("{grant_key}", "999"),
        ("{session_key}", "999999"),
        ("{token_key}", "999"),
        ("{share_key}", "999"),
        ("{job_key}", "999"),
        ("{upload}", "0123456789abcdef"),
        ("{link}", "0123456789abcdef0123456789abcdef"),
        ("{quarantine_key}", "1"),
        ("{key}", "1"),
        ("{name:.+}", "app.css"),
        ("{name:.*}", ""),
    ]
    .iter()
    .fold(pattern.to_owned(), |path, (name, value)| path.replace(name, value));
    assert!(!path.contains('{'), "{pattern} has a value for each name");
    match pattern {
        "/studies/{study}/viewer/stack.json" => format!("{path}?series=1.2.3.1.1"),
        "/send" => format!("{path}?study=1.2.3.1"),
        "/upload/pieces/{upload}" => format!("{path}?offset=0&size=1"),
        "/wado" => {
            format!("{path}?requestType=WADO&studyUID=1.2.3.1&seriesUID=1.2.3.1.1&objectUID=1.2.3.1.1.1")
        }
        _ => path,
    }
}

/// A server with a study for the referrer Smith, one for the referrer Jones, and an instance in quarantine.
struct House {
    pacs: TestServer,
    users: BTreeMap<&'static str, u64>,
    token: String,
    /// A viewer of one page.
    _viewer: tempfile::TempDir,
}

impl House {
    async fn open() -> House {
        let viewer = tempfile::tempdir().expect("a folder");
        std::fs::write(viewer.path().join("index.html"), "<title>A viewer</title>").expect("a page");
        let folder = Some(viewer.path().to_owned());
        let pacs = TestServer::start_with(|config| config.ohif_dir = folder).await;
        let referred =
            |study: u32, by: &str| slice(study, study, 1, 1).text(tags::REFERRING_PHYSICIAN_NAME, VR::PN, by);
        let smiths = referred(1, "Smith^John");
        pacs.store_all(&[
            smiths.clone().build(),
            referred(2, "Jones^Mary").build(),
            smiths
                .text(tags::STUDY_DESCRIPTION, VR::LO, "another")
                .bytes(tags::PIXEL_DATA, VR::OB, vec![9; 256])
                .build(),
        ])
        .await;
        assert_eq!(pacs.count("quarantine").await, 1);
        let mut users = BTreeMap::new();
        for (name, role, referring) in [
            ("other", Role::Referrer, "Jones^Mary"),
            ("referrer", Role::Referrer, "Smith, John"),
            ("technologist", Role::Technologist, ""),
            ("reader", Role::Reader, ""),
            ("administrator", Role::Administrator, ""),
        ] {
            users.insert(name, account(&pacs.database, name, role, referring).await);
        }
        let mut conn = pacs.database.connect().await;
        let token = Secret::random_with(TOKEN_PREFIX).expect("random");
        let view = Rights::of(&[Right::View]);
        token::add(&mut conn, &token.hash(), users["reader"], "a program", view, 1).await.expect("a token");
        let link = Secret::random().expect("random");
        let new = share::NewShare {
            link_hash: link.hash(),
            study_key: 1,
            user_key: users["reader"],
            password_hash: "",
            may_download: false,
            note: "",
            days: 1,
        };
        share::add(&mut conn, &new).await.expect("a link");
        conn.disconnect().await.expect("a goodbye");
        House { pacs, users, token: token.text().to_owned(), _viewer: viewer }
    }

    /// One of [`CALLERS`], people with a session that nobody else uses.
    async fn caller(&self, name: &str) -> Person {
        match name {
            "nobody" => Person::with_cookie(&self.pacs, "form", "0123456789abcdef0123456789abcdef"),
            "visitor" => Person::with_cookie(&self.pacs, "visit", &self.fresh_visit().await),
            "token" => {
                Person::with_headers(&self.pacs, &[("authorization", &format!("Bearer {}", self.token))])
            }
            "basic" => {
                let value = base64::engine::general_purpose::STANDARD.encode(format!("reader:{PASSWORD}"));
                Person::with_headers(&self.pacs, &[("authorization", &format!("Basic {value}"))])
            }
            name => {
                let session = session_of(&self.pacs.database, self.users[name]).await;
                Person::with_cookie(&self.pacs, "session", &session)
            }
        }
    }

    async fn fresh_visit(&self) -> String {
        let visit = Secret::random().expect("random");
        let mut conn = self.pacs.database.connect().await;
        share::visit(&mut conn, 1, &visit.hash(), "127.0.0.1").await.expect("a visit");
        conn.disconnect().await.expect("a goodbye");
        visit.text().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_address_answers_every_caller_as_the_table_says() {
    let expected = expected();
    let listed: Vec<(&str, &str)> = expected.iter().map(|line| (line.method, line.pattern)).collect();
    for route in routes::table() {
        let key = (route.method.as_str(), route.path);
        assert!(listed.contains(&key), "{} {} is not in the table of this test", key.0, key.1);
    }
    assert_eq!(listed.len(), routes::table().len(), "the table has an address that is not there");

    let house = House::open().await;
    let mut wrong = Vec::new();
    for line in &expected {
        let path = concrete(line.pattern);
        for (name, &status) in CALLERS.iter().zip(&line.statuses) {
            let caller = house.caller(name).await;
            let found = match line.method {
                "GET" => caller.status(&path).await,
                _ => {
                    let token = form_token_of(&caller);
                    caller.post_with(&token, &path, &[]).await.status().as_u16()
                }
            };
            if found != status {
                wrong.push(format!("{} {path} for {name}: {found}, not {status}", line.method));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What follows from the cookie, as the pages compute it: so that a form can be sent without reading a page first.
fn form_token_of(caller: &Person) -> String {
    let cookie = caller.headers.iter().find(|(name, _)| name == "cookie").map(|(_, value)| value.as_str());
    let seed = cookie.and_then(|cookie| cookie.split_once('=')).map_or("", |(_, value)| value);
    let hash = filmroom::people::secret::hash(&format!("form {seed}"));
    hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_spelling_of_an_address_opens_nothing_more() {
    let house = House::open().await;
    for line in expected().iter().filter(|line| line.method == "GET" && !line.pattern.ends_with("/events")) {
        let path = concrete(line.pattern);
        for (name, &status) in CALLERS.iter().zip(&line.statuses) {
            let caller = house.caller(name).await;
            let head = caller.request("HEAD", &path).send().await.expect("an answer");
            assert_eq!(head.status(), status, "HEAD {path} for {name}");
            assert_eq!(head.bytes().await.expect("a body").len(), 0, "HEAD {path} for {name}");
            let (plain, query) = path
                .split_once('?')
                .map_or((path.as_str(), String::new()), |(path, query)| (path, format!("?{query}")));
            let first = plain
                .chars()
                .nth(1)
                .map_or(String::new(), |c| format!("/%{:02x}{}", u32::from(c), &plain[2..]));
            for spelling in [
                format!("{plain}/{query}"),
                format!("/{plain}{query}"),
                format!("{}{query}", plain.replacen("/", "//", 2)),
                format!("{first}{query}"),
                format!("{}{query}", plain.replace('.', "%2e")),
                format!("/x/..{plain}{query}"),
            ] {
                let found = raw_status(&house.pacs, &caller, &spelling).await;
                assert!(
                    found == status || found == 404 || found == 400,
                    "{spelling} for {name}: {found}, not {status}"
                );
            }
        }
    }
}

/// Asks for exactly this path, which a client of HTTP would tidy up.
async fn raw_status(pacs: &TestServer, caller: &Person, path: &str) -> u16 {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(pacs.http).await.expect("a connection");
    let headers: String = caller.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{headers}\r\n", pacs.http);
    stream.write_all(request.as_bytes()).await.expect("a request");
    let mut line = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte).await.is_ok_and(|read| read == 1) && byte != *b"\n" {
        line.push(byte[0]);
    }
    let line = String::from_utf8_lossy(&line).into_owned();
    line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{path}: {line}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_changed_without_the_token_of_ones_own_session() {
    let house = House::open().await;
    let admin = house.caller("administrator").await;
    let own = form_token_of(&admin);
    // A token that was good once: of a session that has been ended since.
    let before = house.caller("administrator").await;
    let old = form_token_of(&before);
    assert_eq!(before.post_with(&old, "/logout", &[]).await.status(), 303);
    // One that is good still, for somebody else.
    let others = form_token_of(&house.caller("reader").await);
    let rows = house.pacs.count("peer").await;
    for route in routes::table().into_iter().filter(|route| route.method == "POST") {
        let path = concrete(route.path);
        let post = |token: Option<&str>| {
            let fields = [("token", token.unwrap_or("")), ("ae_title", "EVIL"), ("may_store", "on")];
            let fields = if token.is_none() { &fields[1..] } else { &fields[..] };
            let body = serde_urlencoded::to_string(fields).expect("a form");
            admin
                .request("POST", &path)
                .header("content-type", "application/x-www-form-urlencoded")
                .body(body)
        };
        let attempts = [
            ("no token", post(None)),
            ("an empty token", post(Some(""))),
            ("a token made up", post(Some("0123456789abcdef0123456789abcdef"))),
            ("an old token", post(Some(&old))),
            ("somebody else's token", post(Some(&others))),
            ("another origin", post(Some(&own)).header("origin", "http://example.org")),
            ("another site", post(Some(&own)).header("sec-fetch-site", "cross-site")),
            ("a neighbouring site", post(Some(&own)).header("sec-fetch-site", "same-site")),
            ("no origin from a browser", post(Some(&own)).header("origin", "null")),
            ("another host", post(Some(&own)).header("host", "rebound.example.org")),
        ];
        for (what, attempt) in attempts {
            let status = attempt.send().await.expect("an answer").status().as_u16();
            // A body of files is no form, so that a form is refused for what it is.
            let is_refused = status == 403 || (matches!(route.needs, Needs::Files(_)) && status == 415);
            assert!(is_refused, "POST {path} with {what}: {status}");
        }
    }
    assert_eq!(house.pacs.count("peer").await, rows);
    let ours = admin.post_with(&own, "/admin/peers", &[("ae_title", "GOOD")]).await;
    assert_eq!(ours.status(), 303, "and with it, it is");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_may_not_see_is_not_counted_and_not_suggested() {
    let house = House::open().await;
    let modality = slice(3, 3, 1, 1).text(tags::MODALITY, VR::CS, "ZZ").text(
        tags::REFERRING_PHYSICIAN_NAME,
        VR::PN,
        "Nobody^Else",
    );
    house.pacs.store(&modality.build()).await;
    for name in ["other", "referrer", "visitor"] {
        let caller = house.caller(name).await;
        let page = caller.page("/studies").await;
        assert_eq!(all(&page, "[data-study]").len(), 1, "{name}");
        assert_eq!(texts(&page, ".list-status .position"), ["1 study"], "{name}");
        let text = page.html();
        for hidden in ["ZZ", "1.2.3.3", "of 3", "as_of=3"] {
            assert!(!text.contains(hidden), "{name} reads {hidden}");
        }
        let found = caller.page("/studies?q=Doe").await;
        assert_eq!(all(&found, "[data-study]").len(), 1, "{name}");
        let none = caller.page("/studies?id=P3").await;
        assert!(texts(&none, "h2").contains(&"No study matches".to_owned()), "{name}");
        assert_eq!(all(&caller.page("/studies?modality=ZZ").await, "[data-study]").len(), 0, "{name}");
        for path in [
            "/studies/1.2.3.3",
            "/studies/1.2.3.3/viewer",
            "/studies/1.2.3.3/thumbnail.png",
            "/series/1.2.3.3.1/thumbnail.png",
            "/series/1.2.3.3.1/thumbnail.png?study=1.2.3.3",
            "/instances/1.2.3.3.1.1",
            "/instances/1.2.3.3.1.1/frames/1.png",
            "/instances/1.2.3.3.1.1/frames/1/caption.json",
            "/patients/3",
        ] {
            assert_eq!(caller.status(path).await, 404, "{path} for {name}");
        }
    }
    let referrer = house.caller("referrer").await;
    assert_eq!(referrer.status("/instances/1.2.3.3.1.1.dcm").await, 404);
    assert_eq!(referrer.status("/instances/1.2.3.1.1.1.dcm").await, 200);
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let pacs = TestServer::start().await;
    for route in
        routes::table().into_iter().filter(|route| route.method == "GET" && !route.path.ends_with("/events"))
    {
        let path = concrete(route.path);
        for person in [&pacs.admin, &Person::nobody(&pacs)] {
            let response = person.get(&path).await;
            let header = |name: &str| {
                response
                    .headers()
                    .get(name)
                    .and_then(|value| value.to_str().ok())
                    .unwrap_or_default()
                    .to_owned()
            };
            let policy = header("content-security-policy");
            assert!(policy.contains("default-src 'none'"), "{path}: {policy}");
            assert!(!policy.contains("unsafe"), "{path}: {policy}");
            assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
            assert_eq!(header("referrer-policy"), "no-referrer", "{path}");
            let caching = header("cache-control");
            let may_be_kept = route.needs == Needs::Nothing || path.ends_with(".png");
            assert!(may_be_kept || caching == "no-store", "{path}: {caching}");
        }
    }
}

#[tokio::test]
async fn a_name_of_another_machine_is_refused() {
    let pacs = TestServer::start().await;
    for path in ["/", "/studies", "/admin/peers", "/login", "/healthz", "/static/app.css", "/nowhere"] {
        let request = pacs.admin.request("GET", path).header("host", "rebound.example.org");
        assert_eq!(request.send().await.expect("an answer").status(), 403, "{path}");
    }
}

#[tokio::test]
async fn an_error_is_a_page_for_a_browser_and_a_sentence_for_a_program() {
    let pacs = TestServer::start().await;
    let page = pacs.admin.request("GET", "/nowhere").header("accept", "text/html").send();
    let page = page.await.expect("an answer");
    assert_eq!(page.status(), 404);
    let page = scraper::Html::parse_document(&page.text().await.expect("text"));
    assert_eq!(texts(&page, "h1"), ["Not found"]);
    let plain = pacs.get("/nowhere").await;
    assert_eq!(plain.headers()["content-type"], "text/plain; charset=utf-8");
}

#[tokio::test]
async fn a_browser_that_is_not_signed_in_is_led_to_the_page_for_it_and_back() {
    let pacs = TestServer::start().await;
    let nobody = Person::nobody(&pacs);
    let asked = nobody.request("GET", "/studies?q=doe").header("accept", "text/html").send();
    let asked = asked.await.expect("an answer");
    assert_eq!(
        (asked.status().as_u16(), &asked.headers()["location"]),
        (303, &"/login?next=%2Fstudies%3Fq%3Ddoe".parse().expect("a header"))
    );
    let page = nobody.page("/login?next=%2Fstudies%3Fq%3Ddoe").await;
    let next = all(&page, "input[name=next]")
        .first()
        .and_then(|input| input.attr("value"))
        .expect("a field")
        .to_owned();
    assert_eq!(next, "/studies?q=doe");
    let picture = nobody.get("/studies/1.2.3.1/thumbnail.png").await;
    assert_eq!(picture.status(), 401);
    assert_eq!(picture.headers()["www-authenticate"], "Bearer realm=\"filmroom\"");
}

#[tokio::test]
async fn the_theme_is_remembered_without_script() {
    let pacs = TestServer::start().await;
    let fields = [("back", "/admin/system"), ("theme", "dark")];
    let response = pacs.admin.post("/admin/system", "/theme", &fields).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["location"]),
        (303, &"/admin/system".parse().expect("a header"))
    );
    let cookie = response.headers()["set-cookie"].to_str().expect("text");
    let cookie = cookie.split(';').next().expect("a value").to_owned();
    let own = pacs.admin.headers[0].1.clone();
    let page = Person::with_headers(&pacs, &[("cookie", &format!("{own}; {cookie}"))]).get("/studies").await;
    assert!(page.text().await.expect("text").contains("data-theme=\"dark\""));
}

#[tokio::test]
async fn a_static_file_is_kept_for_ever_only_under_its_hash() {
    let pacs = TestServer::start().await;
    let page = pacs.page("/studies").await;
    let hashed = all(&page, "link[rel=stylesheet]")
        .first()
        .and_then(|link| link.attr("href"))
        .expect("a link")
        .to_owned();
    let caching =
        async |path: &str| pacs.get(path).await.headers()["cache-control"].to_str().expect("text").to_owned();
    assert!(caching(&hashed).await.contains("immutable"));
    assert_eq!(caching("/static/app.css").await, "no-cache");
    assert_eq!(caching("/static/app.css?v=old").await, "no-cache");
    assert_eq!(caching("/studies").await, "no-store");
}
