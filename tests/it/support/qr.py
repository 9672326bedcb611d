"""A query and retrieve SCU for the tests: pynetdicom, which shares no code with filmroom.

    qr.py find PORT REQUEST     C-FIND
    qr.py get PORT REQUEST      C-GET; what arrives is written to the folder `into`, data sets byte for byte
    qr.py move PORT REQUEST     C-MOVE
    qr.py refused PORT REQUEST  an association alone: how it is answered

REQUEST is a JSON list, each of which has an association of its own: `model` (patient, study, only), `keys` (keyword: value; a list of objects is a sequence; a value is
text), `set` (Specific Character Set), `extended` (bytes of the extended negotiation), `syntax`, `calling`, `called`,
`cancel_after` (responses), `destination`, `contexts` (SOP class: list of transfer syntaxes, of which each gets a
context), `answer` (SOP Instance UID: status), `into`.
The answer is a JSON list: `accepted` (abstract syntaxes), `extended`, `responses` (status, comment, counts, keys), `stored` (SOP Instance UID: file).
"""

import json
import os
import sys
import threading
import time
import warnings

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pynetdicom import AE, _config, build_role, evt
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation
from pynetdicom.sop_class import _QR_CLASSES

warnings.simplefilter("ignore")
_config.LOG_HANDLER_LEVEL = "none"
_config.ENFORCE_UID_CONFORMANCE = False
_config.UNRESTRICTED_STORAGE_SERVICE = True

ROOTS = {
    "patient": "1.2.840.10008.5.1.4.1.2.1.",
    "study": "1.2.840.10008.5.1.4.1.2.2.",
    "only": "1.2.840.10008.5.1.4.1.2.3.",
}
SERVICES = {"find": "1", "move": "2", "get": "3"}


def data_set(keys, character_set=None):
    identifier = Dataset()
    if character_set is not None:
        identifier.SpecificCharacterSet = character_set
    for keyword, value in keys.items():
        if isinstance(value, list):
            value = Sequence([data_set(item) for item in value])
        setattr(identifier, keyword, value)
    return identifier


def plain(identifier):
    def text(element):
        if element.VR == "SQ":
            return [plain(item) for item in element.value]
        value = element.value
        if value is None:
            return ""
        if isinstance(value, (list, tuple)) or type(value).__name__ == "MultiValue":
            return "\\".join(str(one) for one in value)
        return str(value)

    return {element.keyword or str(element.tag): text(element) for element in identifier}


def main(service, port, request):
    syntax = ROOTS[request.get("model", "study")] + SERVICES.get(service, "1")
    ae = AE(ae_title=request.get("calling", "TESTSCU"))
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 120
    ae.maximum_pdu_size = request.get("maximum_pdu", 16382)
    syntaxes = request.get("syntax", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2"])
    for abstract in request.get("abstract", [syntax]):
        ae.add_requested_context(abstract, syntaxes)
    negotiation = []
    for abstract, offered in request.get("contexts", {}).items():
        for one in offered:
            ae.add_requested_context(abstract, one)
        negotiation.append(build_role(abstract, scp_role=True))
    if "extended" in request:
        item = SOPClassExtendedNegotiation()
        item.sop_class_uid = syntax
        item.service_class_application_information = bytes(request["extended"])
        negotiation.append(item)
    stored, responses = {}, []

    def on_store(event):
        uid = event.request.AffectedSOPInstanceUID
        status = request.get("answer", {}).get(uid, 0)
        if request.get("slow"):
            time.sleep(request["slow"])
        if status == 0 or status & 0xF000 == 0xB000:
            file = os.path.join(request["into"], uid)
            with open(file, "wb") as out:
                out.write(event.request.DataSet.getvalue())
            stored[uid] = {"file": file, "syntax": str(event.context.transfer_syntax)}
        return status

    handlers = [(evt.EVT_C_STORE, on_store)]
    answered = {}

    def on_accepted(event):
        primitive = event.assoc.acceptor.primitive
        for item in primitive.user_information:
            if isinstance(item, SOPClassExtendedNegotiation):
                answered[str(item.sop_class_uid)] = list(item.service_class_application_information)

    handlers.append((evt.EVT_ACCEPTED, on_accepted))
    association = ae.associate(
        "127.0.0.1", port, ae_title=request.get("called", "FILMROOM"), ext_neg=negotiation, evt_handlers=handlers
    )
    answer = {
        "accepted": [str(context.abstract_syntax) for context in association.accepted_contexts],
        "extended": answered.get(syntax),
        "responses": responses,
        "stored": stored,
    }
    if association.is_established and service != "refused":
        identifier = data_set(request["keys"], request.get("set"))
        if service == "find":
            generator = association.send_c_find(identifier, syntax, msg_id=7)
        elif service == "get":
            generator = association.send_c_get(identifier, syntax, msg_id=7)
        else:
            generator = association.send_c_move(identifier, request["destination"], syntax, msg_id=7)
        if "cancel_at" in request:
            timer = threading.Timer(
                request["cancel_at"], lambda: association.send_c_cancel(7, query_model=syntax)
            )
            timer.start()
        started = time.monotonic()
        for number, (status, found) in enumerate(generator, 1):
            counts = {
                name: getattr(status, "NumberOf" + name + "Suboperations", None)
                for name in ("Remaining", "Completed", "Failed", "Warning")
            }
            responses.append(
                {
                    "status": status.get("Status"),
                    "comment": str(status.get("ErrorComment", "")),
                    "counts": counts,
                    "keys": plain(found) if found is not None else None,
                    "after": time.monotonic() - started,
                }
            )
            if number == request.get("cancel_after"):
                association.send_c_cancel(7, query_model=syntax)
    if association.is_established:
        association.release()
    return answer


if __name__ == "__main__":
    requests = json.loads(sys.argv[3])
    print(json.dumps([main(sys.argv[1], int(sys.argv[2]), request) for request in requests]))
