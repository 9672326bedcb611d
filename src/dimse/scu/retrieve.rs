//! C-MOVE SCU and C-GET SCU, PS3.4 C.4.2 and C.4.3, PS3.7 sections 9.1.3 and 9.1.4. What a C-GET brings comes as
//! C-STORE requests over the same association.

use dicom_dictionary_std::tags;
use tokio::sync::watch;

use super::association::Message;
use super::find::{CANCEL_PATIENCE, request};
use super::receiver::Receiver;
use super::{Association, Error, Response};
use crate::dicom::ae_title::AeTitle;
use crate::dicom::query::remote::Identifier;
use crate::dicom::service::Service;
use crate::dimse::command::{self, CommandSet};

/// Bytes of the data set of a response: a list of UIDs that failed, 66 each.
const LONGEST_LIST: usize = 8 * 1024 * 1024;

/// How far a retrieve is: numbers of sub-operations, PS3.7 section 9.1.3.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// (0000,1020); none where the peer does not say.
    pub remaining: Option<u16>,
    /// (0000,1021)
    pub completed: u16,
    /// (0000,1022)
    pub failed: u16,
    /// (0000,1023)
    pub warning: u16,
    /// The peer has told numbers at all, which it need not, PS3.7 section 9.1.4.
    pub is_told: bool,
}

/// How a retrieve ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retrieved {
    /// The final response.
    pub response: Response,
    /// The last numbers that were told.
    pub progress: Progress,
}

impl Progress {
    /// What is done of it.
    pub fn done(&self) -> u32 {
        u32::from(self.completed) + u32::from(self.warning)
    }

    /// All sub-operations there are, as far as is known.
    pub fn total(&self) -> u32 {
        self.done() + u32::from(self.failed) + u32::from(self.remaining.unwrap_or(0))
    }

    /// As a response tells it; numbers that it leaves out stay as they were.
    fn told(self, response: &CommandSet) -> Progress {
        let number = |tag, before| response.u16(tag).unwrap_or(before);
        let numbers = [
            tags::NUMBER_OF_COMPLETED_SUBOPERATIONS,
            tags::NUMBER_OF_FAILED_SUBOPERATIONS,
            tags::NUMBER_OF_WARNING_SUBOPERATIONS,
        ];
        Progress {
            is_told: self.is_told || numbers.iter().any(|tag| response.u16(*tag).is_some()),
            remaining: response.u16(tags::NUMBER_OF_REMAINING_SUBOPERATIONS),
            completed: number(tags::NUMBER_OF_COMPLETED_SUBOPERATIONS, self.completed),
            failed: number(tags::NUMBER_OF_FAILED_SUBOPERATIONS, self.failed),
            warning: number(tags::NUMBER_OF_WARNING_SUBOPERATIONS, self.warning),
        }
    }
}

impl Association {
    /// C-GET: has what the identifier names sent here, into `receiver`. `stop` becoming true cancels it.
    pub async fn get(
        &mut self,
        identifier: &Identifier,
        receiver: &mut Receiver,
        stop: &mut watch::Receiver<bool>,
        on_progress: impl FnMut(Progress),
    ) -> Result<Retrieved, Error> {
        let sop_class = identifier.sop_class(Service::Get);
        let (context, encoding) = self.message_context(sop_class)?;
        let message_id = self.next_message_id();
        self.send_command(context, &request(sop_class, command::C_GET_RQ, message_id)).await?;
        self.send_data_set(context, identifier.encode(encoding).as_slice()).await?;
        let asked = Asked { context, message_id, response: command::C_GET_RSP };
        self.sub_operations(asked, Some(receiver), stop, on_progress).await
    }

    /// C-MOVE: has what the identifier names sent to `destination`, which the peer has to know. `stop` becoming true
    /// cancels it.
    pub async fn retrieve_to(
        &mut self,
        destination: &AeTitle,
        identifier: &Identifier,
        stop: &mut watch::Receiver<bool>,
        on_progress: impl FnMut(Progress),
    ) -> Result<Retrieved, Error> {
        let sop_class = identifier.sop_class(Service::Move);
        let (context, encoding) = self.message_context(sop_class)?;
        let message_id = self.next_message_id();
        let mut request = request(sop_class, command::C_MOVE_RQ, message_id);
        request.set_text(tags::MOVE_DESTINATION, destination.as_str());
        self.send_command(context, &request).await?;
        self.send_data_set(context, identifier.encode(encoding).as_slice()).await?;
        let asked = Asked { context, message_id, response: command::C_MOVE_RSP };
        self.sub_operations(asked, None, stop, on_progress).await
    }

    async fn sub_operations(
        &mut self,
        asked: Asked,
        mut receiver: Option<&mut Receiver>,
        stop: &mut watch::Receiver<bool>,
        mut on_progress: impl FnMut(Progress),
    ) -> Result<Retrieved, Error> {
        let mut progress = Progress::default();
        let mut patience = self.operation_timeout();
        let mut is_cancelled = false;
        loop {
            // Cancel-safe, both: what has come of a command stays, and a watch is only looked at.
            let message = tokio::select! {
                biased;
                () = stopped(stop), if !is_cancelled => None,
                () = aborted(receiver.as_deref()) => return Err(self.fail(Error::Ended).await),
                message = self.receive_message(patience) => Some(message?),
            };
            let Some(message) = message else {
                self.send_cancel(asked.context, asked.message_id).await?;
                (is_cancelled, patience) = (true, CANCEL_PATIENCE);
                continue;
            };
            let field = message.command.u16(tags::COMMAND_FIELD);
            if let (Some(command::C_STORE_RQ), Some(receiver)) = (field, receiver.as_deref_mut()) {
                self.receive_instance(message, receiver).await?;
                continue;
            }
            let response = self.response_of(&message, asked.response, asked.message_id).await?;
            if message.command.has_data_set() {
                self.receive_data_set(message.context, LONGEST_LIST).await?;
            }
            progress = progress.told(&message.command);
            on_progress(progress);
            if !response.is_pending() {
                return Ok(Retrieved { response, progress });
            }
        }
    }

    /// A sub-operation of a C-GET: the peer is the SCU of C-STORE now, and we answer.
    async fn receive_instance(&mut self, message: Message, receiver: &mut Receiver) -> Result<(), Error> {
        let Message { context, command } = message;
        let Some(presented) = self.presented(context) else {
            let what = format!("an instance over presentation context {context}, which was not accepted");
            return Err(self.fail(Error::Unexpected(what)).await);
        };
        receiver.begin(&presented, &command);
        if command.has_data_set() {
            let mut pace = self.pace();
            loop {
                let received = tokio::select! {
                    biased;
                    received = self.receive_fragment(context, &mut pace) => Some(received?),
                    () = receiver.aborted() => None,
                };
                let Some((fragment, is_last)) = received else {
                    return Err(self.fail(Error::Ended).await);
                };
                receiver.push(fragment);
                if is_last {
                    break;
                }
            }
        }
        let response = receiver.finish(&presented, &command).await;
        self.send_command(context, &response).await
    }
}

/// The operation that is under way.
#[derive(Clone, Copy)]
struct Asked {
    context: u8,
    message_id: u16,
    response: u16,
}

/// Completes when somebody ends it on the peers page, which shows what goes into the archive. Cancel-safe.
async fn aborted(receiver: Option<&Receiver>) {
    match receiver {
        Some(receiver) => receiver.aborted().await,
        None => std::future::pending().await,
    }
}

/// Completes when it is to be stopped. Cancel-safe.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await; // nobody is left who could stop it
    }
}
