//! C-MOVE SCP, PS3.4 C.4.2 and PS3.7 section 9.3.4: what was asked for is sent to an AE that the request names, which
//! has to be a peer that may be a destination.
//!
//! The destination is called by an association of our own, with a context for each pair of SOP class and transfer
//! syntax, and for native ones beside those. Where that takes more contexts than an association has, there are several
//! associations, one after the other. One that breaks is asked for once more before what is left is given up.

use std::collections::BTreeSet;

use dicom_dictionary_std::tags;

use super::Error;
use super::association::Association;
use super::command::CommandSet;
use super::negotiation::PresentationContext;
use super::scp::{Caller, Provider};
use super::scu::send::{Blocking, Kind, parted};
use super::scu::{self, Called, MoveOriginator, Proposal, StoreRequest};
use super::status::Status;
use super::sub_operations::{Ended, Retrieval, asked, encoding, failure, record, refusal};
use crate::archive::activity::Presence;
use crate::archive::retrieve::Holding;
use crate::archive::retrieve::sendable::{Sendable, Unsendable};
use crate::db::peer::Refused;
use crate::db::{self, peer};
use crate::dicom::ae_title::AeTitle;
use crate::dicom::service::Services;
use crate::dicom::uid::TransferSyntaxUid;

/// How often the destination is called again after an association with it broke without having taken anything.
const MOST_BREAKS: u32 = 1;

/// Serves one C-MOVE.
pub async fn serve(
    association: &mut Association,
    provider: &Provider,
    presence: &Presence,
    caller: &Caller,
    context: &PresentationContext,
    command: &CommandSet,
) -> Result<(), Error> {
    let mut retrieval = match asked(association, &provider.archive, context, command).await? {
        Ok(retrieval) => retrieval,
        Err(response) => return association.send_command(context.id, &response).await,
    };
    let called = match destination(provider, caller, command).await {
        Ok(called) => called,
        Err((status, sentence)) => {
            tracing::warn!("refused a C-MOVE: {sentence}");
            return association.send_command(context.id, &refusal(command, status, &sentence)).await;
        }
    };
    let to = format!("to {} for {}", called.ae_title, caller.ae_title);
    if let Err(err) = record(&provider.archive, caller, &retrieval.selection, &to).await {
        return association.send_command(context.id, &failure(command, &err)).await;
    }
    let is_cancelled = Move {
        provider,
        presence,
        called: &called,
        context,
        command,
        originator: originator(caller, command),
    }
    .send_all(association, &mut retrieval)
    .await?;
    let tally = &retrieval.tally;
    tracing::info!(
        to = %called.ae_title,
        failed = tally.failed(),
        is_cancelled,
        "sent {} instances by C-MOVE",
        tally.arrived()
    );
    let (response, identifier) = tally.end(command, is_cancelled, encoding(context));
    association.queue(context.id, &response.encode(), identifier.as_deref());
    association.flush().await
}

/// Who is to be sent it, if that is a peer which may be. One that may not is shown on the peers page.
async fn destination(
    provider: &Provider,
    caller: &Caller,
    command: &CommandSet,
) -> Result<Called, (Status, String)> {
    let unknown = |text: &str| (Status::MOVE_DESTINATION_UNKNOWN, text.to_owned());
    let Some(ae_title) = command.text(tags::MOVE_DESTINATION).and_then(|text| text.parse::<AeTitle>().ok())
    else {
        return Err(unknown("There is no Move Destination that is an AE title"));
    };
    let busy = |err: db::Error| {
        tracing::error!(err = &err as &dyn std::error::Error, "cannot look up a move destination");
        (
            Status::UNABLE_TO_CALCULATE_MATCHES,
            "The archive's database does not answer, ask again later".to_owned(),
        )
    };
    let mut conn = db::acquire(&provider.pool).await.map_err(busy)?;
    let peer = peer::by_ae_title(&mut conn, &ae_title).await.map_err(|err| busy(err.into()))?;
    let (answer, shown) = match peer {
        Some(peer) if peer.is_destination => {
            let called = provider.requestor.called(&peer);
            return called.map_err(|err| (Status::UNABLE_TO_PERFORM_SUB_OPERATIONS, err.to_string()));
        }
        Some(_) => (
            format!("{ae_title} may not be a move destination here"),
            "It was named as the destination of a C-MOVE and may not be one.",
        ),
        None => (
            format!("{ae_title} is no peer of this archive"),
            "It was named as the destination of a C-MOVE and is not among the peers.",
        ),
    };
    let refused = Refused {
        ae_title: &ae_title,
        address: "",
        called: caller.called_ae_title.as_str(),
        asked_for: &format!("a destination of {}", caller.ae_title),
        services: Services::NONE,
        refusal: shown,
    };
    peer::note_refused(&mut conn, &refused).await.map_err(|err| busy(err.into()))?;
    provider.archive.activity().refused();
    Err(unknown(&answer))
}

fn originator(caller: &Caller, command: &CommandSet) -> Option<MoveOriginator> {
    let ae_title = caller.ae_title.parse().ok()?;
    Some(MoveOriginator { ae_title, message_id: command.u16(tags::MESSAGE_ID)? })
}

/// A C-MOVE that is under way.
struct Move<'a> {
    provider: &'a Provider,
    presence: &'a Presence,
    called: &'a Called,
    context: &'a PresentationContext,
    command: &'a CommandSet,
    originator: Option<MoveOriginator>,
}

/// An association with the destination, and the kinds of instances it is for.
struct Sending {
    scu: scu::Association,
    /// Instances that it has taken or refused.
    answered: u64,
}

impl Move<'_> {
    /// Sends what was selected; whether it was cancelled.
    async fn send_all(
        &self,
        association: &mut Association,
        retrieval: &mut Retrieval,
    ) -> Result<bool, Error> {
        let kinds: BTreeSet<Kind> = retrieval
            .selection
            .kinds
            .iter()
            .map(|kind| (kind.sop_class_uid.clone(), kind.transfer_syntax_uid.clone()))
            .collect();
        for (group, proposals) in parted(kinds) {
            retrieval.selection.rewind();
            if self.send_group(association, retrieval, &group, proposals).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn send_group(
        &self,
        association: &mut Association,
        retrieval: &mut Retrieval,
        group: &BTreeSet<Kind>,
        proposals: Vec<Proposal>,
    ) -> Result<bool, Error> {
        let operation = self.command.u16(tags::MESSAGE_ID).unwrap_or(0);
        let mut sending: Option<Sending> = None;
        let mut given_up: Option<String> = None;
        let mut breaks = 0;
        loop {
            let holdings = match self.provider.archive.next_of(&mut retrieval.selection).await {
                Ok(holdings) => holdings,
                Err(err) => {
                    tracing::error!(err = &err as &dyn std::error::Error, "a retrieve ended early");
                    retrieval.tally.give_up(&format!("The archive does not know what comes next: {err}"));
                    break;
                }
            };
            if holdings.is_empty() {
                break;
            }
            let of_group = |holding: &&Holding| {
                let row = holding.row();
                group.contains(&(row.sop_class_uid.clone(), row.transfer_syntax_uid.clone()))
            };
            let mut following = holdings.iter().filter(of_group).skip(1);
            for holding in holdings.iter().filter(of_group) {
                if let Some(next) = following.next() {
                    self.provider.archive.read_ahead(next);
                }
                let ended = loop {
                    if let Some(why) = &given_up {
                        break Ended::Failed(why.clone());
                    }
                    // The requestor may cancel, or go, while the destination makes us wait.
                    let sent = tokio::select! {
                        biased;
                        cancelled = association.cancelled(operation) => {
                            cancelled?;
                            return Ok(true);
                        }
                        sent = self.send(&mut sending, &proposals, holding) => sent,
                    };
                    match sent {
                        Ok(ended) => break ended,
                        // Our own file: nobody knows what came of it, so that association is over, and the next
                        // instance has another.
                        Err(err @ scu::Error::Source(_)) => {
                            sending = None;
                            break Ended::Failed(err.to_string());
                        }
                        Err(err) => {
                            let took_some = sending.take().is_some_and(|sending| sending.answered > 0);
                            breaks = if took_some { 1 } else { breaks + 1 };
                            tracing::warn!(to = %self.called.ae_title, "a sub-operation broke off: {err}");
                            if breaks > MOST_BREAKS || is_hopeless(&err) {
                                given_up = Some(err.to_string());
                            }
                        }
                    }
                };
                if ended.is_done() {
                    self.presence.sent();
                }
                retrieval.tally.count(&holding.row().sop_instance_uid, &ended);
                let pending = retrieval.tally.pending(self.command);
                association.send_command(self.context.id, &pending).await?;
            }
        }
        if let Some(Sending { scu, .. }) = sending
            && let Err(err) = scu.release().await
        {
            tracing::debug!(to = %self.called.ae_title, "the destination did not wait for our release: {err}");
        }
        Ok(false)
    }

    /// Sends one instance, over a new association where there is none. Dropped half-way it aborts that.
    async fn send(
        &self,
        sending: &mut Option<Sending>,
        proposals: &[Proposal],
        holding: &Holding,
    ) -> Result<Ended, scu::Error> {
        let current = match sending {
            Some(current) => current,
            None => {
                let scu = self.provider.requestor.associate(self.called, proposals.to_vec()).await?;
                sending.insert(Sending { scu, answered: 0 })
            }
        };
        let (transfer_syntax, data_set) = match self.prepare(&current.scu, holding).await {
            Ok(prepared) => prepared,
            Err(err) => return Ok(Ended::Failed(err.why)),
        };
        let row = holding.row();
        let uids = (row.sop_class_uid.parse(), row.sop_instance_uid.parse());
        let (Ok(sop_class_uid), Ok(sop_instance_uid)) = uids else {
            return Ok(Ended::Failed("An index row has no usable UID".to_owned()));
        };
        let request = StoreRequest {
            sop_class_uid: &sop_class_uid,
            sop_instance_uid: &sop_instance_uid,
            transfer_syntax_uid: &transfer_syntax,
            move_originator: self.originator.clone(),
        };
        let response = current.scu.store(&request, Blocking(data_set)).await?;
        current.answered += 1;
        Ok(Ended::of(response.status, response.error_comment.as_deref()))
    }

    /// The data set in a transfer syntax that the destination has accepted.
    async fn prepare(
        &self,
        scu: &scu::Association,
        holding: &Holding,
    ) -> Result<(TransferSyntaxUid, Sendable), Unsendable> {
        let (class, stored) = (holding.row().sop_class_uid.as_str(), holding.transfer_syntax());
        let is_taken = |syntax: &str| scu.takes(class, syntax);
        if is_taken(stored.as_str()) {
            return Ok((stored.clone(), self.provider.archive.as_stored(holding)?));
        }
        let (data_set, target) = self.provider.archive.converted(holding, is_taken).await?;
        Ok((target.transfer_syntax(), data_set))
    }
}

/// Whether calling again at once will end the same.
fn is_hopeless(err: &scu::Error) -> bool {
    matches!(
        err,
        scu::Error::Rejected { transient: false, .. }
            | scu::Error::NothingAccepted(_)
            | scu::Error::Tls { .. }
    )
}
