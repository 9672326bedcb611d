"""Whether data sets in the DICOM JSON Model are what pydicom makes of the same files.

    dicom_json.py FILE JSON...   pairs of a DICOM file and its data set as JSON, with the SHA-256 of bulk data as its
                                 address; for each pair a line of JSON: how many attributes were compared, which
                                 differ and how, and why pydicom cannot read the file

What pydicom does otherwise everywhere is put right here, each with the section of PS3.18 that says so.
"""

import base64
import hashlib
import json
import math
import struct
import sys
import warnings

import pydicom
from pydicom import datadict
from pydicom.tag import Tag

warnings.simplefilter("ignore")
# What private attributes are, only pydicom knows.
datadict.private_dictionaries.clear()

PIXELS = {Tag("PixelData"), Tag("FloatPixelData"), Tag("DoubleFloatPixelData")}
BINARY = {"OB", "OD", "OF", "OL", "OV", "OW", "UN"}
UNITS = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}
# More than 1024 bytes; pydicom counts in base64.
THRESHOLD = 1368


def turned(vr, value, big_endian):
    """Little endian, which is the only byte order left (PS3.18 8.7.3); pydicom leaves bytes as they are."""
    unit = UNITS.get(vr, 1) if big_endian else 1
    return b"".join(value[at : at + unit][::-1] for at in range(0, len(value), unit)) if unit > 1 else value


def attribute(element, big_endian, is_top):
    """An attribute as pydicom writes it."""

    def address(element):
        return hashlib.sha256(turned(element.VR, element.value, big_endian)).hexdigest()

    made = element.to_json_dict(address, THRESHOLD)
    vr = made["vr"]
    if "InlineBinary" in made:
        value = turned(vr, element.value, big_endian)
        made["InlineBinary"] = base64.b64encode(value).decode()
        if is_top and element.tag in PIXELS:  # ours is bulk data, whatever its length
            made = {"vr": vr, "BulkDataURI": hashlib.sha256(value).hexdigest()}
    if "Value" in made:
        made["Value"] = [put_right(vr, value) for value in made["Value"]]
        if vr in ("FL", "FD") and not all(map(math.isfinite, made["Value"])):  # JSON has no such numbers
            form = "<" + ("f" if vr == "FL" else "d") * len(made["Value"])
            made["InlineBinary"] = base64.b64encode(struct.pack(form, *made.pop("Value"))).decode()
        elif made["Value"] in ([], [None]):  # F.2.5: no Value
            del made["Value"]
    if element.tag == Tag("SpecificCharacterSet") and "Value" in made:  # F.2: it is UTF-8
        made["Value"] = ["ISO_IR 192"]
    return made


def put_right(vr, value):
    if vr == "PN":  # F.2.2: the non-empty components
        value = {group: text.strip() for group, text in value.items() if text.strip()}
        return value or None
    if isinstance(value, str):
        # Padding, PS3.5 Table 6.2-1.
        value = value.rstrip(" \0") if vr in ("LT", "ST", "UC", "UT") else value.strip(" \0")
        return value or None  # F.2.5: null
    return value


def data_set(ds, big_endian, is_top=True):
    """Attributes by tag; the exception for those pydicom fails at."""
    found = {}
    for tag in sorted(ds.keys()):
        if tag.element == 0:  # F.2.2: no group lengths
            continue
        name = f"{tag:08X}"
        try:
            element = ds[tag]
            if element.VR == "SQ":
                items = [data_set(item, big_endian, False) for item in element.value]
                found[name] = {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
            else:
                found[name] = attribute(element, big_endian, is_top)
        except Exception as err:
            found[name] = err
    return found


def equal(vr, ours, theirs):
    if isinstance(ours, (int, float)) and isinstance(theirs, (int, float)):
        if vr == "FL":
            return struct.pack("<f", ours) == struct.pack("<f", theirs)
        return ours == theirs
    return ours == theirs


def same(ours, theirs):
    if ours.keys() != theirs.keys() or ours["vr"] != theirs["vr"]:
        return False
    if "Value" not in ours:
        return ours == theirs
    pairs = list(zip(ours["Value"], theirs["Value"]))
    return len(ours["Value"]) == len(theirs["Value"]) and all(equal(ours["vr"], *pair) for pair in pairs)


def short(value):
    return str(value)[:100]


def compare(ours, theirs, path, counted):
    if list(ours) != sorted(ours):
        yield path, "not in ascending order"
    for tag in sorted(ours.keys() | theirs.keys()):
        where = path + tag
        counted.append(where)
        if tag not in ours or tag not in theirs:
            yield where, f"only in {'pydicom' if tag in theirs else 'ours'}: {short(theirs.get(tag, ours.get(tag)))}"
        elif isinstance(theirs[tag], Exception):
            yield where, f"ours is {short(ours[tag])}, pydicom fails: {short(theirs[tag])}"
        elif ours[tag]["vr"] == theirs[tag]["vr"] == "SQ":
            items = ours[tag].get("Value", []), theirs[tag].get("Value", [])
            if len(items[0]) != len(items[1]):
                yield where, f"{len(items[0])} items instead of {len(items[1])}"
            for number, pair in enumerate(zip(*items), 1):
                yield from compare(*pair, f"{where}/{number}/", counted)
        elif not same(ours[tag], theirs[tag]):
            yield where, f"ours is {short(ours[tag])}, pydicom's {short(theirs[tag])}"


def main(files):
    for original, text in zip(files[::2], files[1::2]):
        answer = {"original": original, "compared": 0, "differences": [], "unknown": None}
        try:
            ds = pydicom.dcmread(original, force=True)
            big_endian = ds.original_encoding[1] is False
            with open(text, encoding="utf-8") as file:
                ours = json.load(file)
        except Exception as err:
            answer["unknown"] = f"{type(err).__name__}: {err}"
        else:
            counted = []
            answer["differences"] = list(compare(ours, data_set(ds, big_endian), "", counted))
            answer["compared"] = len(counted)
        print(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1:])
