//! What the peer sends over an association that we asked for: commands and data sets, PS3.7 section 6.3 and Annex E of
//! PS3.8.

use std::time::Duration;

use dicom_ul::Pdu;
use dicom_ul::pdu::{PDataValue, PDataValueType};

use super::{Association, within};
use crate::dimse::command::{self, CommandSet};
use crate::dimse::pace::Pace;
use crate::dimse::scu::Error;

/// A command, and the presentation context it came over.
#[derive(Debug)]
pub struct Message {
    /// Presentation context ID.
    pub context: u8,
    /// The command.
    pub command: CommandSet,
}

impl Association {
    /// The next command, due within this time. Cancel-safe: what has come of it stays for the next call.
    pub(in crate::dimse::scu) async fn receive_message(&mut self, limit: Duration) -> Result<Message, Error> {
        let received = within(limit, "respond", self.read_command()).await;
        match received.and_then(|received| received) {
            Ok(message) => Ok(message),
            Err(err) => Err(self.fail(err).await),
        }
    }

    async fn read_command(&mut self) -> Result<Message, Error> {
        loop {
            let value = self.next_value().await?;
            if value.value_type != PDataValueType::Command {
                return Err(Error::Unexpected("a data set where a response was due".to_owned()));
            }
            self.unread_command.extend_from_slice(&value.data);
            if value.is_last {
                let bytes = std::mem::take(&mut self.unread_command);
                let command = CommandSet::parse(&bytes)
                    .map_err(|err| Error::Unexpected(format!("a bad response: {err}")))?;
                return Ok(Message { context: value.presentation_context_id, command });
            }
            if self.unread_command.len() > command::MAXIMUM_LENGTH {
                return Err(Error::Unexpected("a response that does not end".to_owned()));
            }
        }
    }

    /// What a data set that is to come has to keep.
    pub(in crate::dimse::scu) fn pace(&self) -> Pace {
        Pace::begin(self.timeouts.response)
    }

    /// The next fragment of the data set behind a command that came over this context, and whether it is the last.
    pub(in crate::dimse::scu) async fn receive_fragment(
        &mut self,
        context: u8,
        pace: &mut Pace,
    ) -> Result<(Vec<u8>, bool), Error> {
        let limit = pace.left(self.timeouts.response);
        let received = within(limit, "send the data set it began", self.next_value()).await;
        match received.and_then(|received| received) {
            Ok(value) if is_data_of(&value, context) => {
                pace.add(value.data.len());
                Ok((value.data, value.is_last))
            }
            Ok(_) => {
                let what = "something else within a data set".to_owned();
                Err(self.fail(Error::Unexpected(what)).await)
            }
            Err(err) => Err(self.fail(err).await),
        }
    }

    /// A whole data set of at most so many bytes.
    pub(in crate::dimse::scu) async fn receive_data_set(
        &mut self,
        context: u8,
        most: usize,
    ) -> Result<Vec<u8>, Error> {
        let mut data_set = Vec::new();
        let mut pace = self.pace();
        loop {
            let (fragment, is_last) = self.receive_fragment(context, &mut pace).await?;
            if data_set.len() + fragment.len() > most {
                let what = format!("a data set of more than {most} bytes where a short one was due");
                return Err(self.fail(Error::Unexpected(what)).await);
            }
            data_set.extend_from_slice(&fragment);
            if is_last {
                return Ok(data_set);
            }
        }
    }

    async fn next_value(&mut self) -> Result<PDataValue, Error> {
        loop {
            if let Some(value) = self.unread_values.pop_front() {
                return Ok(value);
            }
            match self.receive().await? {
                Pdu::PData { data } => self.unread_values.extend(data),
                Pdu::ReleaseRQ => {
                    self.send(&Pdu::ReleaseRP).await?;
                    self.open = false;
                    return Err(Error::Released);
                }
                _ => return Err(Error::Unexpected("something else than a response".to_owned())),
            }
        }
    }
}

fn is_data_of(value: &PDataValue, context: u8) -> bool {
    value.value_type == PDataValueType::Data && value.presentation_context_id == context
}
