//! C-MOVE SCP, PS3.4 C.4.2 and PS3.7 section 9.3.4: what was asked for is sent to an AE that the request names, which
//! has to be a peer that may be a destination.
//!
//! The destination is called by an association of our own, with a context for each pair of SOP class and transfer
//! syntax, and for native ones beside those. Where that takes more contexts than an association has, there are several
//! associations, one after the other. One that breaks is asked for once more before what is left is given up.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll};

use dicom_dictionary_std::tags;
use tokio::io::{AsyncRead, ReadBuf};

use super::Error;
use super::association::Association;
use super::command::CommandSet;
use super::negotiation::PresentationContext;
use super::scp::{Caller, Provider};
use super::scu::{self, Called, MAXIMUM_PRESENTATION_CONTEXTS, MoveOriginator, Proposal, Role, StoreRequest};
use super::status::Status;
use super::sub_operations::{Ended, Retrieval, asked, encoding, failure, record, refusal};
use crate::archive::activity::Presence;
use crate::archive::retrieve::Holding;
use crate::archive::retrieve::sendable::Sendable;
use crate::archive::retrieve::transcode::targets;
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

/// SOP class and transfer syntax.
type Kind = (String, String);

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
                Err(err) => return Err(Error::Unreadable(err.into())),
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
            Err(why) => return Ok(Ended::Failed(why)),
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
    ) -> Result<(TransferSyntaxUid, Sendable), String> {
        let (class, stored) = (holding.row().sop_class_uid.as_str(), holding.transfer_syntax());
        let is_taken = |syntax: &str| scu.takes(class, syntax);
        if is_taken(stored.as_str()) {
            let data_set = self.provider.archive.as_stored(holding).map_err(|err| err.to_string())?;
            return Ok((stored.clone(), data_set));
        }
        let (data_set, target) = self.provider.archive.converted(holding, is_taken).await?;
        let target = target.uid().parse().map_err(|_| "a target is no UID".to_owned())?;
        Ok((target, data_set))
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

/// The kinds of instances in groups, each with the contexts it takes, which fit into one association.
fn parted(kinds: BTreeSet<Kind>) -> Vec<(BTreeSet<Kind>, Vec<Proposal>)> {
    let mut groups: Vec<(BTreeSet<Kind>, Vec<Proposal>)> = Vec::new();
    for kind in kinds {
        let wanted = proposals(&kind);
        let fits = |(_, proposals): &&mut (BTreeSet<Kind>, Vec<Proposal>)| {
            let new = wanted.iter().filter(|wanted| !proposals.contains(wanted)).count();
            proposals.len() + new <= MAXIMUM_PRESENTATION_CONTEXTS
        };
        match groups.last_mut().filter(fits) {
            Some((group, proposals)) => {
                group.insert(kind);
                for wanted in wanted {
                    if !proposals.contains(&wanted) {
                        proposals.push(wanted);
                    }
                }
            }
            None => groups.push((BTreeSet::from([kind]), wanted)),
        }
    }
    groups
}

/// As it is stored, and each syntax it can be converted to, by itself, so that the destination chooses no other.
fn proposals((sop_class, transfer_syntax): &Kind) -> Vec<Proposal> {
    let proposal = |syntax: &str| Proposal {
        abstract_syntax: sop_class.clone(),
        transfer_syntaxes: vec![syntax.to_owned()],
        role: Role::Scu,
    };
    let mut proposals = vec![proposal(transfer_syntax)];
    let convertible = transfer_syntax.parse().map(|stored: TransferSyntaxUid| targets(&stored));
    proposals.extend(convertible.unwrap_or_default().iter().map(|target| proposal(target.uid())));
    proposals
}

/// What is read on a thread that may wait for the disk.
struct Blocking(Sendable);

impl AsyncRead for Blocking {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.0.read(buffer.initialize_unfilled())?;
        buffer.advance(read);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dicom_dictionary_std::uids;

    #[test]
    fn more_kinds_than_an_association_has_contexts_for_go_over_several() {
        let kinds: BTreeSet<Kind> =
            (0..100).map(|n| (format!("1.2.{n}"), uids::JPEG_BASELINE8_BIT.to_owned())).collect();
        let groups = parted(kinds.clone());
        assert_eq!(groups.len(), 3, "100 kinds with 3 contexts each");
        assert!(groups.iter().all(|(_, proposals)| proposals.len() <= MAXIMUM_PRESENTATION_CONTEXTS));
        let together: BTreeSet<Kind> = groups.into_iter().flat_map(|(group, _)| group).collect();
        assert_eq!(together, kinds);
    }

    #[test]
    fn what_is_native_is_offered_as_it_is_and_in_the_other_native_way() {
        let ct = uids::CT_IMAGE_STORAGE.to_owned();
        let syntaxes = |syntax: &str| -> Vec<String> {
            let proposals = proposals(&(ct.clone(), syntax.to_owned()));
            proposals.into_iter().map(|proposal| proposal.transfer_syntaxes.concat()).collect()
        };
        let native = [uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN];
        assert_eq!(syntaxes(native[0]), native);
        assert_eq!(syntaxes(uids::JPEG2000), [uids::JPEG2000, native[0], native[1]]);
        assert_eq!(syntaxes(uids::MPEG4HP41), [uids::MPEG4HP41], "a video has no native form");
    }
}
