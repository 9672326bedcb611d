"""Frames by WADO-RS against what pydicom finds in the same files.

    native_frames.py copies OUT FILE...   copies of files with pixels, each with a SOP Instance UID of its own and otherwise
                                          the same bytes; a line of JSON each: file, UID, transfer syntax, SHA-256 of
                                          each frame as it is stored
    native_frames.py compare OUT FILE...  OUT/UID-NUMBER.raw are frames without compression of such copies; a line of JSON
                                          each: how many were compared, by how much samples differ at most, and problems
"""

import hashlib
import json
import os
import sys
import warnings

import numpy as np
import pydicom
from pydicom.encaps import generate_frames
from pydicom.pixels import pixel_array

warnings.simplefilter("ignore")

PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


def swaps_bytes(ds):
    big_endian = not ds.file_meta.TransferSyntaxUID.is_little_endian
    return big_endian and "PixelData" in ds and ds["PixelData"].VR == "OW" and ds.BitsAllocated <= 8


def stored(ds):
    count = int(ds.get("NumberOfFrames") or 1)
    value = next(ds[keyword].value for keyword in PIXELS if keyword in ds)
    if ds.file_meta.TransferSyntaxUID.is_encapsulated:
        return list(generate_frames(value, number_of_frames=count))
    samples = 2 if ds.PhotometricInterpretation == "YBR_FULL_422" else ds.SamplesPerPixel
    length = ds.Rows * ds.Columns * samples * ds.BitsAllocated // 8
    if swaps_bytes(ds) and count == 1:
        # Whole words, PS3.5 section 7.3.
        length += length % 2
    return [value[length * number : length * (number + 1)] for number in range(count)]


def copies(out, files):
    for number, file in enumerate(files):
        try:
            ds = pydicom.dcmread(file)
            if not any(keyword in ds for keyword in PIXELS):
                continue
            old = str(ds.SOPInstanceUID)
            new = f"1.2.{number + 1}."
            new += "9" * (len(old) - len(new))
            with open(file, "rb") as source:
                data = source.read()
            frames = stored(ds)
        except Exception as err:
            print(json.dumps({"file": file, "problem": f"{type(err).__name__}: {err}"}))
            continue
        if ds.file_meta.TransferSyntaxUID.is_deflated or old.encode() not in data:
            new = old
        copy = os.path.join(out, f"{number}-{os.path.basename(file)}")
        with open(copy, "wb") as target:
            target.write(data.replace(old.encode(), new.encode()))
        print(json.dumps({
            "file": copy,
            "instance": new,
            "syntax": str(ds.file_meta.TransferSyntaxUID),
            "frames": [hashlib.sha256(frame).hexdigest() for frame in frames],
        }))


def samples(ds, raw):
    """An array of a decoded frame: colour by pixel."""
    pixels = ds.Rows * ds.Columns * ds.SamplesPerPixel
    if ds.BitsAllocated == 1:
        bits = np.unpackbits(np.frombuffer(raw, "u1"), bitorder="little")
        return bits[:pixels].astype(np.float64)
    signed = "i" if ds.get("PixelRepresentation") == 1 else "u"
    return np.frombuffer(raw, f"<{signed}{len(raw) // pixels}")[:pixels].astype(np.float64)


def compare(out, files):
    for file in files:
        ds = pydicom.dcmread(file)
        syntax = ds.file_meta.TransferSyntaxUID
        answer = {"file": file, "frames": 0, "most": 0, "problems": []}
        for number, frame in enumerate(stored(ds), 1):
            with open(os.path.join(out, f"{ds.SOPInstanceUID}-{number}.raw"), "rb") as source:
                raw = source.read()
            if not syntax.is_compressed:
                if not syntax.is_little_endian and ds.BitsAllocated > 8:
                    size = ds.BitsAllocated // 8
                    frame = np.frombuffer(frame, f">u{size}").astype(f"<u{size}").tobytes()
                elif swaps_bytes(ds):
                    frame = np.frombuffer(frame, ">u2").astype("<u2").tobytes()
                    frame = frame[: -(-ds.Rows * ds.Columns * ds.SamplesPerPixel * ds.BitsAllocated // 8)]
                if raw != frame:
                    answer["problems"].append(f"frame {number} is another one")
                answer["frames"] += 1
                continue
            try:
                candidates = [pixel_array(ds, index=number - 1, raw=how) for how in (True, False)]
            except Exception as err:  # there is nothing to compare with
                answer["unknown"] = f"{type(err).__name__}: {err}"
                continue
            try:
                got = samples(ds, raw)
                differences = [np.abs(got - array.ravel().astype(np.float64)).max() for array in candidates]
                answer["most"] = max(answer["most"], float(min(differences)))
                answer["frames"] += 1
            except Exception as err:
                answer["problems"].append(f"frame {number}: {type(err).__name__}: {err}")
        print(json.dumps(answer))


if __name__ == "__main__":
    {"copies": copies, "compare": compare}[sys.argv[1]](sys.argv[2], sys.argv[3:])
