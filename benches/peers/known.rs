//! The bench as a remote AE that a server knows: it may find, get and move, and a C-MOVE may go to it.

use std::io;

use serde_json::json;

use filmroom::db::peer::{self, Encryption, PeerDetails};
use filmroom::dicom::service::{Service, Services};

use super::Bench;
use super::http::Http;
use super::server::{Product, Server};
use super::wire::AE_TITLE;

/// Makes the bench and its destination known to a server, whose index is in this database where it is filmroom.
pub fn make_known(bench: &Bench, server: &Server, database: &str) -> io::Result<()> {
    let destination = bench.destination.address;
    match server.product {
        Product::Filmroom => {
            let details = PeerDetails {
                ae_title: AE_TITLE.parse().map_err(io::Error::other)?,
                host: destination.ip().to_string(),
                port: Some(destination.port()),
                services: Service::ALL.into_iter().collect::<Services>(),
                is_destination: true,
                offers_commitment: false,
                encryption: Encryption::Optional,
                certificate: None,
                description: String::new(),
            };
            let mut conn = bench.database.connect(database)?;
            bench.database.run(peer::add(&mut conn, &details))
        }
        Product::OrthancMariadb | Product::OrthancSqlite => {
            let modality = json!({
                "AET": AE_TITLE,
                "Host": destination.ip(),
                "Port": destination.port(),
                "AllowEcho": true,
                "AllowStore": true,
                "AllowFind": true,
                "AllowGet": true,
                "AllowMove": true,
            });
            Http::to(server)?.put(&format!("/modalities/{AE_TITLE}"), &modality.to_string())
        }
        Product::Dcmqrscp => Err(io::Error::other("is told of no AE while it runs")),
    }
}
