"""Whether instances are the same in another transfer syntax, as pydicom sees them.

    transcoded.py FILE...        pairs of files, an original and what it became; for each pair a line of JSON: how many
                                 frames were compared, by how much samples differ at most, and what else does
"""

import json
import sys
import warnings

import numpy as np
import pydicom
from pydicom.dataelem import RawDataElement
from pydicom.pixels import pixel_array
from pydicom.tag import Tag

warnings.simplefilter("ignore")

PIXELS = {Tag("PixelData"), Tag("FloatPixelData"), Tag("DoubleFloatPixelData")}
OFFSET_TABLES = {Tag("ExtendedOffsetTable"), Tag("ExtendedOffsetTableLengths"), Tag(0x7FE00003)}
# What tells how pixels are written, and what was lost.
DESCRIBING = {
    Tag(keyword)
    for keyword in (
        "PhotometricInterpretation",
        "PlanarConfiguration",
        "BitsAllocated",
        "BitsStored",
        "HighBit",
        "LossyImageCompression",
        "LossyImageCompressionRatio",
        "LossyImageCompressionMethod",
    )
}


def elements(ds, big_endian):
    """Tags with lists of such for sequences; for others the bytes, where they are comparable and pydicom has not used
    them up, and the converted value."""
    found = {}
    for tag in sorted(ds.keys()):
        if tag.element == 0 or tag == 0xFFFCFFFC or tag in PIXELS | OFFSET_TABLES:
            continue
        raw = ds.get_item(tag)
        value = raw.value if isinstance(raw, RawDataElement) else None
        try:
            element = ds[tag]
        except Exception:  # pydicom cannot convert the value; its bytes can be compared
            element = None
        if element is not None and element.VR == "SQ":
            found[tag] = [elements(item, big_endian) for item in element.value]
        else:
            raw = None if value is None or big_endian else bytes(value).rstrip(b"\0 ")
            found[tag] = (raw, element.value if element is not None else None)
    return found


def same(old, new):
    if isinstance(old, list) or isinstance(new, list):
        return False
    if old[0] is not None and new[0] is not None:
        return old[0] == new[0]
    return old[1] == new[1] or (not old[1] and not new[1])


def differences(before, after, path, allowed):
    for tag in sorted(before.keys() | after.keys()):
        where = f"{path}{tag}"
        if tag in allowed:
            continue
        if tag not in before or tag not in after:
            yield f"{where} is only in the {'original' if tag in before else 'copy'}"
            continue
        old, new = before[tag], after[tag]
        if isinstance(old, list) and isinstance(new, list):
            if len(old) != len(new):
                yield f"{where} has {len(new)} items instead of {len(old)}"
            for number, pair in enumerate(zip(old, new)):
                yield from differences(*pair, f"{where}[{number}].", set())
        elif not same(old, new):
            yield f"{where} is {str(new)[:40]!r} instead of {str(old)[:40]!r}"


def main(files):
    for original, copy in zip(files[::2], files[1::2]):
        answer = {"original": original, "copy": copy, "frames": 0, "most": 0, "lossy": None, "problems": []}
        try:
            before, after = pydicom.dcmread(original, force=True), pydicom.dcmread(copy)
            compressed = before.file_meta.TransferSyntaxUID.is_compressed
            big_endian = not before.file_meta.TransferSyntaxUID.is_little_endian
            answer["lossy"] = after.get("LossyImageCompression")
            answer["problems"] = list(differences(
                elements(before, big_endian),
                elements(after, big_endian),
                "",
                DESCRIBING if compressed else set(),
            ))
            if PIXELS & set(before.keys()):
                if not PIXELS & set(after.keys()):
                    answer["problems"].append("the pixels are gone")
                elif after[next(iter(PIXELS & set(after.keys())))].is_undefined_length:
                    answer["problems"].append("the pixels are encapsulated")
                try:
                    expected = pixel_array(pydicom.dcmread(original, force=True))
                except Exception as err:
                    answer["unknown"] = f"{type(err).__name__}: {err}"
                else:
                    got = pixel_array(pydicom.dcmread(copy))
                    if got.shape != expected.shape:
                        answer["problems"].append(f"pixels of {got.shape} instead of {expected.shape}")
                    else:
                        answer["frames"] = int(before.get("NumberOfFrames") or 1)
                        difference = np.abs(got.astype(np.float64) - expected.astype(np.float64))
                        answer["most"] = float(np.nan_to_num(difference).max())
        except Exception as err:
            answer["problems"].append(f"{type(err).__name__}: {err}")
        print(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1:])
