//! The chain of hashes through table `audit`. Pure.
//!
//! The hash of a row is SHA-256 over the hash of the row before (32 zero bytes for the first), the row's number as eight
//! bytes, and each of its columns in the order of the table as UTF-8, with its length as four bytes before it (big
//! endian both), the time as `2026-11-22 14:05:00.123456`. A row that was changed, put in or taken out does not fit its
//! neighbours any more. Rows taken from the end leave no gap: whoever fears that writes down, elsewhere, the number and
//! the hash of the last row that `filmroom check` tells.

use sha2::{Digest, Sha256};

use super::{Entry, Recorded};

/// What stands for the hash before the first row.
pub const NOTHING: [u8; 32] = [0; 32];

/// Where the chain is broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Rows are missing.
    #[error("entries {from} to {to} of the audit trail are missing")]
    Missing {
        /// the first that is not there
        from: u64,
        /// the last that is not there
        to: u64,
    },
    /// A row is not what it was.
    #[error("entry {audit_key} of the audit trail was changed, or the one before it was")]
    Changed {
        /// its number
        audit_key: u64,
    },
}

/// The rows that follow the one with this number and hash. Texts are cut to what their columns hold.
pub(super) fn linked(key: u64, hash: &[u8], entries: &[Entry]) -> Vec<Recorded> {
    let mut rows: Vec<Recorded> = Vec::with_capacity(entries.len());
    for entry in entries {
        let (key, before) = match rows.last() {
            Some(row) => (row.audit_key, row.hash.as_slice()),
            None => (key, hash),
        };
        let mut row = Recorded {
            audit_key: key.saturating_add(1),
            recorded_at: entry.at,
            actor_kind: entry.actor.kind.as_str().to_owned(),
            actor: cut(&entry.actor.name, 64),
            address: cut(&entry.actor.address, 64),
            action: entry.action.as_str().to_owned(),
            patient: super::Patient {
                patient_id: cut(&entry.patient.patient_id, 64),
                issuer_of_patient_id: cut(&entry.patient.issuer_of_patient_id, 64),
                patient_name: cut(&entry.patient.patient_name, 324),
            },
            study_instance_uid: cut(&entry.study_instance_uid, 64),
            series_instance_uid: cut(&entry.series_instance_uid, 64),
            details: cut(&entry.details, 1000),
            outcome: entry.outcome.as_str().to_owned(),
            hash: Vec::new(),
        };
        row.hash = digest(before, &row).to_vec();
        rows.push(row);
    }
    rows
}

/// Follows the chain from the row with this number and hash through these rows, and returns the number and the hash of
/// the last.
pub fn follow(key: u64, hash: &[u8], rows: &[Recorded]) -> Result<(u64, Vec<u8>), Broken> {
    let (mut key, mut hash) = (key, hash.to_vec());
    for row in rows {
        if row.audit_key != key.saturating_add(1) {
            return Err(Broken::Missing { from: key.saturating_add(1), to: row.audit_key.saturating_sub(1) });
        }
        let expected = digest(&hash, row);
        if row.hash != expected {
            return Err(Broken::Changed { audit_key: row.audit_key });
        }
        (key, hash) = (row.audit_key, expected.to_vec());
    }
    Ok((key, hash))
}

fn digest(before: &[u8], row: &Recorded) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(before);
    hash.update(row.audit_key.to_be_bytes());
    let time = row.recorded_at.format("%Y-%m-%d %H:%M:%S%.6f").to_string();
    for text in [
        &time,
        &row.actor_kind,
        &row.actor,
        &row.address,
        &row.action,
        &row.patient.patient_id,
        &row.patient.issuer_of_patient_id,
        &row.patient.patient_name,
        &row.study_instance_uid,
        &row.series_instance_uid,
        &row.details,
        &row.outcome,
    ] {
        hash.update(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        hash.update(text.as_bytes());
    }
    hash.finalize().into()
}

pub(super) fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::audit::{Action, Actor, ActorKind};

    fn rows() -> Vec<Recorded> {
        let actor = Actor { kind: ActorKind::User, name: "anna".into(), address: "127.0.0.1".into() };
        let entry = |details: &str| Entry::of(actor.clone(), Action::Query, details);
        linked(0, &NOTHING, &[entry("one"), entry("two"), entry("three")])
    }

    #[test]
    fn rows_follow_each_other() {
        let rows = rows();
        let last = rows.last().expect("three");
        assert_eq!(follow(0, &NOTHING, &rows), Ok((3, last.hash.clone())));
        let (key, hash) = follow(0, &NOTHING, &rows[..1]).expect("whole");
        assert_eq!(follow(key, &hash, &rows[1..]), Ok((3, last.hash.clone())));
    }

    #[test]
    fn a_changed_row_shows() {
        let mut changed = rows();
        changed[1].details = "another".into();
        assert_eq!(follow(0, &NOTHING, &changed), Err(Broken::Changed { audit_key: 2 }));
        // Also where its own hash was made to fit: the next does not follow.
        changed[1].hash = digest(&changed[0].hash, &changed[1]).to_vec();
        assert_eq!(follow(0, &NOTHING, &changed), Err(Broken::Changed { audit_key: 3 }));
    }

    #[test]
    fn a_row_that_was_taken_out_shows() {
        let mut without = rows();
        without.remove(1);
        assert_eq!(follow(0, &NOTHING, &without), Err(Broken::Missing { from: 2, to: 2 }));
    }

    #[test]
    fn text_that_moves_from_one_column_to_the_next_shows() {
        let mut moved = rows();
        moved[0].actor = "ann".into();
        moved[0].address = "a127.0.0.1".into();
        assert_eq!(follow(0, &NOTHING, &moved), Err(Broken::Changed { audit_key: 1 }));
    }
}
