//! Sends instances over an association, one after the other: what jobs, commands and C-MOVE sub-operations share. Each
//! instance has one outcome, told as it comes; one that is refused does not keep the next from going.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

use super::{
    Association, Error, MAXIMUM_PRESENTATION_CONTEXTS, MoveOriginator, Proposal, Response, Role, StoreRequest,
};
use crate::archive::retrieve::outgoing::Outgoing;
use crate::archive::retrieve::sendable::{Sendable, Unsendable};
use crate::archive::retrieve::transcode::targets;
use crate::dicom::uid::TransferSyntaxUid;

/// SOP class and transfer syntax.
pub type Kind = (String, String);

/// What became of an instance.
#[derive(Debug)]
pub enum Outcome {
    /// The peer has it, with a warning or without.
    Sent(Response),
    /// The peer will not take it, however often it is tried: PS3.4 Table B.2-1, Cxxx, A9xx and the like.
    Refused(Response),
    /// It cannot be sent to this peer, in words.
    Unsendable(Unsendable),
    /// The peer cannot take it now: A7xx, out of resources.
    Later(Response),
    /// The association ended over it. Nothing more is sent.
    Broken(Error),
}

/// The kind of an instance.
pub fn kind(instance: &Outgoing) -> Kind {
    (instance.sop_class_uid.to_string(), instance.transfer_syntax_uid.to_string())
}

/// Sends these, in their order, and tells the outcome of each. Ends early where `on_each` says so, or the association
/// breaks.
pub async fn send<'a>(
    association: &mut Association,
    instances: impl IntoIterator<Item = &'a Outgoing>,
    originator: Option<&MoveOriginator>,
    mut on_each: impl AsyncFnMut(&'a Outgoing, Outcome) -> ControlFlow<()>,
) {
    for instance in instances {
        let outcome = one(association, instance, originator).await;
        let is_over = matches!(outcome, Outcome::Broken(_));
        if on_each(instance, outcome).await.is_break() || is_over {
            return;
        }
    }
}

async fn one(
    association: &mut Association,
    instance: &Outgoing,
    originator: Option<&MoveOriginator>,
) -> Outcome {
    let is_taken = |syntax: &str| association.takes(instance.sop_class_uid.as_str(), syntax);
    let (transfer_syntax_uid, data_set) = match instance.data_set(is_taken).await {
        Ok(encoded) => encoded,
        Err(why) => return Outcome::Unsendable(why),
    };
    let request = StoreRequest {
        sop_class_uid: &instance.sop_class_uid,
        sop_instance_uid: &instance.sop_instance_uid,
        transfer_syntax_uid: &transfer_syntax_uid,
        move_originator: originator.cloned(),
    };
    match association.store(&request, Blocking(data_set)).await {
        Ok(response) if response.is_done() => Outcome::Sent(response),
        Ok(response) if matches!(response.status, 0xA700..=0xA7FF) => Outcome::Later(response),
        Ok(response) => Outcome::Refused(response),
        Err(err @ Error::NotAccepted { .. }) => {
            Outcome::Unsendable(Unsendable { why: err.to_string(), is_passing: false })
        }
        Err(err) => Outcome::Broken(err),
    }
}

/// The kinds of instances in groups, each with the contexts it takes, which fit into one association.
pub fn parted(kinds: BTreeSet<Kind>) -> Vec<(BTreeSet<Kind>, Vec<Proposal>)> {
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
pub struct Blocking(pub Sendable);

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
