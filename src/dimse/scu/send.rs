//! Sends instances over an association, one after the other: what C-STORE jobs, commands and C-MOVE sub-operations
//! share. Each instance has one outcome, told as it comes; one that is refused does not keep the next from going.

use std::io::SeekFrom;
use std::ops::ControlFlow;

use tokio::fs::File;
use tokio::io::AsyncSeekExt;

use super::{
    Association, Error, MAXIMUM_PRESENTATION_CONTEXTS, MoveOriginator, Proposal, Response, StoreRequest,
};
use crate::archive::outgoing::Outgoing;
use crate::dicom::uid::TransferSyntaxUid;

/// What became of an instance.
#[derive(Debug)]
pub enum Outcome {
    /// The peer has it, with a warning or without.
    Sent(Response),
    /// The peer will not take it, however often it is tried: PS3.4 Table B.2-1, Cxxx, A9xx and the like.
    Refused(Response),
    /// It cannot be sent to this peer, in words.
    Unsendable(String),
    /// The peer cannot take it now: A7xx, out of resources.
    Later(Response),
    /// The association ended over it. Nothing more is sent.
    Broken(Error),
}

/// The contexts that sending these takes, as far as they fit into one association. The instances that need more find
/// that their context was not proposed.
pub fn proposals<'a>(instances: impl IntoIterator<Item = &'a Outgoing>) -> Vec<Proposal> {
    let pairs = instances.into_iter().map(|one| (&one.sop_class_uid, &one.transfer_syntax_uid));
    let mut proposals = Proposal::for_instances(pairs);
    proposals.truncate(MAXIMUM_PRESENTATION_CONTEXTS);
    proposals
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
    let (transfer_syntax_uid, data_set) = match data_set(association, instance).await {
        Ok(encoded) => encoded,
        Err(why) => return Outcome::Unsendable(why),
    };
    let request = StoreRequest {
        sop_class_uid: &instance.sop_class_uid,
        sop_instance_uid: &instance.sop_instance_uid,
        transfer_syntax_uid: &transfer_syntax_uid,
        move_originator: originator.cloned(),
    };
    match association.store(&request, data_set).await {
        Ok(response) if response.is_done() => Outcome::Sent(response),
        Ok(response) if matches!(response.status, 0xA700..=0xA7FF) => Outcome::Later(response),
        Ok(response) => Outcome::Refused(response),
        Err(err @ Error::NotAccepted { .. }) => Outcome::Unsendable(err.to_string()),
        Err(err) => Outcome::Broken(err),
    }
}

/// The data set of an instance in a transfer syntax that the peer has accepted for its SOP class: as it is stored. Here
/// another one would be made of it.
async fn data_set(
    association: &Association,
    instance: &Outgoing,
) -> Result<(TransferSyntaxUid, File), String> {
    let (class, stored) = (instance.sop_class_uid.as_str(), instance.transfer_syntax_uid.as_str());
    association.context_for(class, Some(stored)).map_err(|err| err.to_string())?;
    let opened = async {
        let mut file = File::open(&instance.path).await?;
        file.seek(SeekFrom::Start(instance.data_set_offset)).await?;
        std::io::Result::Ok(file)
    };
    let file = opened.await.map_err(|err| format!("its file cannot be read: {err}"))?;
    Ok((instance.transfer_syntax_uid.clone(), file))
}
