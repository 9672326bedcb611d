"""A DICOMweb user agent for the tests: dicomweb-client, which shares no code with filmroom.

    web.py URL TOKEN STUDY SERIES INSTANCE

Asks for everything that it can ask for of one instance and what is around it, and prints a JSON object: `studies`,
`by_name`, `series`, `instances`, `metadata` (all JSON), and `retrieved`, `of_series`, `frame`, `bulk` (SHA-256 of data sets
and bytes).
"""

import hashlib
import io
import json
import sys
import warnings

import requests
from dicomweb_client.api import DICOMwebClient
from pydicom import dcmwrite
from pydicom.filewriter import write_dataset
from pydicom.filebase import DicomBytesIO

warnings.simplefilter("ignore")


def data_set(instance):
    """The data set as pydicom writes what it has read: the same bytes, where those were well formed."""
    out = DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = True, instance.is_implicit_VR
    write_dataset(out, instance)
    return hashlib.sha256(out.getvalue()).hexdigest()


def main(url, token, study, series, instance):
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {token}"
    client = DICOMwebClient(url=url, session=session)
    metadata = client.retrieve_instance_metadata(study, series, instance)
    # dicomweb-client names the host without its port, so the address is made here and only its end taken.
    bulk = client.retrieve_bulkdata(url + metadata["7FE00010"]["BulkDataURI"].split("/dicom-web", 1)[1])
    answer = {
        "studies": client.search_for_studies(),
        "by_name": client.search_for_studies(search_filters={"PatientName": "*jane1"}, limit=1, fields=["PatientAge"]),
        "series": client.search_for_series(study),
        "instances": client.search_for_instances(study, series),
        "metadata": client.retrieve_series_metadata(study, series),
        "retrieved": data_set(client.retrieve_instance(study, series, instance)),
        "of_series": [data_set(one) for one in client.retrieve_series(study, series)],
        "frame": hashlib.sha256(client.retrieve_instance_frames(study, series, instance, [1])[0]).hexdigest(),
        "bulk": hashlib.sha256(bulk[0]).hexdigest(),
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
