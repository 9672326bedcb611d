"""SCPs for the tests: pynetdicom, which shares no code with filmroom, with the manners of peers that are met with.

    scp.py store MANNER [ARGUMENT]   takes instances. Manners: good; busy N (A700H for the first N); silent (never
                                     answers); falls-silent N (from the Nth on); abort N (aborts once, at the Nth instance); poison UID (C000H for that
                                     one); breaks UID (aborts whenever that one comes); slow SECONDS (before each answer)
    scp.py find CHARSETS             answers a C-FIND with three studies in three character sets
    scp.py find endless              answers without end until it is cancelled
    scp.py get COUNT                 answers a C-GET with so many slices, and pauses before each

The first line is the port, each further one the SOP Instance UID of what was taken.
"""

import sys
import time
import warnings

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt, _config
from pynetdicom.sop_class import (
    CTImageStorage,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    Verification,
)

warnings.simplefilter("ignore")
_config.LOG_HANDLER_LEVEL = "none"
_config.UNRESTRICTED_STORAGE_SERVICE = True


class Storage:
    def __init__(self, manner, argument):
        self.manner = manner
        self.argument = argument
        self.seen = 0

    def store(self, event):
        self.seen += 1
        uid = str(event.request.AffectedSOPInstanceUID)
        if self.manner == "busy" and self.seen <= int(self.argument):
            return 0xA700
        if self.manner == "silent" or self.manner == "falls-silent" and self.seen >= int(self.argument):
            time.sleep(3600)
        if self.manner == "slow":
            time.sleep(float(self.argument))
        if self.manner == "abort" and self.seen == int(self.argument):
            event.assoc.abort()
            return 0x0000
        if self.manner == "breaks" and uid == self.argument:
            event.assoc.abort()
            return 0x0000
        if self.manner == "poison" and uid == self.argument:
            return 0xC000
        print(uid, flush=True)
        return 0x0000


def study(number, charset, name):
    answer = Dataset()
    answer.SpecificCharacterSet = charset
    answer.QueryRetrieveLevel = "STUDY"
    answer.StudyInstanceUID = f"1.2.3.{number}"
    answer.PatientName = name
    answer.PatientID = f"R{number}"
    answer.StudyDate = f"2026010{number}"
    answer.StudyDescription = "Head"
    answer.ModalitiesInStudy = "CT"
    answer.NumberOfStudyRelatedSeries = 1
    answer.NumberOfStudyRelatedInstances = number
    return answer


def find_charsets(event):
    yield 0xFF00, study(1, "ISO_IR 100", "Müller^Jörg")
    yield 0xFF01, study(2, "ISO_IR 192", "Łukasz^Żółć")
    yield 0xFF00, study(3, ["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう")


def find_endless(event):
    number = 0
    while not event.is_cancelled:
        number += 1
        yield 0xFF00, study(number, "ISO_IR 100", f"Doe^{number}")
    print("cancelled", flush=True)
    yield 0xFE00, None


def a_slice(number):
    instance = Dataset()
    instance.file_meta = FileMetaDataset()
    instance.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    instance.SOPClassUID = CTImageStorage
    instance.SOPInstanceUID = f"1.2.3.1.1.{number}"
    instance.StudyInstanceUID = "1.2.3.1"
    instance.SeriesInstanceUID = "1.2.3.1.1"
    instance.PatientID = "P1"
    instance.PatientName = "Doe^Jane1"
    instance.Modality = "CT"
    instance.InstanceNumber = number
    return instance


def get(count):
    def slices(event):
        yield count
        for number in range(1, count + 1):
            if event.is_cancelled:
                print("cancelled", flush=True)
                yield 0xFE00, None
                return
            time.sleep(0.1)
            yield 0xFF00, a_slice(number)

    return slices


def main(service, manner, argument=None):
    ae = AE(ae_title="SCRIPTED")
    ae.add_supported_context(Verification)
    if service == "store":
        for context in AllStoragePresentationContexts[:120]:
            ae.add_supported_context(context.abstract_syntax, ALL_TRANSFER_SYNTAXES)
        handlers = [(evt.EVT_C_STORE, Storage(manner, argument).store)]
    elif service == "get":
        ae.add_supported_context(StudyRootQueryRetrieveInformationModelGet)
        ae.add_supported_context(CTImageStorage, scu_role=True, scp_role=True)
        handlers = [
            (evt.EVT_C_GET, get(int(manner))),
            # An association of which nothing was accepted is aborted too.
            (evt.EVT_ABORTED, lambda event: event.assoc.accepted_contexts and print("aborted", flush=True)),
        ]
    else:
        ae.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
        handlers = [(evt.EVT_C_FIND, find_endless if manner == "endless" else find_charsets)]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    print(server.server_address[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
