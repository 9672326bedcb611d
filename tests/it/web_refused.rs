//! Callers that are refused: each is told the right reason, and stands on the peers page with what lets it in.

use std::process::Stdio;

use dicom_dictionary_std::uids;
use dicom_ul::Pdu;
use dicom_ul::pdu::{
    AssociationRJ, AssociationRJResult, AssociationRJServiceUserReason as Reason, AssociationRJSource,
    AssociationRQ, PresentationContextProposed, PresentationContextResultReason as Verdict,
};
use filmroom::db::peer::{self, Encryption, PeerDetails, Refused};
use filmroom::dimse::access::UnknownPeers;

use crate::support::TestServer;
use crate::support::peer::{Peer, request};
use crate::web_peer::press;
use crate::web_study::{all, texts};

const ALLOW: &str = "form[action='/admin/callers/allow']";
const FORGET: &str = "form[action='/admin/callers/forget']";
const FIND: &str = uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND;

/// A server that asks about strangers.
async fn pacs() -> TestServer {
    TestServer::start_with(|config| config.unknown_peers = UnknownPeers::Ask).await
}

async fn add_peer(pacs: &TestServer, host: &str, services: &str) -> u64 {
    let details = PeerDetails {
        ae_title: "CT01".parse().expect("an AE title"),
        host: host.into(),
        port: None,
        services: services.parse().expect("services"),
        is_destination: false,
        offers_commitment: false,
        encryption: Encryption::Optional,
        certificate: None,
        description: String::new(),
    };
    let mut conn = pacs.database.connect().await;
    peer::add(&mut conn, &details).await.expect("a peer");
    conn.disconnect().await.expect("a goodbye");
    pacs.value("SELECT peer_key FROM peer").await
}

/// A request of CT01 for these SOP classes.
fn asking(called: &str, abstract_syntaxes: &[&str]) -> AssociationRQ {
    let contexts = abstract_syntaxes.iter().zip((1..).step_by(2));
    let contexts = contexts.map(|(abstract_syntax, id)| PresentationContextProposed {
        id,
        abstract_syntax: (*abstract_syntax).into(),
        transfer_syntaxes: vec![uids::EXPLICIT_VR_LITTLE_ENDIAN.into()],
    });
    AssociationRQ {
        calling_ae_title: "CT01".into(),
        called_ae_title: called.into(),
        presentation_contexts: contexts.collect(),
        ..request()
    }
}

/// What is said to each presentation context, or why the association is rejected.
async fn ask(pacs: &TestServer, request: AssociationRQ) -> Result<Vec<Verdict>, AssociationRJ> {
    let mut peer = Peer::connect(pacs.dicom).await;
    peer.send_pdu(&Pdu::AssociationRQ(request)).await;
    match peer.read_pdu().await {
        Some(Pdu::AssociationAC(ac)) => {
            Ok(ac.presentation_contexts.into_iter().map(|one| one.reason).collect())
        }
        Some(Pdu::AssociationRJ(rj)) => Err(rj),
        other => panic!("neither accepted nor rejected: {other:?}"),
    }
}

fn rejected(reason: Reason) -> Result<Vec<Verdict>, AssociationRJ> {
    let source = AssociationRJSource::ServiceUser(reason);
    Err(AssociationRJ { result: AssociationRJResult::Permanent, source })
}

/// What the page says of the one that was refused: each cell's text.
async fn shown(pacs: &TestServer) -> Vec<String> {
    texts(&pacs.page("/admin/peers").await, ".refused-callers td")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_without_the_right_is_refused_what_it_asked_for_and_allow_lets_it() {
    let pacs = pacs().await;
    add_peer(&pacs, "127.0.0.1", "echo, store").await;
    let find = || asking("FILMROOM", &[uids::CT_IMAGE_STORAGE, FIND]);
    assert_eq!(ask(&pacs, find()).await, Ok(vec![Verdict::Acceptance, Verdict::UserRejection]));

    let cells = shown(&pacs).await;
    assert_eq!((cells[0].as_str(), cells[1].as_str()), ("CT01", "127.0.0.1"));
    assert!(cells[2].starts_with("store and search"), "{cells:?}");
    assert!(cells[3].starts_with("It may not search."), "{cells:?}");
    assert!(cells[3].ends_with("Allow lets the peer CT01 search too."), "{cells:?}");
    assert!(cells[4].ends_with("1 time"), "{cells:?}");

    assert_eq!(press(&pacs, ALLOW).await.status(), 303);
    assert_eq!(ask(&pacs, find()).await, Ok(vec![Verdict::Acceptance; 2]));
    assert!(shown(&pacs).await.is_empty());
    let peers = texts(&pacs.page("/admin/peers").await, ".known-peers td[data-label='It may']");
    assert_eq!(peers, ["verify, store and search"]);
    let details: String = pacs.value("SELECT details FROM audit ORDER BY audit_key DESC LIMIT 1").await;
    assert_eq!(details, "CT01 is now CT01 at 127.0.0.1, may verify, store and search");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_from_another_address_is_rejected_and_the_button_says_what_it_changes() {
    let pacs = pacs().await;
    add_peer(&pacs, "10.0.0.7", "echo, store").await;
    let echo = || asking("FILMROOM", &[uids::VERIFICATION]);
    assert_eq!(ask(&pacs, echo()).await, rejected(Reason::CallingAETitleNotRecognized));

    let cells = shown(&pacs).await;
    assert!(
        cells[3].starts_with("It is a peer, and called from another address than the peer has."),
        "{cells:?}"
    );
    assert!(cells[3].contains("moves the peer CT01 from 10.0.0.7 to 127.0.0.1."), "{cells:?}");
    let buttons = texts(&pacs.page("/admin/peers").await, &format!("{ALLOW} button"));
    assert_eq!(buttons, ["Change host"]);

    assert_eq!(press(&pacs, ALLOW).await.status(), 303);
    assert_eq!(pacs.count("peer WHERE host = '127.0.0.1'").await, 1);
    assert_eq!(ask(&pacs, echo()).await, Ok(vec![Verdict::Acceptance]));
    assert!(shown(&pacs).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_of_another_ae_title_is_told_so_and_cannot_be_allowed() {
    let pacs = pacs().await;
    add_peer(&pacs, "", "echo, store").await;
    let wrong = asking("WRONG", &[uids::CT_IMAGE_STORAGE]);
    assert_eq!(ask(&pacs, wrong).await, rejected(Reason::CalledAETitleNotRecognized));

    let cells = shown(&pacs).await;
    assert!(cells[3].starts_with("It called another AE title than ours. It called WRONG."), "{cells:?}");
    assert!(cells[3].ends_with("At the device, enter FILMROOM as the called AE title."), "{cells:?}");
    assert!(all(&pacs.page("/admin/peers").await, ALLOW).is_empty());
    let by_hand =
        [("calling_ae_title", "CT01"), ("address", "127.0.0.1"), ("remedy", "add"), ("services", "store")];
    let answer = pacs.admin.post("/admin/peers", "/admin/callers/allow", &by_hand).await;
    assert_eq!(answer.status(), 400);

    assert_eq!(press(&pacs, FORGET).await.status(), 303);
    assert!(shown(&pacs).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn dcmtk_names_the_reasons_and_its_call_is_on_the_page() {
    let pacs = pacs().await;
    let dcmtk = async |program: &str, called: &str, options: &[&str]| {
        let mut command = tokio::process::Command::new(program);
        command.args(["-to", "20", "-aet", "DCMTK", "-aec", called]).args(options);
        command.args(["127.0.0.1", &pacs.dicom.port().to_string()]);
        let out = command.stdin(Stdio::null()).kill_on_drop(true).output().await.expect("DCMTK");
        (out.status.success(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let find = ["-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyDate="];
    let (is_done, said) = dcmtk("findscu", "FILMROOM", &find).await;
    assert!(!is_done && said.contains("Calling AE Title Not Recognized"), "{said}");
    let cells = shown(&pacs).await;
    assert_eq!(cells[0], "DCMTK");
    assert!(cells[3].starts_with("It is not among the peers."), "{cells:?}");
    assert!(cells[3].ends_with("a peer at 127.0.0.1 that may verify and search."), "{cells:?}");

    assert_eq!(press(&pacs, ALLOW).await.status(), 303);
    assert_eq!(pacs.count("peer WHERE may_find AND may_echo AND NOT may_store AND NOT may_move").await, 1);
    assert!(dcmtk("echoscu", "FILMROOM", &[]).await.0);
    let (_, said) = dcmtk("findscu", "FILMROOM", &find).await;
    assert!(!said.contains("Rejected"), "{said}");
    let (is_done, said) = dcmtk("echoscu", "NOBODY", &[]).await;
    assert!(!is_done && said.contains("Called AE Title Not Recognized"), "{said}");
    assert!(shown(&pacs).await[3].contains("It called NOBODY."));
}

#[tokio::test(flavor = "multi_thread")]
async fn allow_grants_what_was_shown_and_not_what_was_asked_for_since() {
    let pacs = pacs().await;
    let fields = async |pacs: &TestServer| {
        let page = pacs.page("/admin/peers").await;
        let inputs = all(&page, &format!("{ALLOW} input"));
        let field = |input: &scraper::ElementRef| {
            (input.attr("name").expect("a name").to_owned(), input.attr("value").expect("a value").to_owned())
        };
        inputs.iter().map(field).filter(|(name, _)| name != "token").collect::<Vec<_>>()
    };
    ask(&pacs, asking("FILMROOM", &[uids::CT_IMAGE_STORAGE])).await.expect_err("a stranger");
    let shown_then = fields(&pacs).await;
    ask(&pacs, asking("FILMROOM", &[uids::CT_IMAGE_STORAGE, FIND])).await.expect_err("a stranger");
    let posted: Vec<(&str, &str)> = shown_then.iter().map(|(name, value)| (&name[..], &value[..])).collect();
    let answer = pacs.admin.post("/admin/peers", "/admin/callers/allow", &posted).await;
    assert_eq!(answer.status(), 303);
    assert_eq!(pacs.count("peer WHERE may_store AND NOT may_find").await, 1);
    assert!(shown(&pacs).await[3].starts_with("It may not search."), "the rest is still refused");
    let again = pacs.admin.post("/admin/peers", "/admin/callers/allow", &posted).await;
    assert_eq!(again.status(), 400, "the same button would do something else now");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_form_lets_in_is_no_more_among_the_refused() {
    let pacs = pacs().await;
    let key = add_peer(&pacs, "127.0.0.1", "echo").await;
    ask(&pacs, asking("FILMROOM", &[uids::CT_IMAGE_STORAGE, FIND])).await.expect("an association");
    let edit = format!("/admin/peers/{key}");
    let save = async |fields: &[(&str, &str)]| {
        let all = [&[("ae_title", "CT01"), ("host", "127.0.0.1"), ("may_echo", "on")], fields].concat();
        assert_eq!(pacs.admin.post(&edit, &edit, &all).await.status(), 303);
    };
    save(&[("may_store", "on")]).await;
    assert!(shown(&pacs).await[3].starts_with("It may not search."), "half of it");
    save(&[("may_store", "on"), ("may_find", "on")]).await;
    assert!(shown(&pacs).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_is_no_peer_leads_to_the_form() {
    let pacs = pacs().await;
    let title = "WORK STATION&1".parse().expect("an AE title");
    let refusal = "It was named as the destination of a C-MOVE and is not among the peers.";
    let named = Refused {
        ae_title: &title,
        address: "",
        called: "",
        asked_for: "",
        services: Default::default(),
        refusal,
    };
    let mut conn = pacs.database.connect().await;
    peer::note_refused(&mut conn, &named).await.expect("a note");
    conn.disconnect().await.expect("a goodbye");

    let page = pacs.page("/admin/peers").await;
    assert!(all(&page, ALLOW).is_empty());
    let link = all(&page, ".refused-callers a").first().and_then(|link| link.attr("href")).map(str::to_owned);
    let link = link.expect("a link");
    assert!(link.ends_with("#add"), "{link}");
    let page = pacs.page(link.trim_end_matches("#add")).await;
    let title = all(&page, "#ae_title").first().and_then(|input| input.attr("value")).map(str::to_owned);
    assert_eq!(title.as_deref(), Some("WORK STATION&1"));
    assert_eq!(all(&page, "input[name=is_destination][checked]").len(), 1);

    // Without a host and a port it is none.
    let fields = [("ae_title", "WORK STATION&1"), ("is_destination", "on")];
    let answer = pacs.admin.post("/admin/peers", "/admin/peers", &fields).await;
    let page = scraper::Html::parse_document(&answer.text().await.expect("text"));
    assert_eq!(texts(&page, "#host-mistake"), ["Say where we send to: a name or an IP address."]);
    assert_eq!(texts(&page, "#port-mistake"), ["Say on which port it listens, because we send to it."]);
    assert_eq!(texts(&page, ".banner a[href='#add']"), ["Add a peer"]);
    let fields = [&fields[..], &[("host", "10.0.0.9"), ("port", "104")]].concat();
    assert_eq!(pacs.admin.post("/admin/peers", "/admin/peers", &fields).await.status(), 303);
    assert!(shown(&pacs).await.is_empty());
    assert_eq!(texts(&pacs.page("/admin/peers").await, ".known-peers .tag"), ["Destination"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_c_move_to_somebody_unknown_shows_its_destination() {
    let pacs = pacs().await;
    add_peer(&pacs, "127.0.0.1", "echo, find, move").await;
    let mut command = tokio::process::Command::new("movescu");
    command.args(["-to", "20", "-aet", "CT01", "-aec", "FILMROOM", "-aem", "NOWHERE", "-S"]);
    command.args(["-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.2.3.1"]);
    command.args(["127.0.0.1", &pacs.dicom.port().to_string()]);
    let out = command.stdin(Stdio::null()).kill_on_drop(true).output().await.expect("DCMTK");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    let cells = shown(&pacs).await;
    assert_eq!((cells[0].as_str(), cells[1].as_str()), ("NOWHERE", "did not call"), "{said}");
    assert!(cells[3].starts_with("It was named as the destination of a C-MOVE"), "{cells:?}");
    assert_eq!(texts(&pacs.page("/admin/peers").await, ".refused-callers a"), ["Add as destination"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_callers_are_text() {
    let pacs = pacs().await;
    let hostile = AssociationRQ {
        calling_ae_title: "<b onclick=1>\"'&".into(),
        ..asking("<script>x</", &["<img src=x onerror=alert(1)>", "1.2.<i>"])
    };
    assert_eq!(ask(&pacs, hostile).await, rejected(Reason::CalledAETitleNotRecognized));
    let echoing = AssociationRQ {
        calling_ae_title: "<u>\"'>{{7*7}}".into(),
        ..asking("FILMROOM", &[uids::VERIFICATION])
    };
    let _open = Peer::associate_with(pacs.dicom, echoing).await;
    for address in ["/admin/peers", "/admin/peers?ae_title=%3Cscript%3E%22&destination=%3Cscript%3E"] {
        let page = pacs.page(address).await;
        assert_eq!(texts(&page, ".refused-callers .ae-title"), ["<b onclick=1>\"'&"]);
        assert_eq!(texts(&page, ".associations .ae-title"), ["<u>\"'>{{7*7}}"]);
        assert!(all(&page, "main script, main img, main b, main i, main u, [onclick], [onerror]").is_empty());
    }
}
