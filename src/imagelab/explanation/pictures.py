"""Images and maps as pictures that people look at."""

import base64
from io import BytesIO

import numpy as np
from PIL import Image

SIDE = 224  # pixels of the pictures that are shown
HOT = np.array([255.0, 40.0, 0.0])
OPACITY = 0.65  # of the heat where it is greatest


def enlarged(image: np.ndarray, side: int = SIDE) -> np.ndarray:
    """The image, uint8 (height, width, 1 or 3), large enough to look at: uint8 (side, side, 3)."""
    coloured = Image.fromarray(image.repeat(3, axis=2) if image.shape[2] == 1 else image)
    return np.asarray(coloured.resize((side, side), Image.Resampling.NEAREST))


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The same picture with the heat, float (map height, map width), over it in red."""
    large = Image.fromarray(heat.astype(np.float32)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    share = OPACITY * np.clip(np.asarray(large), 0, 1)[..., None]
    return np.round((1 - share) * enlarged(image) + share * HOT).astype(np.uint8)


def data_url(picture: np.ndarray) -> str:
    """A picture as the address of an <img>, with the picture itself in it."""
    content = BytesIO()
    Image.fromarray(picture).save(content, "PNG")
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
