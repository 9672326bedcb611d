//! The asking side: C-FIND, C-GET and C-MOVE in the Study Root model, which count what comes and look at no more of it.

use std::io;
use std::time::{Duration, Instant};

use dicom_dictionary_std::uids;

use super::data::DataSet;
use super::server::Server;
use super::wire::{
    self, Association, Command, Message, Purpose, ae_title, context_id, element, field, number, uid,
};

/// An association over which all of them go.
pub struct Requestor {
    association: Association,
    message_id: u16,
}

const FIND: (usize, &str) = (0, uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND);
const GET: (usize, &str) = (1, uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_GET);
const MOVE: (usize, &str) = (2, uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_MOVE);
/// Of what is retrieved.
const STORED: [&str; 2] = [uids::CT_IMAGE_STORAGE, uids::X_RAY_ANGIOGRAPHIC_IMAGE_STORAGE];

/// How far a query is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// To its end.
    Last,
    /// To the first match; then it is cancelled.
    First,
}

/// What a query brought.
pub struct Found {
    pub matches: u64,
    /// Until the first match was there, or the end where nothing matched.
    pub first: Duration,
    /// Until the final response was there.
    pub elapsed: Duration,
}

/// What a retrieve brought.
pub struct Retrieved {
    pub instances: u64,
    /// Bytes of their data sets.
    pub bytes: u64,
    /// Until the final response was there.
    pub elapsed: Duration,
}

impl Requestor {
    /// Opens it.
    pub fn to(server: &Server) -> io::Result<Requestor> {
        let asked = [FIND, GET, MOVE].map(|(_, model)| Purpose::Scu(model));
        let purposes: Vec<Purpose> = asked.into_iter().chain(STORED.map(Purpose::Scp)).collect();
        let association = Association::open(server.dicom, server.ae_title(), &purposes)?;
        Ok(Requestor { association, message_id: 0 })
    }

    /// Asks for what matches the identifier.
    pub fn find(&mut self, identifier: &DataSet, until: Until) -> io::Result<Found> {
        let start = Instant::now();
        self.ask(FIND, field::C_FIND_RQ, None, identifier)?;
        let (mut matches, mut first) = (0, None);
        loop {
            let answer = self.answer()?;
            match answer.command.status() {
                Some(0xFF00 | 0xFF01) => {
                    matches += 1;
                    if first.is_none() {
                        first = Some(start.elapsed());
                        if until == Until::First {
                            let cancel = Command::cancel(self.message_id);
                            self.association.send(context_id(FIND.0), &cancel, &[])?;
                        }
                    }
                }
                Some(0) => break,
                // What was cancelled, or is more than a server answers with.
                Some(0xFE00 | 0xA700) if until == Until::First => break,
                status => return Err(unsuccessful("C-FIND", status)),
            }
        }
        let elapsed = start.elapsed();
        Ok(Found { matches, first: first.unwrap_or(elapsed), elapsed })
    }

    /// Has what the identifier names sent over this association.
    pub fn get(&mut self, identifier: &DataSet) -> io::Result<Retrieved> {
        let start = Instant::now();
        self.ask(GET, field::C_GET_RQ, None, identifier)?;
        let (mut instances, mut bytes) = (0, 0);
        loop {
            let answer = self.answer()?;
            match (answer.command.number(element::COMMAND_FIELD), answer.command.status()) {
                (Some(field::C_STORE_RQ), _) => {
                    instances += 1;
                    bytes += answer.data_set;
                    self.association.send(answer.context, &Command::stored(&answer.command), &[])?;
                }
                (_, Some(0xFF00)) => {}
                (_, Some(0)) => return Ok(Retrieved { instances, bytes, elapsed: start.elapsed() }),
                (_, status) => return Err(unsuccessful("C-GET", status)),
            }
        }
    }

    /// Has what the identifier names sent to the bench's own destination; how long that takes.
    pub fn move_to_destination(&mut self, identifier: &DataSet) -> io::Result<Duration> {
        let start = Instant::now();
        self.ask(MOVE, field::C_MOVE_RQ, Some(wire::AE_TITLE), identifier)?;
        loop {
            match self.answer()?.command.status() {
                Some(0xFF00) => {}
                Some(0) => return Ok(start.elapsed()),
                status => return Err(unsuccessful("C-MOVE", status)),
            }
        }
    }

    /// Ends it.
    pub fn release(self) -> io::Result<()> {
        self.association.release()
    }

    fn ask(
        &mut self,
        (context, model): (usize, &str),
        command_field: u16,
        destination: Option<&str>,
        identifier: &DataSet,
    ) -> io::Result<()> {
        self.message_id = self.message_id.wrapping_add(1);
        let mut elements = vec![
            (element::AFFECTED_SOP_CLASS_UID, uid(model)),
            (element::COMMAND_FIELD, number(command_field)),
            (element::MESSAGE_ID, number(self.message_id)),
        ];
        elements.extend(destination.map(|title| (element::MOVE_DESTINATION, ae_title(title))));
        elements.push((element::PRIORITY, number(0)));
        elements.push((element::COMMAND_DATA_SET_TYPE, number(0)));
        self.association.send(context_id(context), &Command::new(&elements), &[&identifier.0])
    }

    fn answer(&mut self) -> io::Result<Message> {
        let released = || io::Error::other("the association was released amid an operation");
        self.association.next_message(|_| Ok(()))?.ok_or_else(released)
    }
}

fn unsuccessful(what: &str, status: Option<u16>) -> io::Error {
    io::Error::other(format!("{what} ended with status {:04X}H", status.unwrap_or(0xFFFF)))
}
