//! Storage commitment, PS3.4 annex J: what is written down of the questions that peers ask us and that we ask them.
//! Here are the transactions; who talks to the peers is in `dimse` and `jobs`.

use std::collections::HashMap;

use super::{Archive, Error};
use crate::db::commitment::{self, Item, Whose, turn};
use crate::dicom::ae_title::AeTitle;
use crate::dicom::commitment::{FailureReason, Report, Request, Verdict};
use crate::dicom::uid::{SopInstanceUid, TransactionUid};

/// Instances that are verified between two writes to the database.
const STRETCH: usize = 100;
/// Two requests with one Transaction UID at once: one of them begins again.
const ATTEMPTS: usize = 5;
/// How long the queue leaves a request to the association it came over, seconds. It takes it at once where that one ends.
const HEAD_START: u32 = 60;

/// A request that is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noted {
    /// Its number.
    pub commitment_key: u64,
    /// Its Transaction UID was in use, so nothing of it is committed.
    pub is_duplicate: bool,
}

/// What a report of a peer changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Instances that we asked about and that the peer has stored safely.
    pub committed: usize,
    /// Instances that we asked about and that it says it has not.
    pub failed: usize,
}

impl Archive {
    /// Writes down what a peer wants to know. When this returns `Ok`, it is committed, and the peer will be answered.
    pub async fn note_commitment(&self, ae_title: &AeTitle, request: Request) -> Result<Noted, Error> {
        let ae_title = ae_title.clone();
        self.with_connection(async move |mut conn| {
            for _ in 1..ATTEMPTS {
                match note(&mut conn, &ae_title, &request).await {
                    Err(err) if crate::db::is_duplicate(&err) || crate::db::is_transient(&err) => {}
                    noted => return Ok(noted?),
                }
            }
            Ok(note(&mut conn, &ae_title, &request).await?)
        })
        .await
    }

    /// Verifies what of a peer's request has not been verified, and returns what is to be reported. What is found out on
    /// the way is kept where this is given up.
    pub async fn verify_commitment(
        &self,
        commitment_key: u64,
        transaction_uid: &TransactionUid,
        retrieve_ae_title: &AeTitle,
    ) -> Result<Report, Error> {
        let items = move |mut conn| async move { Ok(commitment::items(&mut conn, commitment_key).await?) };
        let mut items: Vec<Item> = self.with_connection(items).await?;
        let mut open: Vec<&mut Item> = items.iter_mut().filter(|item| item.verdict.is_none()).collect();
        for stretch in open.chunks_mut(STRETCH) {
            let references = stretch.iter().map(|item| item.reference.clone()).collect();
            let verdicts = self.verify(references).await;
            for (item, verdict) in stretch.iter_mut().zip(verdicts) {
                item.verdict = Some(verdict);
            }
            // What cannot be found out now is looked at again when the report has to be made again.
            let is_final = |verdict: &Verdict| *verdict != Err(FailureReason::RESOURCE_LIMITATION);
            let known: Vec<(u32, Verdict)> = stretch
                .iter()
                .filter_map(|item| Some((item.item_number, item.verdict.filter(is_final)?)))
                .collect();
            self.with_connection(async move |mut conn| {
                Ok(commitment::settle(&mut conn, commitment_key, &known).await?)
            })
            .await?;
        }
        let verdicts = items
            .into_iter()
            .map(|item| (item.reference, item.verdict.unwrap_or(Err(FailureReason::RESOURCE_LIMITATION))));
        Ok(Report {
            transaction_uid: transaction_uid.clone(),
            retrieve_ae_title: Some(retrieve_ae_title.clone()),
            verdicts: verdicts.collect(),
        })
    }

    /// The peer has taken the report.
    pub async fn end_commitment(&self, commitment_key: u64) -> Result<(), Error> {
        self.with_connection(async move |mut conn| Ok(turn::end(&mut conn, commitment_key).await?)).await
    }

    /// The association could not report: the queue is to do it now.
    pub async fn queue_commitment(&self, commitment_key: u64) -> Result<(), Error> {
        self.with_connection(async move |mut conn| Ok(turn::now(&mut conn, commitment_key).await?)).await
    }

    /// Writes down what a peer answers to a question of ours; none where we did not ask it that.
    pub async fn take_commitment(&self, ae_title: &AeTitle, report: Report) -> Result<Option<Taken>, Error> {
        let ae_title = ae_title.clone();
        self.with_connection(async move |mut conn| {
            let Some(asked) =
                commitment::of_transaction(&mut conn, &ae_title, &report.transaction_uid).await?
            else {
                return Ok(None);
            };
            let items = commitment::items(&mut conn, asked.commitment_key).await?;
            let verdicts = answered(&items, &report);
            let failed = verdicts.iter().filter(|(_, verdict)| verdict.is_err()).count();
            let mut change = conn.start_transaction(Default::default()).await?;
            commitment::settle(&mut change, asked.commitment_key, &verdicts).await?;
            turn::end(&mut change, asked.commitment_key).await?;
            change.commit().await?;
            Ok(Some(Taken { committed: verdicts.len() - failed, failed }))
        })
        .await
    }
}

async fn note(
    conn: &mut mysql_async::Conn,
    ae_title: &AeTitle,
    request: &Request,
) -> Result<Noted, mysql_async::Error> {
    let mut change = conn.start_transaction(Default::default()).await?;
    let whose = Whose::Peers(HEAD_START);
    let (commitment_key, before) =
        commitment::add(&mut change, whose, ae_title, &request.transaction_uid).await?;
    let is_duplicate = before > 0;
    let verdict = is_duplicate.then_some(Err(FailureReason::DUPLICATE_TRANSACTION_UID));
    commitment::add_items(&mut change, commitment_key, &request.references, verdict).await?;
    change.commit().await?;
    Ok(Noted { commitment_key, is_duplicate })
}

/// What the report says of what was asked, by item numbers. Of an instance it names twice, the failure counts; that the
/// question was put twice takes nothing back.
fn answered(items: &[Item], report: &Report) -> Vec<(u32, Verdict)> {
    let mut said: HashMap<&SopInstanceUid, Verdict> = HashMap::new();
    for (reference, verdict) in &report.verdicts {
        let kept = said.entry(&reference.sop_instance_uid).or_insert(*verdict);
        *kept = kept.and(*verdict);
    }
    items
        .iter()
        .filter_map(|item| Some((item, *said.get(&item.reference.sop_instance_uid)?)))
        .filter(|(item, verdict)| {
            item.verdict != Some(Ok(())) || *verdict != Err(FailureReason::DUPLICATE_TRANSACTION_UID)
        })
        .map(|(item, verdict)| (item.item_number, verdict))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::commitment::Reference;

    fn reference(uid: &str) -> Reference {
        Reference { sop_class_uid: "1.2.3".parse().unwrap(), sop_instance_uid: uid.parse().unwrap() }
    }

    #[test]
    fn only_what_was_asked_is_answered_and_a_failure_outweighs_a_success() {
        let item = |item_number, uid| Item { item_number, reference: reference(uid), verdict: None };
        let gone = Err(FailureReason::NO_SUCH_OBJECT_INSTANCE);
        let report = Report {
            transaction_uid: "1.2".parse().unwrap(),
            retrieve_ae_title: None,
            verdicts: vec![
                (reference("1.1"), Ok(())),
                (reference("1.2"), Ok(())),
                (reference("1.2"), gone),
                (reference("1.9"), Ok(())),
            ],
        };
        let items = [item(1, "1.1"), item(2, "1.2"), item(3, "1.3")];
        assert_eq!(answered(&items, &report), [(1, Ok(())), (2, gone)]);
    }

    #[test]
    fn that_a_question_was_put_twice_takes_nothing_back() {
        let item = |item_number, verdict| Item { item_number, reference: reference("1.1"), verdict };
        let twice = Err(FailureReason::DUPLICATE_TRANSACTION_UID);
        let report = Report {
            transaction_uid: "1.2".parse().unwrap(),
            retrieve_ae_title: None,
            verdicts: vec![(reference("1.1"), twice)],
        };
        assert_eq!(answered(&[item(1, Some(Ok(()))), item(2, None)], &report), [(2, twice)]);
    }
}
