"""Stores over STOW-RS in both forms, with dicomweb-client and with pydicom's JSON: neither shares code with filmroom.

    stow.py URL TOKEN FILES FILE...

The first FILES files are stored with dicomweb-client, as they are; the rest as metadata with bulk data, of which frames
that are compressed come one by one. Prints a JSON object: `files` (what dicomweb-client made of the answer) and, for each
file of the rest, `[status, differences]`, after everything was retrieved again.
"""

import json
import sys
import warnings

import requests
from dicomweb_client.api import DICOMwebClient
from pydicom import dcmread
from pydicom.encaps import generate_frames

warnings.simplefilter("ignore")


def metadata_form(dataset):
    """Content type and body: JSON, then what is longer than 256 bytes, each under an address of its own."""
    bulk = []

    def elsewhere(element):
        uri = f"bulk/{len(bulk)}"
        value = element.value
        parts = [value if isinstance(value, bytes) else bytes(value)]
        kind = "application/octet-stream"
        syntax = dataset.file_meta.TransferSyntaxUID
        if element.tag == 0x7FE00010 and syntax.is_compressed and not syntax.is_deflated:
            kind = f"{ {'1.2.840.10008.1.2.5': 'image/dicom-rle'}.get(syntax, 'image/jp2') }; transfer-syntax={syntax}"
            parts = list(generate_frames(value, number_of_frames=int(dataset.get("NumberOfFrames", 1))))
        bulk.extend((uri, kind, part) for part in parts)
        return uri

    metadata = dataset.to_json_dict(bulk_data_threshold=256, bulk_data_element_handler=elsewhere)
    out = [b"--x\r\nContent-Type: application/dicom+json\r\n\r\n", json.dumps([metadata]).encode()]
    for uri, kind, part in bulk:
        out.append(f"\r\n--x\r\nContent-Type: {kind}\r\nContent-Location: {uri}\r\n\r\n".encode())
        out.append(part)
    out.append(b"\r\n--x--")
    return 'multipart/related; type="application/dicom+json"; boundary=x', b"".join(out)


def differences(sent, kept):
    """Tags whose values are other ones; compressed pixels are compared frame by frame."""
    found = []
    for element in sent:
        other = kept.get(element.tag)
        if element.tag == 0x00080005 or (other is None and not element.value):
            continue
        if other is None:
            found.append(f"{element.tag} is missing")
            continue
        one, two = element.value, other.value
        if element.tag == 0x7FE00010 and kept.file_meta.TransferSyntaxUID.is_compressed:
            frames = int(sent.get("NumberOfFrames", 1))
            one = [frame.rstrip(b"\0") for frame in generate_frames(one, number_of_frames=frames)]
            two = [frame.rstrip(b"\0") for frame in generate_frames(two, number_of_frames=frames)]
        if isinstance(one, bytes):
            one, two = one.rstrip(b"\0"), two.rstrip(b"\0")
        if element.VR == "SQ":
            found += [f"{element.tag} has other items"] if len(one) != len(two) else []
            for a, b in zip(one, two):
                b.file_meta = kept.file_meta
                found += differences(a, b)
        elif one != two and str(one) != str(two):
            found.append(f"{element.tag}: {str(one)[:60]!r} is {str(two)[:60]!r}")
    return found


def main(url, token, count, *files):
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {token}"
    client = DICOMwebClient(url=url, session=session)
    first, rest = files[: int(count)], files[int(count) :]
    answer = client.store_instances([dcmread(file) for file in first])
    results = {"files": len(answer.ReferencedSOPSequence), "rest": {}}
    for file in rest:
        dataset = dcmread(file)
        kind, body = metadata_form(dataset)
        response = session.post(f"{url}/studies", data=body, headers={"Content-Type": kind})
        found = [response.text[:300]]
        if response.status_code == 200:
            named = (dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID)
            kept = client.retrieve_instance(*named, media_types=(("application/dicom", "*"),))
            found = differences(dataset, kept)
        results["rest"][file.rsplit("/", 1)[-1]] = [response.status_code, found]
    print(json.dumps(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
