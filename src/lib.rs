//! filmroom: a PACS in one executable for small practices.
//!
//! # The map
//!
//! ```text
//! main -> cli -> server -> { web, dimse, jobs } -> archive -> { codec, db, storage } -> dicom
//!                   web -> { codec, render } -> dicom
//!                   web -> people -> db
//!                   web, dimse, jobs -> db  (what needs no archive)
//!                   web, jobs, cli -> dimse::scu
//! ```
//!
//! - [`dicom`]: the standard's vocabulary, pure: the walk over a data set, character sets, attributes, queries.
//! - [`dimse`]: DICOM on the wire; a file per service.
//! - [`archive`]: what a PACS does with instances, and the only writer of them.
//! - [`db`]: all SQL, and only SQL. [`storage`]: the files.
//! - [`codec`]: encoded frames to samples, C and C++ codecs in child processes. [`render`]: samples to pictures.
//! - [`people`]: signing in, passwords and second factors, and the audit trail people leave. Whose studies somebody sees
//!   is one condition, [`db::visibility`]; what a role may, [`db::role`].
//! - [`jobs`]: sending and retrieving, as rows of a table that a few threads work off; storage commitment likewise.
//! - [`web`]: pages, pictures and, below `web::dicomweb`, DICOMweb; `web::routes` is its table of contents, with what each
//!   address asks of the caller. `web::ohif` serves a second viewer, which is no part of the program.
//! - [`server`]: builds all of it and stops it in the right order. [`private_server`]: the database server we run
//!   where there is none. [`tls`]: certificates, ours and those of others. [`config`], [`cli`]: settings and commands.
//!   [`demo`]: synthetic studies.
//!
//! # What always holds
//!
//! 1. A sender is told Success after the file, its directory entry and its rows are durable, never before.
//! 2. There is never a row without its file; a crash leaves at worst a file without a row.
//! 3. A data set is stored as it came; nothing writes into a stored file.
//! 4. No received text is part of a path, of SQL or of markup.
//! 5. Bytes from outside pass [`dicom::prescan`] before anything else looks at them; no declared length is believed.
//! 6. Whatever a caller is told of studies passed [`db::visibility::Visibility`]; no address is without what it `Needs`.
//! 7. The row of the audit trail is committed before what it tells of is answered.
//! 8. No password, token or link is stored or logged; no name or ID of a patient is logged.
//! 9. One thread, the committer, writes instances; one process serves a database (a lock by name says so).
//! 10. An instance is said to be safely stored only after its file was read again and had the hash of what was received.
//!
//! # A C-STORE arrives
//!
//! [`dimse::listener`] accepts the connection, reads the A-ASSOCIATE-RQ, asks [`dimse::access`] who that is, and
//! answers with the contexts of `dimse::negotiation`. `dimse::scp` reads command after command and hands a C-STORE to
//! `dimse::c_store`, which pushes fragment by fragment into an [`archive::receive::Reception`]; all of it on a thread of
//! the association's own, so that a fragment goes from the socket to the temporary file without a hand-over. At the last
//! fragment the disk is told to begin; meanwhile the rest is hashed, the file is walked through
//! ([`dicom::prescan::scan`]), its attributes are read ([`dicom::attributes::Attributes`]), and it gets its final path
//! ([`storage::Storage::place`]). Then it queues at the [`archive::commit::Committer`], which writes the rows of whatever
//! is waiting in one transaction ([`db::ingest::batch`]) while the association's thread waits for file and directory to
//! be on the disk ([`storage::Placed::sync`]); only then it commits, and answers all of the batch. The outcome
//! becomes a status of PS3.4 Table B.2-1 in `dimse::c_store`.
//!
//! What comes over HTTP, by STOW-RS or from the upload page, is brought by `web::intake` to a thread that may wait, taken apart
//! by `web::multipart` or out of a ZIP file, and pushed into the same reception by [`archive::import`], several at once.
//!
//! # A browser asks for a frame
//!
//! `GET /instances/{uid}/frames/{n}.png` reaches `web::picture` through the guard of [`web::access`], which finds out who
//! asks and what they may see; an instance that is not theirs is not found. The query string
//! becomes a `View` at the door; a known ETag is answered with 304 before anything is read. Otherwise the instance's
//! row tells file and offsets, [`archive::retrieve`] reads the header (from memory, mostly) and the bytes of that one
//! frame with `pread`, [`codec::Decoder`] decodes them (in a child process where the codec is C or C++), and
//! [`render::png`] takes the samples, a band of rows at a time, through modality LUT, window and palette to a PNG
//! file. What cannot be drawn becomes a tile and a sentence. Before either is answered, [`people::trail`] has the row for
//! the series, once for all of its frames.

pub mod archive;
pub mod cli;
pub mod codec;
pub mod config;
pub mod db;
pub mod demo;
pub mod dicom;
pub mod dimse;
pub mod jobs;
pub mod people;
pub mod private_server;
pub mod render;
pub mod server;
pub mod storage;
pub mod tls;
pub mod web;
