"""Pictures and frames as dicomweb-client asks for them and Pillow opens them, neither of which shares code with filmroom.

    rendered.py URL TOKEN STUDY SERIES INSTANCE

prints a JSON object: what came, its format, size, number of pictures, milliseconds each is shown, and description of its
colour profile; and `native` and `stored`, SHA-256 of the first frame without compression and as it is stored.
"""

import hashlib
import io
import json
import sys
import warnings

import requests
from dicomweb_client.api import DICOMwebClient
from PIL import Image, ImageCms

warnings.simplefilter("ignore")


def described(data):
    image = Image.open(io.BytesIO(data))
    image.load()
    profile = image.info.get("icc_profile")
    opened = profile and ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile))).strip()
    return [image.format, *image.size, getattr(image, "n_frames", 1), image.info.get("duration"), opened]


def main(url, token, *uids):
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {token}"
    client = DICOMwebClient(url=url, session=session)
    study, series, _ = uids
    jpeg, png, gif = ("image/jpeg",), ("image/png",), ("image/gif",)
    native = (("application/octet-stream", "1.2.840.10008.1.2.1"),)
    stored = (("application/octet-stream", "*"),)

    def hash_of(media_types):
        return hashlib.sha256(client.retrieve_instance_frames(*uids, [1], media_types)[0]).hexdigest()

    answer = {
        "instance": described(client.retrieve_instance_rendered(*uids, jpeg)),
        "profile": described(client.retrieve_instance_rendered(*uids, jpeg, {"iccprofile": "srgb"})),
        "frame": described(client.retrieve_instance_frames_rendered(*uids, [2], png, {"viewport": "8,8"})),
        "series": described(client.retrieve_series_rendered(study, series, png)),
        "film": described(client.retrieve_instance_rendered(*uids, gif)),
        "native": hash_of(native),
        "stored": hash_of(stored),
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main(*sys.argv[1:])
