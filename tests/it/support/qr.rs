//! Queries and retrieves by pynetdicom, see `qr.py`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use filmroom::db::peer::{self, Encryption, PeerDetails};
use serde_json::Value;

use super::{TestServer, python};

/// How an association and the operation on it went.
#[derive(Debug, serde::Deserialize)]
pub struct Outcome {
    /// Abstract syntaxes of the contexts that were accepted.
    pub accepted: Vec<String>,
    /// The answer to the extended negotiation.
    pub extended: Option<Vec<u8>>,
    pub responses: Vec<Response>,
    /// What arrived, by SOP Instance UID.
    pub stored: BTreeMap<String, Arrived>,
}

#[derive(Debug, serde::Deserialize)]
pub struct Arrived {
    /// Its data set, byte for byte.
    pub file: PathBuf,
    /// The transfer syntax of the context it came over.
    pub syntax: String,
}

#[derive(Debug, serde::Deserialize)]
pub struct Response {
    pub status: Option<u16>,
    pub comment: String,
    /// Remaining, Completed, Failed, Warning.
    pub counts: BTreeMap<String, Option<u16>>,
    pub keys: Option<BTreeMap<String, Value>>,
    /// Seconds since the request.
    pub after: f64,
}

impl Outcome {
    /// The status of the final response.
    pub fn status(&self) -> Option<u16> {
        self.responses.last().and_then(|response| response.status)
    }

    /// The final response.
    pub fn last(&self) -> &Response {
        self.responses.last().expect("a response")
    }

    /// A key of each match, sorted.
    pub fn all(&self, keyword: &str) -> Vec<String> {
        let mut all: Vec<String> = self.matches().map(|keys| text(keys, keyword)).collect();
        all.sort();
        all
    }

    /// The keys of each match.
    pub fn matches(&self) -> impl Iterator<Item = &BTreeMap<String, Value>> {
        let pending = |status: Option<u16>| matches!(status, Some(0xFF00 | 0xFF01));
        self.responses.iter().filter(move |response| pending(response.status)).filter_map(|r| r.keys.as_ref())
    }
}

/// The text of a key; empty where it is empty or absent.
pub fn text(keys: &BTreeMap<String, Value>, keyword: &str) -> String {
    keys.get(keyword).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Sends the request; `service` is find, get, move or refused.
pub async fn ask(pacs: &TestServer, service: &str, request: Value) -> Outcome {
    ask_all(pacs, service, vec![request]).await.pop().expect("an answer")
}

/// Sends one request after the other, each over an association of its own.
pub async fn ask_all(pacs: &TestServer, service: &str, requests: Vec<Value>) -> Vec<Outcome> {
    let requests = Value::from(requests).to_string();
    let arguments = [service.to_owned(), pacs.dicom.port().to_string(), requests];
    let out = python("qr.py", &arguments).await;
    serde_json::from_str(&out).unwrap_or_else(|err| panic!("qr.py answers JSON: {err}\n{out}"))
}

/// Makes a peer that calls from here, or is called there.
pub async fn allow(pacs: &TestServer, ae_title: &str, services: &str, port: Option<u16>) {
    let mut conn = pacs.database.connect().await;
    let details = PeerDetails {
        ae_title: ae_title.parse().expect("an AE title"),
        host: "127.0.0.1".into(),
        port,
        services: services.parse().expect("services"),
        is_destination: port.is_some(),
        offers_commitment: false,
        encryption: Encryption::Optional,
        certificate: None,
        description: String::new(),
    };
    peer::add(&mut conn, &details).await.expect("a peer");
    conn.disconnect().await.expect("a goodbye");
}
