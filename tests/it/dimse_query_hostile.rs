//! Requestors of queries, retrieves and storage commitment that break the rules of PS3.7 and PS3.8: each message gets
//! its one final response or the association its A-ABORT, and nobody else notices.

use std::time::{Duration, Instant};

use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::entries::EXPLICIT_VR_LITTLE_ENDIAN;
use dicom_ul::Pdu;
use dicom_ul::pdu::{PDataValueType, PresentationContextProposed, RequestorRoles, UserVariableItem};
use filmroom::dimse::command::{self, CommandSet};

use crate::support::instance::slice;
use crate::support::peer::{Peer, fragments, request};
use crate::support::qr::allow;
use crate::support::remote::free_port;
use crate::support::{TestServer, eventually};
use crate::web_peer::press;
use crate::web_study::texts;

const VERIFICATION: u8 = 3;
const FIND: u8 = 5;
const GET: u8 = 7;
const MOVE: u8 = 9;
const COMMIT: u8 = 11;
const STORE: u8 = 13;

const CLASSES: [(u8, &str); 5] = [
    (FIND, uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND),
    (GET, uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_GET),
    (MOVE, uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_MOVE),
    (COMMIT, uids::STORAGE_COMMITMENT_PUSH_MODEL),
    (STORE, uids::CT_IMAGE_STORAGE),
];

/// A server with three slices of one study, and a peer that may do anything.
async fn archive() -> TestServer {
    let pacs = TestServer::start_with(|config| {
        config.timeouts.message = Duration::from_secs(3);
        config.timeouts.idle = Duration::from_secs(30);
    })
    .await;
    allow(&pacs, "SCRIPT", "echo,store,find,get,move,commit", None).await;
    allow(&pacs, "DOWN", "echo", Some(free_port())).await;
    let slices = [1, 2, 3].map(|number| slice(1, 1, 1, number).build());
    for answer in pacs.store_all(&slices).await {
        assert!(answer.is_success(), "{answer:?}");
    }
    pacs
}

/// An association with a context for each service; over the one for storage it takes what it gets.
async fn associate(pacs: &TestServer) -> Peer {
    associate_taking(pacs, 16_384).await
}

/// The same, of a peer that takes PDUs of so many bytes.
async fn associate_taking(pacs: &TestServer, maximum: u32) -> Peer {
    let mut asked = request();
    asked.user_variables.retain(|item| !matches!(item, UserVariableItem::MaxLength(_)));
    asked.user_variables.push(UserVariableItem::MaxLength(maximum));
    asked.presentation_contexts.retain(|context| context.id == VERIFICATION);
    asked.presentation_contexts.extend(CLASSES.map(|(id, class)| PresentationContextProposed {
        id,
        abstract_syntax: class.into(),
        transfer_syntaxes: vec![uids::EXPLICIT_VR_LITTLE_ENDIAN.into()],
    }));
    let roles = RequestorRoles { scu: false, scp: true };
    asked
        .user_variables
        .push(UserVariableItem::ScuScpRoleSelectionSubItem(uids::CT_IMAGE_STORAGE.into(), roles));
    Peer::associate_with(pacs.dicom, asked).await
}

fn class_of(context: u8) -> &'static str {
    CLASSES.iter().find(|(id, _)| *id == context).expect("a context").1
}

/// The command of a request with message ID 7.
fn asking(context: u8, field: u16) -> CommandSet {
    let mut command = CommandSet::new();
    command.set_uid(tags::AFFECTED_SOP_CLASS_UID, class_of(context));
    command.set_u16(tags::COMMAND_FIELD, field);
    command.set_u16(tags::MESSAGE_ID, 7);
    command.set_u16(tags::PRIORITY, 0);
    command.set_u16(tags::COMMAND_DATA_SET_TYPE, 1);
    command
}

fn without_data_set(mut command: CommandSet) -> CommandSet {
    command.set_u16(tags::COMMAND_DATA_SET_TYPE, command::NO_DATA_SET);
    command
}

fn cancel(message_id: u16) -> CommandSet {
    let mut command = CommandSet::new();
    command.set_u16(tags::COMMAND_FIELD, command::C_CANCEL_RQ);
    command.set_u16(tags::MESSAGE_ID_BEING_RESPONDED_TO, message_id);
    without_data_set(command)
}

fn response(field: u16, message_id: u16, status: u16) -> CommandSet {
    let mut command = CommandSet::new();
    command.set_u16(tags::COMMAND_FIELD, field);
    command.set_u16(tags::MESSAGE_ID_BEING_RESPONDED_TO, message_id);
    command.set_u16(tags::STATUS, status);
    without_data_set(command)
}

fn identifier() -> Vec<u8> {
    identifier_of("1.2.3.1")
}

fn identifier_of(studies: &str) -> Vec<u8> {
    let mut object = InMemDicomObject::new_empty();
    object.put(DataElement::new(tags::QUERY_RETRIEVE_LEVEL, VR::CS, "STUDY"));
    // Of a UI an explicit length has 16 bits.
    object.put(DataElement::new(tags::STUDY_INSTANCE_UID, VR::UT, studies));
    encoded(&object)
}

fn encoded(object: &InMemDicomObject) -> Vec<u8> {
    let mut bytes = Vec::new();
    object.write_dataset_with_ts(&mut bytes, &EXPLICIT_VR_LITTLE_ENDIAN.erased()).expect("a data set");
    bytes
}

impl Peer {
    async fn command(&mut self, context: u8, command: &CommandSet) {
        self.send(&fragments(context, true, &command.encode(), 16_000)).await;
    }

    async fn data(&mut self, context: u8, bytes: &[u8]) {
        self.send(&fragments(context, false, bytes, 16_000)).await;
    }

    /// A request with its identifier.
    async fn ask(&mut self, context: u8, field: u16) {
        self.command(context, &asking(context, field)).await;
        self.data(context, &identifier()).await;
    }

    /// The next command set; data sets on the way are passed over. `None` where the association ends.
    async fn answer(&mut self) -> Option<CommandSet> {
        let mut bytes = Vec::new();
        loop {
            let Some(Pdu::PData { data }) = self.read_pdu().await else { return None };
            for value in data {
                if value.value_type == PDataValueType::Command {
                    bytes.extend(value.data);
                    if value.is_last {
                        return Some(CommandSet::parse(&bytes).expect("a command set"));
                    }
                }
            }
        }
    }

    async fn status(&mut self) -> Option<u16> {
        self.answer().await?.u16(tags::STATUS)
    }

    /// Whether all that comes, after what is under way, is an A-ABORT.
    async fn is_aborted(&mut self) -> bool {
        loop {
            match self.read_pdu().await {
                Some(Pdu::PData { .. }) => {}
                Some(Pdu::AbortRQ { .. }) => return true,
                _ => return false,
            }
        }
    }

    /// Whether a query is still answered, with one match.
    async fn finds(&mut self) -> bool {
        self.ask(FIND, command::C_FIND_RQ).await;
        self.status().await == Some(0xFF00) && self.status().await == Some(0)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_cannot_be_served_gets_one_final_response_and_the_association_goes_on() {
    let pacs = archive().await;
    let mut peer = associate(&pacs).await;
    for (context, field) in [(FIND, command::C_FIND_RQ), (GET, command::C_GET_RQ), (MOVE, command::C_MOVE_RQ)]
    {
        peer.command(context, &without_data_set(asking(context, field))).await;
        assert_eq!(peer.status().await, Some(0xC001), "{field:04X}H without a data set");
        for garbage in [&b"\xFF\xFF\xFF\xFFgarbage"[..], &[0; 7], &[8, 0, 0x52, 0, b'C', b'S', 0xFF, 0xFF, 1]]
        {
            peer.command(context, &asking(context, field)).await;
            peer.data(context, garbage).await;
            let status = peer.status().await;
            assert!(matches!(status, Some(0xC001 | 0xA900)), "{field:04X}H of {garbage:?}: {status:04X?}");
        }
        peer.command(context, &asking(context, field)).await;
        peer.data(context, &vec![0; 9 << 20]).await;
        assert_eq!(peer.status().await, Some(0xC001), "{field:04X}H of nine megabytes");
        assert!(peer.finds().await, "after {field:04X}H");
    }
    // Over a context of another service.
    for (context, field) in [
        (FIND, command::C_MOVE_RQ),
        (GET, command::C_FIND_RQ),
        (MOVE, command::N_ACTION_RQ),
        (COMMIT, command::C_GET_RQ),
    ] {
        peer.ask(context, field).await;
        assert_eq!(peer.status().await, Some(0x0211), "{field:04X}H over context {context}");
    }
    peer.ask(STORE, command::C_STORE_RQ).await;
    assert_eq!(peer.status().await, Some(0x0122), "who said it would be the SCP does not store");
    // Of nothing that is under way.
    peer.command(FIND, &cancel(7)).await;
    assert!(peer.finds().await);
    // A byte a fragment.
    peer.send(&fragments(FIND, true, &asking(FIND, command::C_FIND_RQ).encode(), 1)).await;
    peer.send(&fragments(FIND, false, &identifier(), 1)).await;
    assert_eq!((peer.status().await, peer.status().await), (Some(0xFF00), Some(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_in_an_order_that_there_is_none_of_are_aborted() {
    let pacs = archive().await;
    let (find, get) = (asking(FIND, command::C_FIND_RQ), asking(GET, command::C_GET_RQ));
    let command = |context, command: &CommandSet| fragments(context, true, &command.encode(), 16_000);
    let data = |context| fragments(context, false, &identifier(), 16_000);
    for (what, bytes) in [
        ("a second command before the data set", [command(FIND, &find), command(FIND, &find)].concat()),
        ("a data set over another context", [command(FIND, &find), data(GET)].concat()),
        ("a data set nobody announced", data(FIND)),
        ("an answer to a query that was never made", command(FIND, &response(command::C_FIND_RSP, 7, 0))),
        (
            "an answer to an instance that was never sent",
            command(STORE, &response(command::C_STORE_RSP, 1, 0)),
        ),
        (
            "an answer to a report that was never sent",
            command(COMMIT, &response(command::N_EVENT_REPORT_RSP, 1, 0)),
        ),
        (
            "another query while a retrieve is under way",
            [command(GET, &get), data(GET), command(FIND, &find), data(FIND)].concat(),
        ),
        ("a release within a data set", [command(FIND, &find), vec![5, 0, 0, 0, 0, 4, 0, 0, 0, 0]].concat()),
        (
            "a release while a retrieve is under way",
            [command(GET, &get), data(GET), vec![5, 0, 0, 0, 0, 4, 0, 0, 0, 0]].concat(),
        ),
    ] {
        let mut peer = associate(&pacs).await;
        peer.send(&bytes).await;
        assert!(peer.is_aborted().await, "{what}");
        assert_eq!(peer.read_pdu().await, None, "{what}: the connection is closed");
    }
    assert!(associate(&pacs).await.finds().await, "the server lives");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_answers_a_sub_operation_with_nonsense_ends_its_own_retrieve() {
    let pacs = archive().await;
    for (what, answer) in [
        ("another message ID", response(command::C_STORE_RSP, 999, 0)),
        ("an echo", response(command::C_ECHO_RSP, 8, 0)),
        ("a cancel with a data set", {
            let mut cancel = cancel(7);
            cancel.set_u16(tags::COMMAND_DATA_SET_TYPE, 1);
            cancel
        }),
    ] {
        let mut peer = associate(&pacs).await;
        peer.ask(GET, command::C_GET_RQ).await;
        let sub_operation = peer.answer().await.expect("a command");
        assert_eq!(sub_operation.u16(tags::COMMAND_FIELD), Some(command::C_STORE_RQ));
        peer.command(STORE, &answer).await;
        assert!(peer.is_aborted().await, "{what}");
    }
    // A status that is missing is none; a cancel of another operation cancels nothing; what is left is sent.
    let mut peer = associate(&pacs).await;
    peer.ask(GET, command::C_GET_RQ).await;
    for number in 1..=3_u16 {
        let sub_operation = peer.answer().await.expect("a command");
        let id = sub_operation.u16(tags::MESSAGE_ID).expect("a message ID");
        peer.command(GET, &cancel(9999)).await;
        let mut answer = CommandSet::new();
        answer.set_u16(tags::COMMAND_FIELD, command::C_STORE_RSP);
        answer.set_u16(tags::MESSAGE_ID_BEING_RESPONDED_TO, id);
        if number != 2 {
            answer.set_u16(tags::STATUS, 0);
        }
        peer.command(STORE, &without_data_set(answer)).await;
        assert_eq!(peer.status().await, Some(0xFF00));
    }
    let last = peer.answer().await.expect("the final response");
    assert_eq!(last.u16(tags::STATUS), Some(0xB000));
    assert_eq!(last.u16(tags::NUMBER_OF_COMPLETED_SUBOPERATIONS), Some(2));
    assert_eq!(last.u16(tags::NUMBER_OF_FAILED_SUBOPERATIONS), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_away_in_the_middle_is_off_the_list_at_once() {
    let pacs = archive().await;
    for abort in [true, false] {
        let mut peer = associate(&pacs).await;
        peer.ask(GET, command::C_GET_RQ).await;
        peer.answer().await.expect("a command");
        if abort {
            peer.send(&[7, 0, 0, 0, 0, 4, 0, 0, 0, 0]).await;
        }
        drop(peer);
        eventually("nobody is connected", async || {
            !pacs.get("/admin/peers").await.text().await.expect("text").contains("/abort\"")
        })
        .await;
    }
    assert!(associate(&pacs).await.finds().await, "the server lives");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_within_a_data_set_is_given_up() {
    let pacs = archive().await;
    for (context, field) in [
        (FIND, command::C_FIND_RQ),
        (GET, command::C_GET_RQ),
        (MOVE, command::C_MOVE_RQ),
        (COMMIT, command::N_ACTION_RQ),
    ] {
        let began = Instant::now();
        let mut peer = associate(&pacs).await;
        peer.command(context, &asking(context, field)).await;
        assert!(peer.is_aborted().await, "{field:04X}H");
        assert!(began.elapsed() < Duration::from_secs(20), "{field:04X}H took {:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_without_a_destination_or_to_nonsense_is_a801() {
    let pacs = archive().await;
    let mut peer = associate(&pacs).await;
    for destination in [None, Some(""), Some("WAY TOO LONG FOR A TITLE"), Some("A\\B"), Some("\u{1b}")] {
        let mut command = asking(MOVE, command::C_MOVE_RQ);
        if let Some(destination) = destination {
            command.set_text(tags::MOVE_DESTINATION, destination);
        }
        peer.command(MOVE, &command).await;
        peer.data(MOVE, &identifier()).await;
        assert_eq!(peer.status().await, Some(0xA801), "{destination:?}");
    }
    assert!(peer.finds().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stops_reading_is_ended_by_the_button_while_something_is_written_to_it() {
    let pacs = archive().await;
    let large = slice(1, 1, 1, 4).side(4096).build();
    assert!(pacs.store(&large).await.is_success());
    let mut peer = associate(&pacs).await;
    peer.ask(GET, command::C_GET_RQ).await;
    let shown = async || {
        let page = pacs.page("/admin/peers").await;
        texts(&page, ".associations td").get(2).cloned().unwrap_or_default()
    };
    // Three slices are answered; the fourth is more than the connection holds.
    for _ in 0..3 {
        let sub_operation = peer.answer().await.expect("a command");
        let id = sub_operation.u16(tags::MESSAGE_ID).expect("a message ID");
        peer.command(STORE, &response(command::C_STORE_RSP, id, 0)).await;
        assert_eq!(peer.status().await, Some(0xFF00));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_ne!(shown().await, "", "it is connected");
    let began = Instant::now();
    assert_eq!(press(&pacs, ".associations form[action$='/abort']").await.status(), 303);
    assert_eq!(shown().await, "", "it is off the page when that is shown again");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(associate(&pacs).await.finds().await, "the server lives");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_more_values_than_anybody_needs_is_refused() {
    let pacs = archive().await;
    let mut peer = associate(&pacs).await;
    for (context, field) in [(FIND, command::C_FIND_RQ), (GET, command::C_GET_RQ), (MOVE, command::C_MOVE_RQ)]
    {
        for (values, status) in [(10_001, 0xA900), (600_000, 0xC001)] {
            peer.command(context, &asking(context, field)).await;
            peer.data(context, &identifier_of(&vec!["1"; values].join("\\"))).await;
            let answer = peer.answer().await.expect("a response");
            assert_eq!(answer.u16(tags::STATUS), Some(status), "{field:04X}H of {values} values");
        }
    }
    assert!(peer.finds().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_of_which_half_comes_after_the_end_harms_nothing() {
    let pacs = archive().await;
    let mut peer = associate(&pacs).await;
    let cancel = cancel(7).encode();
    let mut halves = fragments(FIND, true, &cancel, cancel.len() / 2 + 1);
    let second = halves.split_off(12 + cancel.len() / 2 + 1);
    let asked = [
        fragments(FIND, true, &asking(FIND, command::C_FIND_RQ).encode(), 16_000),
        fragments(FIND, false, &identifier(), 16_000),
        halves,
    ];
    peer.send(&asked.concat()).await;
    assert_eq!((peer.status().await, peer.status().await), (Some(0xFF00), Some(0)));
    peer.send(&second).await;
    assert!(peer.finds().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_a_report_may_come_amid_a_retrieve() {
    let pacs = archive().await;
    let mut peer = associate(&pacs).await;
    let mut action = asking(COMMIT, command::N_ACTION_RQ);
    action.set_uid(tags::REQUESTED_SOP_CLASS_UID, uids::STORAGE_COMMITMENT_PUSH_MODEL);
    action.set_uid(tags::REQUESTED_SOP_INSTANCE_UID, uids::STORAGE_COMMITMENT_PUSH_MODEL_INSTANCE);
    action.set_u16(tags::ACTION_TYPE_ID, 1);
    peer.command(COMMIT, &action).await;
    let mut reference = InMemDicomObject::new_empty();
    reference.put(DataElement::new(tags::REFERENCED_SOP_CLASS_UID, VR::UI, uids::CT_IMAGE_STORAGE));
    reference.put(DataElement::new(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, "1.2.3.1.1.1"));
    let mut request = InMemDicomObject::new_empty();
    request.put(DataElement::new(tags::TRANSACTION_UID, VR::UI, "1.2.3.4"));
    let references = DataSetSequence::from(vec![reference]);
    request.put(DataElement::new(tags::REFERENCED_SOP_SEQUENCE, VR::SQ, references));
    peer.data(COMMIT, &encoded(&request)).await;
    assert_eq!(peer.status().await, Some(0));
    let report = peer.answer().await.expect("a report");
    assert_eq!(report.u16(tags::COMMAND_FIELD), Some(command::N_EVENT_REPORT_RQ));
    let report_id = report.u16(tags::MESSAGE_ID).expect("a message ID");

    peer.ask(GET, command::C_GET_RQ).await;
    for number in 1..=3 {
        let sub_operation = peer.answer().await.expect("a command");
        assert_eq!(sub_operation.u16(tags::COMMAND_FIELD), Some(command::C_STORE_RQ), "the {number}th");
        if number == 2 {
            peer.command(COMMIT, &response(command::N_EVENT_REPORT_RSP, report_id, 0)).await;
        }
        let id = sub_operation.u16(tags::MESSAGE_ID).expect("a message ID");
        peer.command(STORE, &response(command::C_STORE_RSP, id, 0)).await;
        assert_eq!(peer.status().await, Some(0xFF00));
    }
    assert_eq!(peer.status().await, Some(0));
    assert!(peer.finds().await);
    eventually("the report is known to have been taken", async || {
        pacs.count("commitment WHERE state = 'ended'").await == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fragments_have_an_even_length_whatever_maximum_is_announced() {
    let pacs = archive().await;
    for maximum in [129, 4097, 65_535] {
        let mut peer = associate_taking(&pacs, maximum).await;
        peer.ask(GET, command::C_GET_RQ).await;
        let mut is_over = false;
        while !is_over {
            let Some(Pdu::PData { data }) = peer.read_pdu().await else { panic!("no data") };
            for value in data {
                assert_eq!(value.data.len() % 2, 0, "of at most {maximum}");
                is_over |= value.value_type == PDataValueType::Data && value.is_last;
            }
        }
    }
}
