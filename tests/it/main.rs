//! Tests of the whole program.

mod support;

mod archive_identity;
mod audit;
mod cli;
mod cli_scu;
mod cli_user;
mod codec_worker;
mod db_connect;
mod db_plans;
mod db_queries;
mod db_query_plans;
mod db_schema;
mod db_size;
mod db_tls;
mod dicom_json;
mod dimse_commitment;
mod dimse_find;
mod dimse_hostile;
mod dimse_retrieve;
mod dimse_scu;
mod dimse_scu_query;
mod dimse_store;
mod durability;
mod jobs;
mod memory;
mod private_server;
mod pydicom_files;
mod race;
mod regression;
mod sign_in;
mod start_up;
mod tidy;
mod tls_dicom;
mod tls_http;
mod transcode;
mod viewer_browser;
mod web_access;
mod web_account;
mod web_association;
mod web_browser;
mod web_group;
mod web_hostile;
mod web_job;
mod web_peer;
mod web_picture;
mod web_refused;
mod web_remote;
mod web_role;
mod web_share;
mod web_study;
mod web_user;
mod web_viewer;

#[path = "../../benches/peers/rows.rs"]
mod rows;
