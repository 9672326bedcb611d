//! filmroom: a PACS in one executable for small practices.

pub mod archive;
pub mod cli;
pub mod codec;
pub mod config;
pub mod db;
pub mod demo;
pub mod dicom;
pub mod dimse;
pub mod private_server;
pub mod render;
pub mod server;
pub mod storage;
pub mod web;
