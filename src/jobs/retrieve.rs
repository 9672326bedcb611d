//! A turn of a job that retrieves studies from a peer, by C-GET into the archive or by C-MOVE to our own port.

use std::time::Duration;

use dicom_dictionary_std::tags;
use tokio::sync::watch;
use tokio::time::Instant;

use super::Tools;
use super::attempt::Trouble;
use super::ledger::Ledger;
use super::send::{no_peer, peer_and_items};
use crate::db::job::turn::{Item, Settled};
use crate::db::job::{Job, Method};
use crate::dicom::query::Level;
use crate::dicom::query::remote::Identifier;
use crate::dicom::service::Service;
use crate::dicom::uid::SopClassUid;
use crate::dimse::scu::{Called, Error, FindLimits, Progress, Proposal, Receiver, Retrieved};

/// Studies in one turn.
const AT_ONCE: u64 = 100;
/// How often a study is tried of which some instances failed.
const MOST_ATTEMPTS: u32 = 3;
/// How long the peer gets to say what a study is made of.
const ASKING: Duration = Duration::from_secs(15);

/// Retrieves what waits, until the end, trouble, or a word that it is to end. Returns what kept it from trying all.
pub async fn attempt(
    tools: &Tools,
    job: &Job,
    ledger: &Ledger,
    to_end: &mut watch::Receiver<bool>,
) -> Option<Trouble> {
    let (peer, items) = match peer_and_items(tools, job, AT_ONCE).await {
        Ok(found) => found,
        Err(err) => return Some(Trouble::ForNow(err.to_string())),
    };
    let Some(peer) = peer else { return Some(no_peer(job)) };
    let called = match tools.requestor.called(&peer) {
        Ok(called) => called,
        Err(err) => return Some(Trouble::ForNow(err.to_string())),
    };
    let method = job.method.unwrap_or(Method::Get);
    for item in &items {
        let on_progress = |progress: Progress| {
            let (expected, completed) = (progress.total(), progress.done());
            let failed = progress.failed.into();
            ledger.note(item.item_number, Settled::Progress { expected, completed, failed });
        };
        let retrieved = match method {
            Method::Get => get(tools, &called, item, to_end, on_progress).await,
            Method::Move => have_sent(tools, &called, item, to_end, on_progress).await,
        };
        if *to_end.borrow() && !is_whole(&retrieved) {
            return None;
        }
        let (settled, hindrance) = settled(item, method, retrieved);
        ledger.note(item.item_number, settled);
        if let Some(hindrance) = hindrance {
            return Some(Trouble::ForNow(hindrance));
        }
        if *to_end.borrow() {
            return None;
        }
    }
    None
}

/// What one retrieve came to, with what we refused ourselves.
struct Came {
    retrieved: Retrieved,
    stored: u32,
    refused: u32,
    refusals: Vec<String>,
}

async fn get(
    tools: &Tools,
    called: &Called,
    item: &Item,
    to_end: &mut watch::Receiver<bool>,
    on_progress: impl FnMut(Progress),
) -> Result<Came, Error> {
    let identifier = identifier(item);
    let mut contexts = vec![Proposal::asking(identifier.sop_class(Service::Get))];
    contexts.extend(Proposal::for_retrieval(&sop_classes(tools, called, item).await));
    let mut association = tools.requestor.associate(called, contexts).await?;
    let mut receiver = Receiver::archive(&tools.archive, called);
    let retrieved = association.get(&identifier, &mut receiver, to_end, on_progress).await?;
    end(association.release().await);
    Ok(Came { retrieved, stored: receiver.stored, refused: receiver.refused, refusals: receiver.refusals })
}

async fn have_sent(
    tools: &Tools,
    called: &Called,
    item: &Item,
    to_end: &mut watch::Receiver<bool>,
    on_progress: impl FnMut(Progress),
) -> Result<Came, Error> {
    let identifier = identifier(item);
    let contexts = vec![Proposal::asking(identifier.sop_class(Service::Move))];
    let mut association = tools.requestor.associate(called, contexts).await?;
    let us = &tools.requestor.ae_title;
    let retrieved = association.retrieve_to(us, &identifier, to_end, on_progress).await?;
    end(association.release().await);
    Ok(Came { retrieved, stored: 0, refused: 0, refusals: Vec::new() })
}

fn end(released: Result<(), Error>) {
    if let Err(err) = released {
        tracing::warn!(%err, "everything was retrieved, but the association did not end well");
    }
}

fn identifier(item: &Item) -> Identifier {
    match item.series_instance_uid.as_str() {
        "" => Identifier::study(&item.study_instance_uid),
        series => Identifier::series(&item.study_instance_uid, series),
    }
}

/// SOP Classes in Study (0008,0062), where the peer tells; none otherwise, and then the usual ones are proposed.
async fn sop_classes(tools: &Tools, called: &Called, item: &Item) -> Vec<SopClassUid> {
    let identifier = Identifier::new(Level::Study)
        .matching(tags::STUDY_INSTANCE_UID, &item.study_instance_uid)
        .returning(tags::SOP_CLASSES_IN_STUDY);
    let contexts = vec![Proposal::asking(identifier.sop_class(Service::Find))];
    let mut classes: Vec<SopClassUid> = Vec::new();
    let asked = async {
        let mut association = tools.requestor.associate(called, contexts).await?;
        let limits = FindLimits { matches: 10, until: Instant::now() + ASKING };
        let found = association.find(&identifier, limits, |answer| {
            let told = answer.texts(tags::SOP_CLASSES_IN_STUDY);
            classes.extend(told.iter().filter_map(|uid| uid.parse().ok()));
        });
        found.await?;
        association.release().await
    };
    if let Err(err) = asked.await {
        tracing::info!(%err, "the peer does not say what a study is made of");
    }
    classes
}

fn is_whole(came: &Result<Came, Error>) -> bool {
    came.as_ref().is_ok_and(|came| came.retrieved.response.status == 0)
}

/// What it means for an item, and what of it keeps the others from being tried now.
fn settled(item: &Item, method: Method, came: Result<Came, Error>) -> (Settled, Option<String>) {
    let came = match came {
        Ok(came) => came,
        Err(err @ (Error::NotAccepted { .. } | Error::NothingAccepted(_))) => {
            return (Settled::Failed(format!("{err}. {}", other_way(method))), None);
        }
        Err(err) => {
            let words = err.to_string();
            return (Settled::Later(words.clone()), Some(words));
        }
    };
    let Came { retrieved: Retrieved { response, progress }, stored, refused, refusals } = came;
    let (done, total) = (progress.done().max(stored), progress.total().max(stored + refused));
    // What we refused is missing, whatever the peer makes of that.
    let missing = u32::from(progress.failed).max(refused);
    // Of a C-MOVE without numbers nobody knows how much came.
    let is_counted = progress.is_told || method == Method::Get;
    match response.status {
        0xA700..=0xA7FF if missing == 0 || done == 0 => {
            let words = response.in_words();
            (Settled::Later(words.clone()), Some(words))
        }
        0xA800..=0xAFFF | 0xC000..=0xCFFF | 0x0100..=0x02FF => {
            (Settled::Failed(format!("{}. {}", sentence(&response.in_words()), other_way(method))), None)
        }
        _ if missing == 0 && total == 0 && is_counted => {
            (Settled::Failed("the peer has no such study".to_owned()), None)
        }
        _ if missing == 0 && response.is_done() => (Settled::Done, None),
        _ => {
            let reasons = refusals.first().map_or_else(|| response.in_words(), Clone::clone);
            let words = format!("{missing} of {total} instances did not come: {reasons}");
            match item.attempts + 1 >= MOST_ATTEMPTS {
                true => (Settled::Failed(words), None),
                false => (Settled::Later(words.clone()), Some(words)),
            }
        }
    }
}

fn sentence(text: &str) -> &str {
    text.trim_end_matches('.')
}

fn other_way(method: Method) -> &'static str {
    match method {
        Method::Get => "Retrieving by C-MOVE may work",
        Method::Move => "Retrieving by C-GET may work",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dimse::scu::Response;

    fn item(attempts: u32) -> Item {
        Item {
            item_number: 1,
            study_instance_uid: "1.2".into(),
            series_instance_uid: String::new(),
            sop_instance_uid: String::new(),
            attempts,
        }
    }

    fn came(status: u16, completed: u16, failed: u16) -> Result<Came, Error> {
        let progress = Progress { completed, failed, is_told: true, ..Progress::default() };
        let retrieved = Retrieved { response: Response { status, error_comment: None }, progress };
        Ok(Came { retrieved, stored: 0, refused: 0, refusals: Vec::new() })
    }

    fn outcome(attempts: u32, came: Result<Came, Error>) -> (Settled, bool) {
        let (settled, hindrance) = settled(&item(attempts), Method::Get, came);
        (settled, hindrance.is_some())
    }

    #[test]
    fn a_study_is_done_when_nothing_of_it_is_missing() {
        assert_eq!(outcome(0, came(0, 5, 0)), (Settled::Done, false));
        assert_eq!(outcome(0, came(0xB000, 5, 0)), (Settled::Done, false));
        assert!(
            matches!(outcome(0, came(0, 0, 0)).0, Settled::Failed(words) if words.contains("no such study"))
        );
    }

    #[test]
    fn what_we_refused_is_missing_also_where_the_peer_counts_it_as_done() {
        let mut came = came(0, 5, 0).unwrap();
        (came.stored, came.refused, came.refusals) = (4, 1, vec!["The disk is full".to_owned()]);
        let (settled, goes_on) = outcome(0, Ok(came));
        assert!(matches!(settled, Settled::Later(words) if words.ends_with("The disk is full")));
        assert!(goes_on);
    }

    #[test]
    fn a_move_without_numbers_is_done_and_a_get_that_brought_nothing_is_not() {
        let silent = || {
            let retrieved = Retrieved {
                response: Response { status: 0, error_comment: None },
                progress: Progress::default(),
            };
            Ok(Came { retrieved, stored: 0, refused: 0, refusals: Vec::new() })
        };
        assert_eq!(settled(&item(0), Method::Move, silent()).0, Settled::Done);
        assert!(matches!(settled(&item(0), Method::Get, silent()).0, Settled::Failed(_)));
    }

    #[test]
    fn missing_instances_are_asked_for_again_a_few_times() {
        assert!(matches!(outcome(0, came(0xB000, 4, 1)), (Settled::Later(_), true)));
        let (settled, goes_on) = outcome(2, came(0xB000, 4, 1));
        assert!(
            matches!(settled, Settled::Failed(words) if words.starts_with("1 of 5 instances did not come"))
        );
        assert!(!goes_on);
    }

    #[test]
    fn an_unknown_destination_is_final_and_a_full_peer_is_not() {
        assert!(matches!(outcome(0, came(0xA801, 0, 0)), (Settled::Failed(_), false)));
        assert!(matches!(outcome(50, came(0xA702, 0, 0)), (Settled::Later(_), true)));
        let refused = Error::NothingAccepted("it does not support the SOP class".to_owned());
        assert!(matches!(outcome(0, Err(refused)).0, Settled::Failed(words) if words.contains("C-MOVE")));
    }
}
