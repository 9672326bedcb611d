//! What has become of items and is not in the table yet. The work writes here as it goes; whoever watches over it carries
//! this to the table every second, also when the work is cut off.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use crate::db::job::turn::Settled;

/// Shared between the work and who watches over it, on one thread.
#[derive(Default)]
pub struct Ledger {
    open: RefCell<BTreeMap<u32, Noted>>,
    has_brought: Cell<bool>,
}

/// What was noted of an item: how far it is, and what became of it.
#[derive(Default)]
struct Noted {
    progress: Option<Settled>,
    end: Option<Settled>,
}

impl Ledger {
    /// Notes what became of an item, or how far it is; what was noted of the same before is out of date.
    pub fn note(&self, item: u32, settled: Settled) {
        if matches!(settled, Settled::Done | Settled::Progress { completed: 1.., .. }) {
            self.has_brought.set(true);
        }
        let mut open = self.open.borrow_mut();
        let noted = open.entry(item).or_default();
        match settled {
            Settled::Progress { .. } => noted.progress = Some(settled),
            Settled::Done | Settled::Failed(_) | Settled::Later(_) => noted.end = Some(settled),
        }
    }

    /// Takes what is not in the table yet.
    pub fn take(&self) -> Vec<(u32, Settled)> {
        let open = std::mem::take(&mut *self.open.borrow_mut());
        let each = |(item, noted): (u32, Noted)| {
            [noted.progress, noted.end].into_iter().flatten().map(move |settled| (item, settled))
        };
        open.into_iter().flat_map(each).collect()
    }

    /// Puts back what could not be written. What was noted since is newer.
    pub fn put_back(&self, taken: Vec<(u32, Settled)>) {
        let mut open = self.open.borrow_mut();
        for (item, settled) in taken {
            let noted = open.entry(item).or_default();
            let place = match settled {
                Settled::Progress { .. } => &mut noted.progress,
                Settled::Done | Settled::Failed(_) | Settled::Later(_) => &mut noted.end,
            };
            place.get_or_insert(settled);
        }
    }

    /// Whether an instance has arrived in this turn.
    pub fn has_brought(&self) -> bool {
        self.has_brought.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_an_item_does_not_hide_how_far_it_came() {
        let ledger = Ledger::default();
        let progress = |completed| Settled::Progress { expected: 5, completed, failed: 0 };
        ledger.note(1, progress(1));
        ledger.note(1, progress(5));
        ledger.note(1, Settled::Done);
        assert_eq!(ledger.take(), [(1, progress(5)), (1, Settled::Done)]);
        assert!(ledger.take().is_empty() && ledger.has_brought());
    }

    #[test]
    fn what_was_put_back_does_not_overwrite_what_is_newer() {
        let ledger = Ledger::default();
        ledger.note(1, Settled::Done);
        ledger.put_back(vec![(1, Settled::Later("before".into())), (2, Settled::Done)]);
        assert_eq!(ledger.take(), [(1, Settled::Done), (2, Settled::Done)]);
    }
}
