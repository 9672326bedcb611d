"""What a frame should look like: pydicom decodes it, and numpy applies the standard's formulas.

    pictures.py OUT FILE...      for each file a line of JSON: name, frames, and for frame 1 (and the last one)
                                 width, height, channels and the raw 8-bit pixels in a file below OUT, or the
                                 reason why pydicom cannot
"""

import json
import os
import sys
import warnings

import numpy as np
import pydicom
from pydicom.pixels import apply_color_lut, apply_modality_lut, pixel_array

warnings.simplefilter("ignore")


def to_8_bits(values, ds):
    """PS3.3 C.11.2.1.2.1, and the whole range where there is no window."""
    values = values.astype(np.float64)
    if "VOILUTSequence" in ds and "LUTData" in ds.VOILUTSequence[0]:
        item = ds.VOILUTSequence[0]
        count, first, bits = item.LUTDescriptor[0] or 65536, item.LUTDescriptor[1], item.LUTDescriptor[2]
        data = item.LUTData
        if isinstance(data, bytes):
            data = np.frombuffer(data, dtype="<u2" if len(data) >= 2 * count else "u1")
        lut = np.asarray(data, dtype=np.float64)
        index = np.clip(values - first, 0, count - 1).astype(int)
        return lut[index] / (2 ** bits - 1) * 255
    center, width = ds.get("WindowCenter"), ds.get("WindowWidth")
    if center is None or width is None or center == "" or width == "":
        lowest, highest = values.min(), values.max()
        if "PixelPaddingValue" in ds:
            kept = values[ds._stored != ds.PixelPaddingValue]
            if kept.size:
                lowest, highest = kept.min(), kept.max()
        if highest == lowest:
            return np.zeros_like(values)
        return np.clip((values - lowest) / (highest - lowest), 0, 1) * 255
    center = float(center[0] if isinstance(center, pydicom.multival.MultiValue) else center)
    width = float(width[0] if isinstance(width, pydicom.multival.MultiValue) else width)
    function = ds.get("VOILUTFunction", "LINEAR")
    if function == "SIGMOID":
        return 255 / (1 + np.exp(-4 * (values - center) / width))
    if function == "LINEAR_EXACT":
        return np.clip((values - center) / width + 0.5, 0, 1) * 255
    if width <= 1:
        return np.where(values <= center - 0.5, 0, 255)
    return np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1) * 255


def picture(ds, array):
    interpretation = ds.PhotometricInterpretation
    if interpretation == "PALETTE COLOR":
        coloured = apply_color_lut(array, ds)
        bits = ds.RedPaletteColorLookupTableDescriptor[2]
        return (coloured >> 8 if bits > 8 or coloured.dtype.itemsize > 1 else coloured).astype(np.float64)
    if interpretation in ("MONOCHROME1", "MONOCHROME2"):
        ds._stored = array
        shown = to_8_bits(apply_modality_lut(array, ds), ds)
        inverse = interpretation == "MONOCHROME1" or ds.get("PresentationLUTShape") == "INVERSE"
        return 255 - shown if inverse else shown
    if array.dtype.itemsize > 1:
        return array.astype(np.float64) / (2.0 ** ds.BitsStored - 1) * 255
    return array.astype(np.float64)


def main(out, files):
    for number, file in enumerate(files):
        answer = {"file": file}
        try:
            ds = pydicom.dcmread(file)
            if "PixelData" not in ds and "FloatPixelData" not in ds and "DoubleFloatPixelData" not in ds:
                answer["problem"] = "no pixels"
            else:
                count = int(ds.get("NumberOfFrames") or 1)
                answer["frames"] = []
                for frame in sorted({0, count - 1}):
                    array = pixel_array(ds, index=frame)
                    shown = np.rint(picture(ds, array)).astype(np.uint8)
                    path = os.path.join(out, f"{number}-{frame}.raw")
                    with open(path, "wb") as raw:
                        raw.write(shown.tobytes())
                    answer["frames"].append({
                        "frame": frame + 1,
                        "height": shown.shape[0],
                        "width": shown.shape[1],
                        "channels": 1 if shown.ndim == 2 else shown.shape[2],
                        "path": path,
                    })
        except Exception as err:  # every decoder has errors of its own
            answer.pop("frames", None)
            answer["problem"] = f"{type(err).__name__}: {err}"
        print(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
