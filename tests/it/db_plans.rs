//! How the server means to answer each statement that pages and senders cost: by which index.
//!
//! The statements are not copied here. The server's own log tells which ones the program sent.

use std::collections::BTreeMap;

use dicom_core::VR;
use dicom_dictionary_std::tags;
use filmroom::archive::waypoints::Waypoints;
use filmroom::db::DatabaseUrl;
use filmroom::db::study::list;
use filmroom::dicom::query::{Attribute, Direction, Key, Matching, Page, Query, Sort, SortKey};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

use crate::rows;
use crate::support::TestServer;
use crate::support::database::{administrator, statement};
use crate::support::instance::slice;

/// Studies in the archive of this test.
const STUDIES: u64 = 5000;

/// The statements that the connections to one database have sent.
struct Sent {
    administrator: DatabaseUrl,
    conn: Conn,
}

impl Sent {
    async fn record() -> Sent {
        let administrator = administrator().await;
        for set in ["SET GLOBAL log_output = 'TABLE'", "SET GLOBAL general_log = 1"] {
            statement(&administrator, set).await;
        }
        let conn = filmroom::db::open(&administrator).await.expect("a connection");
        Sent { administrator, conn }
    }

    /// The statements of the connections to this database that are still open, each once.
    async fn to(mut self, database: &str) -> Vec<String> {
        statement(&self.administrator, "SET GLOBAL general_log = 0").await;
        let sent: Vec<String> = self
            .conn
            .exec(
                "SELECT DISTINCT CONVERT(argument USING utf8mb4)
                   FROM mysql.general_log
                  WHERE command_type IN ('Execute', 'Query')
                    AND thread_id IN (SELECT id FROM information_schema.processlist WHERE db = ?)",
                (database,),
            )
            .await
            .expect("a log");
        statement(&self.administrator, "TRUNCATE TABLE mysql.general_log").await;
        sent
    }
}

#[tokio::test]
async fn explore() {
    let pacs = TestServer::start().await;
    let mut conn = pacs.database.connect().await;
    rows::fill(&mut conn, STUDIES, |_, _, _| {}).await.expect("rows");
    let sent = Sent::record().await;
    for page in ["/studies", "/studies?page=100", "/studies?q=bach+anna", "/studies?modality=CT&date=30d", "/studies?id=P&accession=A1&description=knee&referring=x&institution=p", "/studies?from=2014-01-01&to=2014-03-01", "/patients/7", "/admin/system", "/admin/quarantine"] {
        pacs.page(page).await;
    }
    let study: Option<(String, String, String)> = conn.query_first("SELECT study_instance_uid, series_instance_uid, sop_instance_uid FROM instance JOIN series USING (series_key) JOIN study USING (study_key) WHERE study_key = 7").await.unwrap();
    let (study, series, instance) = study.unwrap();
    for page in [format!("/studies/{study}"), format!("/studies/{study}/viewer?series={series}"), format!("/instances/{instance}"), format!("/instances/{instance}/frames/1.png"), format!("/series/{series}/thumbnail.png?study={study}"), format!("/series/{series}/thumbnail.png"), format!("/studies/{study}/thumbnail.png")] {
        println!("{page} {}", pacs.get(&page).await.status());
    }
    let first = slice(1, 1, 1, 1).build();
    pacs.store_all(&[first.clone_head(), slice(1,1,1,2).build(), slice(2,2,2,1).build()]).await;
    pacs.store(&slice(1,1,1,1).text(tags::PATIENT_NAME, VR::PN, "Other").build()).await;
    for s in sent.to(&pacs.database.name).await { println!("--- {s}");
        if s.trim_start().starts_with("SELECT") || s.trim_start().starts_with("UPDATE") {
            match conn.query::<Row, _>(format!("EXPLAIN FORMAT = TRADITIONAL {s}")).await { Ok(rows) => for row in rows { println!("      > {:?}", row.unwrap().iter().map(|v| v.as_sql(true)).collect::<Vec<_>>().join(" | ")); }, Err(err) => println!("      ! {err}") }
        }
    }
    panic!();
}
