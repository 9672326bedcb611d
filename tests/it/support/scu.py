"""An SCU for the tests: pynetdicom, which shares no code with filmroom.

    scu.py store PORT FILE...            one association, each data set byte for byte as it stands in its file;
                                         a JSON list of {status, comment}
    scu.py wait PORT AE_TITLE            one association that echoes and then waits; how it ended and after how many
                                         seconds, a JSON object of {echoed, end, seconds}
"""

import io
import json
import sys
import time
import warnings

from pydicom import dcmread
from pydicom.filereader import read_preamble, _read_file_meta_info
from pynetdicom import AE, _config
from pynetdicom.dimse_primitives import C_STORE

warnings.simplefilter("ignore")
_config.LOG_HANDLER_LEVEL = "none"
# Also what breaks a rule is to be sent.
_config.ENFORCE_UID_CONFORMANCE = False


def parts(file):
    """SOP class, SOP instance and transfer syntax as an SCU names them, and the bytes of the data set."""
    with open(file, "rb") as stream:
        read_preamble(stream, False)
        meta = _read_file_meta_info(stream)
        data_set = stream.read()
    try:
        head = dcmread(file, specific_tags=["SOPClassUID", "SOPInstanceUID"], stop_before_pixels=True, force=True)
    except Exception:  # what pydicom cannot read can be sent all the same
        head = {}
    return (
        head.get("SOPClassUID") or meta.MediaStorageSOPClassUID,
        head.get("SOPInstanceUID") or meta.MediaStorageSOPInstanceUID,
        meta.TransferSyntaxUID,
        data_set,
    )


def store(port, files):
    ae = AE(ae_title="TESTSCU")
    # Another test may keep the disk busy meanwhile.
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 120
    instances = [parts(file) for file in files]
    for context in dict.fromkeys((sop_class, syntax) for sop_class, _, syntax, _ in instances):
        ae.add_requested_context(*context)
    association = ae.associate("127.0.0.1", port, ae_title="FILMROOM")
    contexts = {
        (context.abstract_syntax, context.transfer_syntax[0]): context.context_id
        for context in association.accepted_contexts
    }
    # As pynetdicom's own send_c_store does: its reactor must not take the responses.
    association._reactor_checkpoint.clear()
    while association.is_established and not association._is_paused:
        time.sleep(0.001)
    answers = []
    for number, (sop_class, sop_instance, syntax, data_set) in enumerate(instances):
        answer = {"status": None, "comment": "no association"}
        answers.append(answer)
        if not association.is_established or (sop_class, syntax) not in contexts:
            continue
        request = C_STORE()
        request.MessageID = number + 1
        request.AffectedSOPClassUID = sop_class
        request.AffectedSOPInstanceUID = sop_instance
        request.Priority = 0
        request.DataSet = io.BytesIO(data_set)
        association.dimse.send_msg(request, contexts[sop_class, syntax])
        _, response = association.dimse.get_msg(block=True)
        answer["comment"] = "no response"
        if response is not None:
            answer["status"] = response.Status
            answer["comment"] = str(response.ErrorComment or "")
    association._reactor_checkpoint.set()
    if association.is_established:
        association.release()
    print(json.dumps(answers))


def wait(port, arguments):
    ae = AE(ae_title=arguments[0])
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 60
    ae.add_requested_context("1.2.840.10008.1.1")
    association = ae.associate("127.0.0.1", port, ae_title="FILMROOM")
    echoed = association.is_established and association.send_c_echo().Status == 0
    began = time.monotonic()
    while association.is_established and time.monotonic() - began < 60:
        time.sleep(0.01)
    end = "aborted" if association.is_aborted else "released" if association.is_released else "open"
    print(json.dumps({"echoed": echoed, "end": end, "seconds": time.monotonic() - began}))


if __name__ == "__main__":
    {"store": store, "wait": wait}[sys.argv[1]](int(sys.argv[2]), sys.argv[3:])
