//! Messages on their way out, PS3.8 section 9.3.5 and Annex E: cut into PDUs as long as the peer takes, and sent in as
//! few writes as can be.

use std::io::{self, Read};

use super::{Association, P_DATA_TF, PDU_HEADER, PDV_HEADER};
use crate::dimse::Error;
use crate::dimse::command::CommandSet;

/// Bytes of messages that wait to be sent in one write.
const MOST_QUEUED: usize = 256 * 1024;
/// Message control header, PS3.8 Annex E.2.
const COMMAND: u8 = 0b01;
const LAST: u8 = 0b10;

impl Association {
    /// Sends a command set that no data set follows.
    pub async fn send_command(&mut self, context_id: u8, command: &CommandSet) -> Result<(), Error> {
        self.queue(context_id, &command.encode(), None);
        self.flush().await
    }

    /// Puts a message behind those that [`Association::flush`] will send: an encoded command set, and the data set
    /// that follows it.
    pub fn queue(&mut self, context_id: u8, command: &[u8], data_set: Option<&[u8]>) {
        self.queue_fragments(context_id, COMMAND, command);
        if let Some(data_set) = data_set {
            self.queue_fragments(context_id, 0, data_set);
        }
    }

    /// Bytes that wait for [`Association::flush`].
    pub fn queued(&self) -> usize {
        self.queued.len()
    }

    /// Sends what was queued in one write.
    pub async fn flush(&mut self) -> Result<(), Error> {
        let mut queued = std::mem::take(&mut self.queued);
        let sent = self.send(&queued).await;
        queued.clear();
        self.queued = queued;
        sent
    }

    /// Sends a data set behind what is queued, in PDUs as long as the peer takes, as it is read. Never more of it is in
    /// memory than [`MOST_QUEUED`] and a PDU. Reading blocks.
    ///
    /// # Errors
    /// The association's. What keeps the data set from being read is told apart, because the peer waits for the rest
    /// of it then and nothing but an abort can end that.
    pub async fn send_data_set(
        &mut self,
        context_id: u8,
        data_set: &mut impl Read,
    ) -> Result<io::Result<()>, Error> {
        let room = u64::try_from(self.peer_maximum - PDV_HEADER).unwrap_or(u64::MAX);
        // Where the header of the last fragment stands: it is the last one until another follows.
        let mut last = None;
        loop {
            let start = self.queued.len();
            self.queued.resize(start + PDU_HEADER + PDV_HEADER, 0);
            let length = match data_set.take(room).read_to_end(&mut self.queued) {
                Ok(length) => length,
                Err(err) => return Ok(Err(err)),
            };
            let control = if length == 0 { LAST } else { 0 };
            let at = match (length, last) {
                (0, Some(at)) => {
                    self.queued.truncate(start);
                    at
                }
                _ => start,
            };
            let filled =
                if length == 0 { start.saturating_sub(at + PDU_HEADER + PDV_HEADER) } else { length };
            let header = fragment_header(filled, context_id, control);
            if let Some(place) = self.queued.get_mut(at..at + header.len()) {
                place.copy_from_slice(&header);
            }
            if length == 0 {
                return self.flush().await.map(Ok);
            }
            last = Some(start);
            if start >= MOST_QUEUED {
                // The last fragment stays, because it may have to say that it is the last.
                let mut queued = std::mem::take(&mut self.queued);
                let (before, fragment) = queued.split_at_checked(start).unwrap_or((&queued, &[]));
                self.send(before).await?;
                let kept = fragment.len();
                queued.copy_within(start.., 0);
                queued.truncate(kept);
                self.queued = queued;
                last = Some(0);
            }
        }
    }

    /// As many PDUs as the peer's maximum needs, PS3.8 section 9.3.5 and Annex E.
    fn queue_fragments(&mut self, context_id: u8, kind: u8, bytes: &[u8]) {
        let room = self.peer_maximum - PDV_HEADER;
        let mut rest = bytes;
        loop {
            let (fragment, after) = rest.split_at_checked(room).unwrap_or((rest, &[]));
            rest = after;
            let control = if rest.is_empty() { kind | LAST } else { kind };
            self.queued.extend_from_slice(&fragment_header(fragment.len(), context_id, control));
            self.queued.extend_from_slice(fragment);
            if rest.is_empty() {
                return;
            }
        }
    }
}

/// What stands before a fragment that has a PDU of its own, PS3.8 section 9.3.5.
fn fragment_header(length: usize, context_id: u8, control: u8) -> [u8; PDU_HEADER + PDV_HEADER] {
    // Both lengths are at most the peer's maximum, which fits u32.
    let value = u32::try_from(length + 2).unwrap_or(u32::MAX);
    let [p0, p1, p2, p3] = value.saturating_add(4).to_be_bytes();
    let [v0, v1, v2, v3] = value.to_be_bytes();
    [P_DATA_TF, 0, p0, p1, p2, p3, v0, v1, v2, v3, context_id, control]
}
