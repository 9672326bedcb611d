//! A turn of a job that sends instances to a peer.

use std::collections::HashMap;
use std::ops::ControlFlow;

use tokio::sync::watch;

use super::Tools;
use super::attempt::Trouble;
use super::ledger::Ledger;
use crate::archive::retrieve::outgoing::Outgoing;
use crate::archive::retrieve::sendable::Unsendable;
use crate::db::job::Job;
use crate::db::job::turn::{self, Item, Settled};
use crate::db::peer::{self, Peer};
use crate::db::{self};
use crate::dimse::scu::Error;
use crate::dimse::scu::send::{Outcome, kind, parted, send};

/// Instances over one association.
const AT_ONCE: u64 = 1000;
/// A peer that ended so many associations over one instance, and took others, does not want that one.
const MOST_BREAKS: u32 = 10;

/// Sends what waits, until the end, trouble, or a word that it is to end. Returns what kept it from trying all.
pub async fn attempt(
    tools: &Tools,
    job: &Job,
    ledger: &Ledger,
    to_end: &mut watch::Receiver<bool>,
) -> Option<Trouble> {
    match try_to(tools, job, ledger, to_end).await {
        Ok(trouble) => trouble,
        Err(err) => Some(Trouble::ForNow(err)),
    }
}

async fn try_to(
    tools: &Tools,
    job: &Job,
    ledger: &Ledger,
    to_end: &watch::Receiver<bool>,
) -> Result<Option<Trouble>, String> {
    let (peer, items) = peer_and_items(tools, job, AT_ONCE).await.map_err(|err| err.to_string())?;
    let Some(peer) = peer else { return Ok(Some(no_peer(job))) };
    let called = tools.requestor.called(&peer).map_err(|err| err.to_string())?;
    let uids = items.iter().map(|item| item.sop_instance_uid.clone()).collect();
    let held = tools.archive.outgoing(uids).await.map_err(|err| err.to_string())?;
    let mut held: HashMap<String, Outgoing> =
        held.into_iter().map(|one| (one.sop_instance_uid.to_string(), one)).collect();
    let mut instances = Vec::with_capacity(items.len());
    for item in items {
        match held.remove(&item.sop_instance_uid) {
            Some(instance) => instances.push((item, instance)),
            None => {
                let gone = "it is not in the archive any more".to_owned();
                ledger.note(item.item_number, Settled::Failed(gone));
            }
        }
    }
    // What takes more contexts than an association has, has its turn next.
    let kinds = instances.iter().map(|(_, instance)| kind(instance)).collect();
    let Some((group, contexts)) = parted(kinds).into_iter().next() else { return Ok(None) };
    instances.retain(|(_, instance)| group.contains(&kind(instance)));
    let mut association = match tools.requestor.associate(&called, contexts).await {
        Ok(association) => association,
        Err(err @ Error::NothingAccepted(_)) => {
            for (item, _) in &instances {
                ledger.note(item.item_number, Settled::Failed(err.to_string()));
            }
            return Ok(None);
        }
        Err(err) => return Err(err.to_string()),
    };
    let items: HashMap<&str, &Item> =
        instances.iter().map(|(item, instance)| (instance.sop_instance_uid.as_str(), item)).collect();
    let mut trouble = None;
    let on_each = async |instance: &Outgoing, outcome: Outcome| {
        let Some(item) = items.get(instance.sop_instance_uid.as_str()) else {
            return ControlFlow::Continue(());
        };
        let (settled, hindrance) = settled(item, outcome);
        ledger.note(item.item_number, settled);
        trouble = hindrance;
        match trouble.is_some() || *to_end.borrow() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    };
    send(&mut association, instances.iter().map(|(_, instance)| instance), None, on_each).await;
    if trouble.is_none()
        && let Err(err) = association.release().await
    {
        tracing::warn!(%err, "everything was sent, but the association did not end well");
    }
    Ok(trouble.map(Trouble::ForNow))
}

/// What an outcome means for an item, and what of it keeps the others from going now.
fn settled(item: &Item, outcome: Outcome) -> (Settled, Option<String>) {
    match outcome {
        Outcome::Sent(_) => (Settled::Done, None),
        Outcome::Refused(response) => (Settled::Failed(response.in_words()), None),
        // What keeps this one from being read keeps the others too.
        Outcome::Unsendable(Unsendable { why, is_passing: true }) => (Settled::Later(why.clone()), Some(why)),
        Outcome::Unsendable(Unsendable { why, is_passing: false }) => (Settled::Failed(why), None),
        Outcome::Later(response) => {
            let words = response.in_words();
            (Settled::Later(words.clone()), Some(words))
        }
        Outcome::Broken(err) => {
            let words = err.to_string();
            let is_its_doing =
                matches!(err, Error::Aborted(_) | Error::Closed | Error::Released | Error::Connection(_));
            match is_its_doing && item.attempts + 1 >= MOST_BREAKS {
                true => (Settled::Failed(words.clone()), Some(words)),
                false => (Settled::Later(words.clone()), Some(words)),
            }
        }
    }
}

/// The peer of a job, if it is one still, and what waits.
pub(super) async fn peer_and_items(
    tools: &Tools,
    job: &Job,
    most: u64,
) -> Result<(Option<Peer>, Vec<Item>), db::Error> {
    let mut conn = db::acquire(&tools.pool).await?;
    let peer = peer::by_ae_title(&mut conn, &job.ae_title).await?;
    let items = turn::waiting(&mut conn, job.job_key, most).await?;
    Ok((peer, items))
}

pub(super) fn no_peer(job: &Job) -> Trouble {
    Trouble::ForGood(format!("{} is no peer any more", job.ae_title))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dimse::scu::Response;

    fn item(attempts: u32) -> Item {
        Item {
            item_number: 1,
            study_instance_uid: "1.2".into(),
            series_instance_uid: "1.2.3".into(),
            sop_instance_uid: "1.2.3.4".into(),
            attempts,
        }
    }

    fn response(status: u16) -> Response {
        Response { status, error_comment: None }
    }

    #[test]
    fn a_refusal_is_the_instances_and_a_full_disk_everybodys() {
        let (one, all) = settled(&item(0), Outcome::Refused(response(0xC000)));
        assert!(matches!(one, Settled::Failed(words) if words.contains("C000H")) && all.is_none());
        let (one, all) = settled(&item(0), Outcome::Later(response(0xA700)));
        assert!(matches!(one, Settled::Later(_)) && all.is_some());
        assert_eq!(settled(&item(0), Outcome::Sent(response(0xB000))).0, Settled::Done);
    }

    #[test]
    fn our_own_trouble_fails_no_instance() {
        let unsendable = |is_passing| Outcome::Unsendable(Unsendable { why: "words".to_owned(), is_passing });
        assert!(matches!(settled(&item(0), unsendable(true)), (Settled::Later(_), Some(_))));
        assert!(matches!(settled(&item(0), unsendable(false)), (Settled::Failed(_), None)));
    }

    #[test]
    fn an_instance_that_ends_ten_associations_is_given_up_and_a_silent_peer_is_not() {
        let broken = |attempts, err| settled(&item(attempts), Outcome::Broken(err)).0;
        assert!(matches!(broken(8, Error::Closed), Settled::Later(_)));
        assert!(matches!(broken(9, Error::Closed), Settled::Failed(_)));
        let silence = Error::TimedOut { what: "respond", after: std::time::Duration::from_secs(1) };
        assert!(matches!(broken(99, silence), Settled::Later(_)));
    }
}
