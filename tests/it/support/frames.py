"""SHA-256 of each frame of files, as it is stored: what pydicom finds, which shares no code with filmroom.

    frames.py FILE...    a JSON object: SOP Instance UID -> hashes in the order of the frames
"""

import hashlib
import json
import sys
import warnings

from pydicom import dcmread
from pydicom.encaps import generate_frames

warnings.simplefilter("ignore")


def frames(file):
    data_set = dcmread(file)
    count = int(data_set.get("NumberOfFrames") or 1)
    if data_set.file_meta.TransferSyntaxUID.is_encapsulated:
        return list(generate_frames(data_set.PixelData, number_of_frames=count))
    length = data_set.Rows * data_set.Columns * data_set.SamplesPerPixel * data_set.BitsAllocated // 8
    return [data_set.PixelData[length * number : length * (number + 1)] for number in range(count)]


def main(files):
    hashes = {}
    for file in files:
        uid = str(dcmread(file, stop_before_pixels=True).SOPInstanceUID)
        hashes[uid] = [hashlib.sha256(frame).hexdigest() for frame in frames(file)]
    print(json.dumps(hashes))


if __name__ == "__main__":
    main(sys.argv[1:])
