"""Storage commitment for the tests: pynetdicom, which shares no code with filmroom.

    commitment.py ask PORT REQUEST   an SCU: N-ACTION, then waits for reports, over the same association and, where
                                     `listen` is given, over others
    commitment.py serve MANNER       an SCP that stores, is asked for commitment and reports. Manners: good; later (over
                                     another association); partly UID (that one failed); silent (never reports); refuse N
                                     (0213H for the first N questions); wrong (another Transaction UID first); lost
                                     (aborts over the first question, after having read it)

REQUEST is JSON: `transaction` (UID), `items` (pairs of SOP class and instance), `calling`, `listen` (a port of its own),
`release` (at once after the response), `stay` (seconds to wait for a report), `answer` (status of the response to a
report), and to break rules `instance` (Requested SOP Instance UID), `action`, `without` (keywords left out), `empty` (no
data set). The answer is JSON: `accepted`, `status`, `comment`, `reports` (over, event, transaction, retrieve,
committed, failed, at).

`serve` prints its port, then a line for each event; a port on its standard input is where filmroom listens.
"""

import json
import sys
import threading
import time
import warnings

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, _config, build_role, evt
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification

warnings.simplefilter("ignore")
_config.LOG_HANDLER_LEVEL = "none"
_config.ENFORCE_UID_CONFORMANCE = False
_config.UNRESTRICTED_STORAGE_SERVICE = True
INSTANCE = "1.2.840.10008.1.20.1.1"


def data_set(request):
    action = Dataset()
    action.TransactionUID = request.get("transaction", "1.2.3.4")
    items = []
    for sop_class, sop_instance in request.get("items", []):
        item = Dataset()
        item.ReferencedSOPClassUID = sop_class
        item.ReferencedSOPInstanceUID = sop_instance
        items.append(item)
    action.ReferencedSOPSequence = Sequence(items)
    for keyword in request.get("without", []):
        delattr(action, keyword)
    return action


def read(event, over):
    report = event.event_information
    return {
        "over": over,
        "event": event.event_type,
        "transaction": str(report.TransactionUID),
        "retrieve": str(report.get("RetrieveAETitle", "")),
        "committed": sorted(str(item.ReferencedSOPInstanceUID) for item in report.get("ReferencedSOPSequence", [])),
        "failed": {
            str(item.ReferencedSOPInstanceUID): item.FailureReason for item in report.get("FailedSOPSequence", [])
        },
    }


def ask(port, request):
    ae = AE(ae_title=request.get("calling", "TESTSCU"))
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 120
    ae.add_requested_context(StorageCommitmentPushModel, request.get("syntax", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"]))
    reports = []
    came = threading.Event()
    answers = list(request.get("answer", []))

    def handler(over):
        def on_report(event):
            reports.append(read(event, over))
            status = answers.pop(0) if answers else 0
            if status == 0:
                came.set()
            return status, None

        return on_report

    listening = None
    if "listen" in request:
        other = AE(ae_title=request.get("calling", "TESTSCU"))
        other.add_supported_context(StorageCommitmentPushModel, scu_role=False, scp_role=True)
        listening = other.start_server(
            ("127.0.0.1", request["listen"]),
            block=False,
            evt_handlers=[(evt.EVT_N_EVENT_REPORT, handler("another"))],
        )
    answer = {"accepted": False, "status": None, "comment": "", "reports": reports}
    association = ae.associate(
        "127.0.0.1", port, ae_title="FILMROOM", evt_handlers=[(evt.EVT_N_EVENT_REPORT, handler("same"))]
    )
    answer["accepted"] = bool(association.is_established and association.accepted_contexts)
    if answer["accepted"]:
        if request.get("items") is not None or "without" in request:
            status, _ = association.send_n_action(
                None if request.get("empty") else data_set(request),
                request.get("action", 1),
                StorageCommitmentPushModel,
                request.get("instance", INSTANCE),
                meta_uid=None,
            )
            answer["status"] = status.get("Status")
            answer["comment"] = str(status.get("ErrorComment", ""))
        if request.get("release"):
            association.release()
    stay = request.get("stay", 0)
    if stay and (answer["status"] == 0 or request.get("items") is None):
        came.wait(stay)
        time.sleep(0.2)  # the response to the report is still to be sent
    if association.is_established:
        association.release()
    if listening:
        listening.shutdown()
    print(json.dumps(answer))


class Commitment:
    def __init__(self, manner, argument):
        self.manner = manner
        self.argument = argument
        self.asked = 0
        self.port = None

    def report(self, transaction, items):
        failed = [item for item in items if self.manner == "partly" and item[1] == self.argument]
        good = [item for item in items if item not in failed]
        information = Dataset()
        information.TransactionUID = transaction
        for keyword, some in (("ReferencedSOPSequence", good), ("FailedSOPSequence", failed)):
            sequence = []
            for sop_class, sop_instance in some:
                one = Dataset()
                one.ReferencedSOPClassUID = sop_class
                one.ReferencedSOPInstanceUID = sop_instance
                if keyword == "FailedSOPSequence":
                    one.FailureReason = 0x0112
                sequence.append(one)
            if sequence:
                setattr(information, keyword, Sequence(sequence))
        return information, 2 if failed else 1

    def on_action(self, event):
        self.asked += 1
        if self.manner == "refuse" and self.asked <= int(self.argument):
            print("refused", flush=True)
            return 0x0213, None
        action = event.action_information
        transaction = str(action.TransactionUID)
        items = [
            (str(item.ReferencedSOPClassUID), str(item.ReferencedSOPInstanceUID))
            for item in action.ReferencedSOPSequence
        ]
        if self.manner == "lost" and self.asked == 1:
            print(f"lost {transaction}", flush=True)
            event.assoc.abort()
            return 0x0000, None
        print(f"asked {len(items)}" + (f" {transaction}" if self.manner == "lost" else ""), flush=True)
        if self.manner == "later":
            threading.Timer(0.5, self.over_another, (transaction, items)).start()
        elif self.manner != "silent":
            threading.Timer(0.1, self.over_same, (event.assoc, transaction, items)).start()
        return 0x0000, None

    def over_same(self, association, transaction, items):
        if self.manner == "wrong":
            self.send(association, "1.2.3.999", items)
        self.send(association, transaction, items)

    def over_another(self, transaction, items):
        ae = AE(ae_title="SCRIPTED")
        ae.add_requested_context(StorageCommitmentPushModel)
        while self.port is None:
            time.sleep(0.05)
        association = ae.associate(
            "127.0.0.1",
            self.port,
            ae_title="FILMROOM",
            ext_neg=[build_role(StorageCommitmentPushModel, scu_role=False, scp_role=True)],
        )
        if not association.is_established:
            print("not let in", flush=True)
            return
        self.send(association, transaction, items)
        association.release()

    def send(self, association, transaction, items):
        information, event = self.report(transaction, items)
        status, _ = association.send_n_event_report(information, event, StorageCommitmentPushModel, INSTANCE)
        print(f"reported {status.get('Status')}", flush=True)


def serve(manner, argument=None):
    ae = AE(ae_title="SCRIPTED")
    ae.add_supported_context(Verification)
    ae.add_supported_context(StorageCommitmentPushModel)
    for context in AllStoragePresentationContexts[:100]:
        ae.add_supported_context(context.abstract_syntax, ALL_TRANSFER_SYNTAXES)
    commitment = Commitment(manner, argument)
    server = ae.start_server(
        ("127.0.0.1", 0),
        block=False,
        evt_handlers=[(evt.EVT_C_STORE, lambda event: 0x0000), (evt.EVT_N_ACTION, commitment.on_action)],
    )
    print(server.server_address[1], flush=True)
    for line in sys.stdin:
        commitment.port = int(line)


def text(argument):
    """What is too long for an argument stands in a file."""
    return open(argument[1:]).read() if argument.startswith("@") else argument


if __name__ == "__main__":
    if sys.argv[1] == "ask":
        ask(int(sys.argv[2]), json.loads(text(sys.argv[3])))
    else:
        serve(*sys.argv[2:])
