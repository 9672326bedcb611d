"""An SCU for the tests: pynetdicom, which shares no code with filmroom.

    scu.py store PORT FILE...            one association, each file as it is; a JSON list of {status, comment}
"""

import json
import sys

from pydicom import dcmread
from pydicom.filereader import read_file_meta_info
from pynetdicom import AE
from pynetdicom import _config

_config.LOG_HANDLER_LEVEL = "none"
# The files are to be sent as they are, also those that break a rule.
_config.ENFORCE_UID_CONFORMANCE = False


def store(port, files):
    ae = AE(ae_title="TESTSCU")
    contexts = []
    for file in files:
        meta = read_file_meta_info(file)
        context = (meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID)
        if context not in contexts:
            contexts.append(context)
    for sop_class, transfer_syntax in contexts:
        ae.add_requested_context(sop_class, transfer_syntax)
    association = ae.associate("127.0.0.1", port, ae_title="FILMROOM")
    answers = []
    for file in files:
        if not association.is_established:
            answers.append({"status": None, "comment": "no association"})
            continue
        try:
            status = association.send_c_store(file)
            answers.append({
                "status": status.Status if "Status" in status else None,
                "comment": status.get("ErrorComment", "") or "",
            })
        except (AttributeError, ValueError, RuntimeError) as err:
            answers.append({"status": None, "comment": f"{type(err).__name__}: {err}"})
    if association.is_established:
        association.release()
    print(json.dumps(answers))


if __name__ == "__main__":
    {"store": store}[sys.argv[1]](int(sys.argv[2]), sys.argv[3:])
