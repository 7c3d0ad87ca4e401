"""What is stored with each logged model: images as users have them in, labels and probabilities out.

MLflow copies this file into the model ("models from code", no pickle) and executes it where the model is loaded, so it
imports nothing of this project, and each model keeps the code that it was logged with.
"""

import base64
import os
import re
import threading
import zlib
from contextlib import nullcontext
from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel
from PIL import Image, ImageOps

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
MOST_PIXELS = 50_000_000  # of one image, before it is decoded
LARGE_PIXELS = 4_000_000  # from here on images are decoded one at a time: each may need 16 bytes a pixel
LARGE = threading.Lock()
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # a pixel, of each colour type of PNG
PIECE = 2**16  # bytes that are unpacked at a time
SIXTEEN_BIT = ("I", "I;16", "I;16B", "I;16L", "I;16N")
# Images that go through the network at once: the kernels keep memory for each size that they have seen.
SIZES = (1, 2, 3, *(part * 2**power for power in range(6) for part in (4, 5, 6, 7)), 256)
COLUMN = "image"


def refuse(reason: str) -> MlflowException:
    """An error that every MLflow server answers with status 400."""
    return MlflowException.invalid_parameter_value(reason)


def items_of(given: Any) -> list[Any] | np.ndarray:
    """The single images in the input of `predict`: a table, a dictionary, a list, an array, or one image."""
    if isinstance(given, pd.DataFrame):
        return column_of(given)
    if isinstance(given, dict):
        if COLUMN not in given:
            raise refuse(f"give the images under the name {COLUMN!r}, not {some_of(given)!r}")
        given = given[COLUMN]
    if isinstance(given, str | bytes):
        return [given]
    if isinstance(given, np.ndarray) and given.dtype.kind in "OSU":
        given = list(given.ravel() if given.dtype.kind in "SU" else np.atleast_1d(given))
    if isinstance(given, list | tuple | pd.Series):
        if not any(isinstance(item, str | bytes | dict) for item in given):
            return array_of(list(given))
        return [item[COLUMN] if isinstance(item, dict) and COLUMN in item else item for item in given]
    if isinstance(given, np.ndarray) and given.ndim:
        return given
    raise refuse(f"give images as base64 text, bytes or an array, not as one {np.asarray(given).dtype}")


def column_of(table: pd.DataFrame) -> list[Any]:
    names = list(table.columns)
    nameless = len(names) == 1 and isinstance(names[0], int | np.integer)
    if names.count(COLUMN) != 1 and not nameless:
        raise refuse(f"the table needs one column {COLUMN!r} with images as base64 text; it has {some_of(names)}")
    try:
        return list(table.iloc[:, 0 if nameless else names.index(COLUMN)])
    except UnicodeDecodeError:
        raise refuse(f"the column {COLUMN!r} of the table is damaged") from None


def some_of(names: Any) -> str:
    return ", ".join(str(name)[:20] for name in list(names)[:3]) or "none"


def array_of(pixels: Any) -> np.ndarray:
    try:
        array = np.asarray(pixels)
    except ValueError:
        raise refuse("the rows of an array of pixels are not all of one length") from None
    if array.dtype.kind not in "iuf" or array.dtype.itemsize > 8:
        kind = {"O": "mixed values", "U": "text", "S": "bytes"}.get(array.dtype.kind, str(array.dtype))
        raise refuse(f"pixels are whole numbers 0-255, not {kind}")
    return array


def checked_pixels(array: np.ndarray) -> np.ndarray:
    """Images (n, ...) as uint8; what cannot be pixels 0-255 is refused: it would be classified, and wrongly."""
    if array.dtype == np.uint8 or not array.size:
        return array.astype(np.uint8)
    if not np.isfinite(array).all():
        raise refuse("pixels are whole numbers 0-255; these hold NaN or infinity")
    low, high = array.min(), array.reshape(len(array), -1).max(axis=1)
    if low < 0 or high.max() > 255:
        raise refuse(f"pixels are whole numbers 0-255; these go from {low:g} to {high.max():g}")
    if ((high > 0) & (high <= 1)).any():
        raise refuse("pixels are whole numbers 0-255; these look scaled to 0-1: multiply them by 255")
    return np.round(array).astype(np.uint8)


def decoded(item: str | bytes) -> bytes:
    """The bytes of an image file from bytes or from base64 text (with or without `data:...;base64,`)."""
    if isinstance(item, bytes):
        return item
    try:
        return base64.b64decode(re.sub(r"^data:[^,]*;base64,|\s+", "", item.strip()), validate=True)
    except ValueError:
        raise refuse("that text is not base64") from None


def picture(content: bytes, image_shape: tuple[int, int, int]) -> np.ndarray:
    """An image file as uint8 pixels (height, width, channels): the whole image, in the network's size."""
    if not content:
        raise refuse("the image is empty")
    try:
        image: Image.Image = Image.open(BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError:
        raise refuse(f"the image has more than {MOST_PIXELS:,} pixels") from None
    except Exception:
        raise refuse(f"the image cannot be decoded; known formats: {', '.join(FORMATS)}") from None
    count, format_name = image.width * image.height, str(image.format)
    if count > MOST_PIXELS:
        raise refuse(f"the image has {image.width} x {image.height} pixels, more than {MOST_PIXELS:,}")
    damaged = refuse(f"the image is damaged: {format_name} data cannot be decoded")
    try:
        with LARGE if count > LARGE_PIXELS else nullcontext():
            if format_name == "PNG" and ends_early(content, image.size):
                raise damaged
            return shrunk(image, image_shape)
    except Exception:
        raise damaged from None


def ends_early(png: bytes, size: tuple[int, int]) -> bool:
    """Whether a PNG of this width and height holds data of fewer pixels; Pillow takes those that are missing for black.

    Data are unpacked in small pieces and only counted, so that a small file cannot fill the memory. Interlaced images
    hold some more bytes than are counted here, so of those a few rows may be missing.
    """
    if png[12:16] != b"IHDR":
        return True  # what stands there is no header, whatever Pillow makes of the rest
    depth, colour = png[24:26]
    missing = size[1] * (1 + (size[0] * depth * SAMPLES[colour] + 7) // 8)
    unpacker, place = zlib.decompressobj(), 8
    while place < len(png) and missing > 0:
        length = int.from_bytes(png[place : place + 4], "big")
        packed = png[place + 8 : place + 8 + length] if png[place + 4 : place + 8] == b"IDAT" else b""
        for start in range(0, len(packed), PIECE):
            rest = packed[start : start + PIECE]
            while rest and missing > 0:
                missing -= len(unpacker.decompress(rest, PIECE))
                rest = unpacker.unconsumed_tail
        place += 12 + length
    return missing > 0


def shrunk(image: Image.Image, image_shape: tuple[int, int, int]) -> np.ndarray:
    height, width, channels = image_shape
    image.draft(None, (2 * width, 2 * height))  # JPEG: decode no finer than needed
    image = flattened(ImageOps.exif_transpose(image)).convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)
    return np.asarray(image, np.uint8).reshape(image_shape)


def flattened(image: Image.Image) -> Image.Image:
    """Eight bits a channel and nothing transparent: 16-bit grey is scaled down, transparent pixels become white."""
    if image.mode in SIXTEEN_BIT:
        return Image.fromarray(np.round(np.clip(np.asarray(image, np.float64), 0, 65535) / 257).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image


class ServedModel(PythonModel):
    """Any of MLflow's input formats to a table with a row an image: label, probability, top, maybe superclass.

    Attributes:
        network: raw uint8 pixels (n, height, width, channels) to probabilities (n, classes).
        image_shape: (height, width, channels) of what it takes.
    """

    def load_context(self, context: Any) -> None:
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # the same kernels as in training; read by the import
        import keras
        import tensorflow as tf

        self.network = keras.saving.load_model(context.artifacts["network"], compile=False)
        self.network.trainable = False
        self.image_shape: tuple[int, int, int] = tuple(self.network.input_shape[1:])
        self.class_names: list[str] = context.model_config["class_names"]
        self.superclass_of: list[str] = context.model_config["superclass_of"]
        pixels = tf.TensorSpec((None, *self.image_shape), tf.uint8)
        # Compiled now, not at the first request. A concrete function is never traced again: TensorFlow counts functions
        # of the same code as one, so those of all models in a process, and would warn of too much tracing.
        self.compute = tf.function(
            lambda images: self.network(tf.cast(images, tf.float32), training=False), input_signature=[pixels]
        ).get_concrete_function()
        self.probabilities(np.zeros((1, *self.image_shape), np.uint8))  # the first call is slow

    def predict(self, context: Any, model_input: np.ndarray, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Classify images: a row an image.

        Args:
            model_input: pixels 0-255 as (n, height, width, channels) or grey (n, height, width), or image files as
                bytes or base64 text, in a list, an array or the column `image` of a table. (The hint names only the
                array: of a union MLflow would make a schema, and fail.)
            params: top_k, how many classes to name; on_error, what becomes of images that cannot be used: "refuse" all,
                or "report" them in a column `error`, which is empty where nothing is wrong.

        Raises:
            MlflowException: INVALID_PARAMETER_VALUE (status 400), with what is wrong in one sentence.
        """
        params = params or {}
        top_k = self.checked_top_k(params.get("top_k"))
        on_error = params.get("on_error", "refuse")
        if on_error == "report":
            return self.report(items_of(model_input), top_k)
        if on_error != "refuse":
            raise refuse(f"on_error is refuse or report, not {str(on_error)[:20]!r}")
        return self.answer(self.probabilities(self.pixels(model_input)), top_k)

    def report(self, items: Any, top_k: int) -> pd.DataFrame:
        """Classify what can be used, a row an item; the others have only an `error`."""
        pixels, errors = [], []
        for item in items:
            try:
                pixels.append(self.one(item))
                errors.append("")
            except MlflowException as error:
                errors.append(error.message)
        probabilities = self.probabilities(np.stack(pixels)) if pixels else np.empty((0, len(self.class_names)))
        table = self.answer(probabilities, top_k)
        table.index = pd.Index([place for place, error in enumerate(errors) if not error])
        table = table.reindex(range(len(errors)))
        table["top"] = [[] if error else top for top, error in zip(table["top"], errors, strict=True)]
        return table.assign(error=errors)

    def checked_top_k(self, top_k: Any) -> int:
        most = len(self.class_names)
        if top_k is None:
            return min(5, most)
        if isinstance(top_k, bool) or not isinstance(top_k, int | np.integer) or not 1 <= top_k <= most:
            raise refuse(f"top_k is a whole number from 1 to {most}")
        return int(top_k)

    def pixels(self, given: Any, most: int | None = None) -> np.ndarray:
        """The input as uint8 (n, height, width, channels); more than `most` images are refused."""
        items = items_of(given)
        if not len(items):
            raise refuse("there are no images")
        if most is not None and len(items) > most:
            raise refuse(f"these are {len(items):,} images; send at most {most:,} at once")
        if isinstance(items, np.ndarray):
            return self.batch(items)
        images = []
        for number, item in enumerate(items):
            try:
                images.append(self.one(item))
            except MlflowException as error:
                raise refuse(f"image {number}: {error.message}" if len(items) > 1 else error.message) from None
        return np.stack(images)

    def one(self, item: Any) -> np.ndarray:
        if isinstance(item, np.ndarray) and not item.ndim:  # MLflow wraps single values
            item = item.item()
        if isinstance(item, str | bytes):
            return picture(decoded(item), self.image_shape)
        if not isinstance(item, list | tuple | np.ndarray):
            raise refuse(f"an image is base64 text, bytes or an array, not {type(item).__name__}")
        nested = isinstance(item, np.ndarray) and item.dtype == object  # a cell of a Parquet table
        pixels: np.ndarray = self.batch(array_of(list(item) if nested else item)[None])
        return pixels[0]

    def batch(self, array: np.ndarray) -> np.ndarray:
        height, width, channels = self.image_shape
        if array.shape[1:] not in (self.image_shape, (height, width)):
            raise refuse(
                f"arrays are (n, {height}, {width}, {channels}) or grey (n, {height}, {width}), not {array.shape}; "
                "images of other sizes can be sent as files"
            )
        pixels = checked_pixels(array_of(array))
        return pixels if pixels.ndim == 4 else np.repeat(pixels[..., None], channels, axis=3)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        most = SIZES[-1]
        return np.concatenate([self.chunk(images[start : start + most]) for start in range(0, len(images), most)])

    def chunk(self, images: np.ndarray) -> np.ndarray:
        """Probabilities of images that are filled up with blank ones to the next size."""
        size = next(size for size in SIZES if size >= len(images))
        blank = np.zeros((size - len(images), *images.shape[1:]), np.uint8)
        probabilities: np.ndarray = self.compute(np.concatenate([images, blank])).numpy()
        return probabilities[: len(images)]

    def answer(self, probabilities: np.ndarray, top_k: int) -> pd.DataFrame:
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top_k]
        top = [
            [{"label": self.class_names[k], "probability": float(row[k])} for k in best]
            for row, best in zip(probabilities, order, strict=True)
        ]
        table = {"label": [best[0]["label"] for best in top], "probability": [best[0]["probability"] for best in top]}
        if self.superclass_of:
            table["superclass"] = [self.superclass_of[best[0]] for best in order]
        return pd.DataFrame({**table, "top": top})


set_model(ServedModel())
