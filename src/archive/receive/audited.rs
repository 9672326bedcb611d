//! Receipts in the audit trail: one for all that somebody sends of a study at a time, however much of it comes at once.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The studies that somebody has sent instances of. Cheap to clone; every clone is of the same association or request.
#[derive(Debug, Clone, Default)]
pub struct Audited(Arc<AuditedStudies>);

#[derive(Debug, Default)]
struct AuditedStudies {
    /// Whether the receipt of a study stands in the audit trail, or is being written.
    stand: Mutex<BTreeMap<String, bool>>,
    changed: Notify,
}

/// The receipt of a study that is being written.
pub(super) struct Receipt {
    of: Audited,
    study: String,
}

impl Audited {
    /// The receipt of this study, where it has still to be written. Waits for one that is being written: it may fail.
    pub(super) async fn receipt(&self, study: &str) -> Option<Receipt> {
        loop {
            let changed = self.0.changed.notified();
            let known = match self.stand().entry(study.to_owned()) {
                Slot::Occupied(known) => *known.get(),
                Slot::Vacant(free) => {
                    free.insert(false);
                    return Some(Receipt { of: self.clone(), study: study.to_owned() });
                }
            };
            if known {
                return None;
            }
            changed.await;
        }
    }

    fn stand(&self) -> MutexGuard<'_, BTreeMap<String, bool>> {
        self.0.stand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Receipt {
    /// It is written.
    pub(super) fn stands(self) {
        self.of.stand().insert(self.study.clone(), true);
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        let mut stand = self.of.stand();
        if stand.get(&self.study) == Some(&false) {
            stand.remove(&self.study);
        }
        drop(stand);
        self.of.0.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_receipt_that_fails_is_written_by_the_next_and_one_that_stands_by_nobody() {
        let audited = Audited::default();
        let first = audited.receipt("1.2").await.expect("nobody has written it");
        let second = tokio::spawn({
            let audited = audited.clone();
            async move { audited.receipt("1.2").await.map(Receipt::stands).is_some() }
        });
        tokio::task::yield_now().await;
        assert!(!second.is_finished(), "it waits for the first");
        drop(first);
        assert!(second.await.expect("no panic"), "the first was not written");
        assert!(audited.receipt("1.2").await.is_none());
        assert!(audited.receipt("1.3").await.is_some());
    }
}
