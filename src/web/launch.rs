//! Viewers on the reader's own computer: Weasis, which an address that begins with `weasis:` starts, and which reads by
//! DICOMweb. It has no cookie of ours, so it gets a token for the one study.
//!
//! How such an address is written: <https://weasis.org/en/getting-started/weasis-protocol/>.

use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{Data, Path};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::App;
use super::access::{Caller, Posted};
use super::dicomweb;
use super::error::Error;
use super::page;
use super::routes::CONTENT_SECURITY_POLICY;
use crate::db;
use crate::db::audit::Action;
use crate::db::role::{Right, Rights};
use crate::dicom::uid::StudyInstanceUid;
use crate::people::own;

/// What the token is called in the list of one's tokens.
const WEASIS: &str = "Weasis";

/// A button and nothing else.
#[derive(Deserialize)]
pub struct LaunchForm {}

/// `POST /studies/{StudyInstanceUID}/weasis`: makes a token for the study, and starts Weasis with it.
pub async fn weasis(
    caller: Caller,
    uid: Path<String>,
    _form: Posted<LaunchForm>,
    app: Data<App>,
) -> Result<HttpResponse, Error> {
    let user = caller.signed_in()?;
    let uid: StudyInstanceUid = uid.parse().map_err(|_| Error::NotFound)?;
    let study = app.archive.study(&uid, &caller.visibility).await?.ok_or(Error::NotFound)?;
    let scope = Rights::of(&[Right::View, Right::Download]);
    let entry =
        caller.did(Action::ChangeAccount, "made a token for this study, for Weasis").study(uid.as_str());
    let mut conn = db::acquire(&app.pool).await?;
    let mut change = conn.start_transaction(Default::default()).await?;
    if !db::session::hold(&mut change, caller.session_key()).await? {
        return Err(Error::SignIn);
    }
    let token = own::add_token_for_study(&mut change, user, WEASIS, scope, study.study_key, entry).await?;
    change.commit().await?;
    Ok(page::see_other(&address(&dicomweb::root(&caller), &uid, &token)))
}

fn address(root: &str, study: &StudyInstanceUid, token: &str) -> String {
    let command =
        format!("$dicom:rs --url \"{root}\" -r \"studyUID={study}\" -H \"Authorization: Bearer {token}\"");
    format!("weasis://{}", utf8_percent_encode(&command, NON_ALPHANUMERIC))
}

/// A page with the button: its form leads to an address that is none of ours, which browsers follow where the policy of
/// the page says so.
pub fn may_start_weasis(mut page: HttpResponse) -> HttpResponse {
    let policy = CONTENT_SECURITY_POLICY.replace("form-action 'self'", "form-action 'self' weasis:");
    if let Ok(policy) = HeaderValue::try_from(policy) {
        page.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_holds_one_command_with_everything_encoded() {
        let address = address("https://pacs.example.org/dicom-web", &"1.2.3".parse().unwrap(), "filmroom_0f");
        let encoded = address.strip_prefix("weasis://").unwrap();
        assert!(encoded.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'%'), "{encoded}");
        assert_eq!(
            percent_encoding::percent_decode_str(encoded).decode_utf8().unwrap(),
            "$dicom:rs --url \"https://pacs.example.org/dicom-web\" -r \"studyUID=1.2.3\" \
             -H \"Authorization: Bearer filmroom_0f\""
        );
    }
}
