"""One version in memory: pictures that explain its answer."""

import base64
from io import BytesIO

import numpy as np
from PIL import Image

from imagelab.serving.served_version import ServedVersion


def pixels(url: str) -> np.ndarray:
    assert url.startswith("data:image/png;base64,")
    return np.asarray(Image.open(BytesIO(base64.b64decode(url.split(",")[1]))))


def test_an_answer_is_explained_with_pictures(colour: ServedVersion, grey: ServedVersion) -> None:
    for version in (colour, grey):
        image = np.full(version.model.served.image_shape, 200, np.uint8)
        explained = version.explain(image)
        assert (pixels(explained["picture"]) == 200).all()
        assert (pixels(explained["looked_at"]) != 200).any()
        assert explained["label"] == explained["top"][0]["label"]
