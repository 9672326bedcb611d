//! What roles may do, and the rules for signing in.

use filmroom::db::role::{Right, Role};

use crate::support::TestServer;
use crate::support::instance::slice;
use crate::support::person::{PASSWORD, Person};
use crate::web_study::{all, texts};

/// The boxes that are ticked, but for the changes: what is taken from a role, and what is given to it.
async fn boxes(
    pacs: &TestServer,
    take: &[(Role, Right)],
    give: &[(Role, Right)],
) -> Vec<(&'static str, &'static str)> {
    let page = pacs.page("/admin/roles").await;
    let mut ticked = Vec::new();
    for role in Role::ALL {
        for right in Right::ALL {
            let selector = format!("input[name={}][value={}]", role.as_str(), right.as_str());
            let found = all(&page, &selector);
            let tick = found.first().expect("a box for each right of each role");
            let is_ticked = tick.attr("checked").is_some() && tick.attr("disabled").is_none();
            if (is_ticked && !take.contains(&(role, right))) || give.contains(&(role, right)) {
                ticked.push((role.as_str(), right.as_str()));
            }
        }
    }
    ticked
}

async fn save(pacs: &TestServer, take: &[(Role, Right)], give: &[(Role, Right)]) -> reqwest::Response {
    let fields = boxes(pacs, take, give).await;
    pacs.admin.post("/admin/roles", "/admin/roles", &fields).await
}

async fn last_details(pacs: &TestServer) -> String {
    pacs.value("SELECT details FROM audit ORDER BY audit_key DESC LIMIT 1").await
}

#[tokio::test]
async fn a_change_of_rights_counts_at_once_and_is_one_row_of_the_trail() {
    let pacs = TestServer::start().await;
    assert!(pacs.store(&slice(1, 1, 1, 1).build()).await.is_success());
    let reader = pacs.person("reader", Role::Reader).await;
    let technologist = pacs.person("technologist", Role::Technologist).await;
    let program = basic("technologist");
    let program = Person::with_headers(&pacs, &[("authorization", &program)]);
    assert_eq!(program.status("/instances/1.2.3.1.1.1.dcm").await, 403);

    assert_eq!(save(&pacs, &[], &[]).await.status(), 303);
    assert_eq!(pacs.audited("change-role").await, 0, "nothing was changed");
    assert_eq!(technologist.status("/studies").await, 200);

    let (take, give) = ([(Role::Technologist, Right::Send)], [(Role::Technologist, Right::Download)]);
    assert_eq!(save(&pacs, &take, &give).await.status(), 303);
    assert_eq!(pacs.audited("change-role").await, 1);
    assert_eq!(last_details(&pacs).await, "technologist: +download -send");
    assert_eq!(technologist.status("/studies").await, 401, "the sessions of the role are over");
    assert_eq!(reader.status("/studies").await, 200, "those of others are not");
    assert_eq!(program.status("/instances/1.2.3.1.1.1.dcm").await, 200);
}

#[tokio::test]
async fn whoever_changes_their_own_role_stays_signed_in_and_the_others_do_not() {
    let pacs = TestServer::start().await;
    let second = pacs.person("second", Role::Administrator).await;
    let take = [(Role::Administrator, Right::Delete), (Role::Reader, Right::Share)];
    assert_eq!(save(&pacs, &take, &[]).await.status(), 303);
    assert_eq!(last_details(&pacs).await, "administrator: -delete; reader: -share");
    assert_eq!(pacs.admin.status("/admin/roles").await, 200);
    assert_eq!(second.status("/admin/roles").await, 401);
}

#[tokio::test]
async fn administrators_administer_whatever_is_sent() {
    let pacs = TestServer::start().await;
    let page = pacs.page("/admin/roles").await;
    let fixed = all(&page, "input[name=administrator][value=administer][checked][disabled]");
    assert_eq!((fixed.len(), all(&page, "input[type=checkbox][disabled]").len()), (1, 1));
    assert_eq!(pacs.admin.post("/admin/roles", "/admin/roles", &[]).await.status(), 303);
    assert_eq!(pacs.admin.status("/admin/roles").await, 200);
    assert_eq!(pacs.count("role WHERE may_administer").await, 1);
    assert_eq!(pacs.count("role WHERE may_view OR sees_all OR may_edit").await, 0);
}

#[tokio::test]
async fn the_last_who_can_administer_keep_the_right() {
    let pacs = TestServer::start().await;
    let give = [(Role::Technologist, Right::Administer)];
    assert_eq!(save(&pacs, &[], &give).await.status(), 303);
    let technologist = pacs.person("technologist", Role::Technologist).await;
    let admin: u64 = pacs.value("SELECT user_key FROM user WHERE name = 'admin'").await;
    let page = format!("/admin/users/{admin}");
    assert_eq!(technologist.post(&page, &format!("{page}/disable"), &[]).await.status(), 303);

    let answer = technologist.post("/admin/roles", "/admin/roles", &[("technologist", "view")]).await;
    assert_eq!(answer.status(), 409);
    let page = scraper::Html::parse_document(&answer.text().await.expect("text"));
    assert!(texts(&page, "[role=alert]").concat().contains("last account that can administer"));
    assert_eq!(technologist.status("/admin/roles").await, 200);
    assert_eq!(pacs.audited("change-role").await, 1);
}

#[tokio::test]
async fn the_rules_for_signing_in_are_set_and_count_at_once() {
    let pacs = TestServer::start().await;
    pacs.person("reader", Role::Reader).await;
    let program = Person::with_headers(&pacs, &[("authorization", &basic("reader"))]);
    assert_eq!(program.status("/studies").await, 200);
    let page = pacs.page("/admin/sign-in").await;
    let text = texts(&page, ".facts").concat();
    assert!(text.contains("30 minutes") && text.contains("12 hours"), "{text}");
    assert_eq!(all(&page, "input[name=basic][checked]").len(), 1);
    assert_eq!(all(&page, "input[name=second_factor][checked]").len(), 0);

    let same = [("basic", "on")];
    assert_eq!(pacs.admin.post("/admin/sign-in", "/admin/sign-in", &same).await.status(), 303);
    assert_eq!(pacs.audited("change-setting").await, 0, "nothing was changed");

    assert_eq!(pacs.admin.post("/admin/sign-in", "/admin/sign-in", &[]).await.status(), 303);
    assert_eq!(program.status("/studies").await, 401);
    assert_eq!(last_details(&pacs).await, "programs may send name and password with each request: yes to no");

    let both = [("basic", "on"), ("second_factor", "on")];
    assert_eq!(pacs.admin.post("/admin/sign-in", "/admin/sign-in", &both).await.status(), 303);
    assert_eq!(pacs.audited("change-setting").await, 2);
    assert_eq!(
        pacs.admin.status("/admin/sign-in").await,
        403,
        "a second factor comes first, for this one too"
    );
}

fn basic(name: &str) -> String {
    use base64::Engine;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{name}:{PASSWORD}")))
}
