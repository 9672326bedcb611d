//! What brought version 1 of the tables to what `schema.sql` is now.

/// Only ever appended to. Each is a single statement, so that it is done or not done, and may be run again: either it
/// changes nothing the second time, or it fails because what it makes is there.
pub const UPGRADES: &[&str] = &[
    "ALTER TABLE peer
       ADD COLUMN tls VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL DEFAULT 'optional' COMMENT 'optional; required; certificate: required, with the one below' AFTER may_store,
       ADD COLUMN certificate_sha256 BINARY(32) NULL COMMENT 'SHA-256 of the DER of its certificate' AFTER tls",
];
