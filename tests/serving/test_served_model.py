"""What the model answers to everything that is sent to it, on the path that a request takes."""

import json
import logging
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from imagelab.serving.protocol import predict
from imagelab.serving.served_version import ServedVersion
from tests.serving import grey_levels
from tests.serving.pictures import (
    animation,
    file_of,
    grey_png,
    half_white,
    header_only,
    late_header,
    noise,
    palette,
    plain,
    text_of,
    turned,
)

JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"
MOST = 16
WHITE, BRIGHT, BLACK = 99, 78, 0  # levels; 78 is that of the grey value 200
PICTURE = text_of(plain(200))
ARRAY = np.full((1, 8, 8, 3), 200)
RANGE = "pixels are whole numbers 0-255"
SHAPE = "arrays are (n, 8, 8, 3) or grey (n, 8, 8), not {}; images of other sizes can be sent as files"
FORMAT = "the body is not one of MLflow's input formats"
KEYS = "the body is JSON with exactly one of: inputs, instances, dataframe_split, dataframe_records"
SCALED = f"{RANGE}; these look scaled to 0-1: multiply them by 255"
UNKNOWN = "the image cannot be decoded; known formats: PNG, JPEG, WEBP, GIF, BMP"
CUT_OFF = "the image is damaged: PNG data cannot be decoded"
SEVEN_PASSES = [1, 1, 2, 2, 2, 4, 4, *[4] * 4, *[8] * 4]  # pixels in the rows of an interlaced PNG of 8 x 8
NO_TEXT = "that text is not base64"
ITEM = "an image is base64 text, bytes or an array, not {}"
COLUMN = "the table needs one column 'image' with images as base64 text; it has {}"
TYPES = "the Content-Type is application/json, text/csv or application/vnd.apache.parquet"
TOP_K = "top_k is a whole number from 1 to 100"
NOT_SPLIT = "Provided dataframe_split field is not a valid dataframe representation in 'split' format"


def sent(loaded: ServedVersion, body: Any, content_type: str = JSON) -> tuple[int, str]:
    raw = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
    response = predict(loaded, raw, content_type, MOST)
    return response.status_code, bytes(response.body).decode()


def check(loaded: ServedVersion, body: Any, expected: int | str, content_type: str = JSON, status: int = 400) -> None:
    """An answer of that level, or a refusal in exactly those words."""
    given, text = sent(loaded, body, content_type)
    if isinstance(expected, int):
        assert given == 200, text
        assert grey_levels.level(text) == expected
        return
    assert (given, json.loads(text)["message"]) == (status, expected)
    assert len(expected) <= 200
    assert "Traceback" not in text


def full(value: Any, shape: tuple[int, ...] = (1, 8, 8, 3)) -> list[Any]:
    return np.full(shape, value, object).tolist()


def literal(number: str) -> str:
    """A request whose pixels are a number that `json` would not write."""
    return json.dumps({"inputs": full(0)}).replace("0", number)


def parquet(*cells: Any, **columns: Any) -> bytes:
    content = BytesIO()
    pd.DataFrame(columns or {"image": list(cells)}).to_parquet(content)
    return content.getvalue()


FILES: dict[str, tuple[bytes, int | str]] = {
    **{f"{kind} file": (file_of(plain(200), kind), BRIGHT) for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP")},
    **{f"{mode} PNG": (file_of(plain(200, mode)), BRIGHT) for mode in ("L", "LA", "RGBA", "P")},
    "1-bit PNG": (file_of(plain(255, "1")), WHITE),
    "1-bit PNG, black see-through": (file_of(plain(0, "1"), transparency=0), WHITE),
    "grey PNG, black see-through": (file_of(plain(0, "L"), transparency=0), WHITE),
    "RGB PNG, black see-through": (file_of(plain(0), transparency=(0, 0, 0)), WHITE),
    "RGBA PNG, all see-through, is white": (file_of(Image.new("RGBA", (9, 9), (0, 0, 0, 0))), WHITE),
    "RGBA PNG, half see-through": (file_of(Image.new("RGBA", (9, 9), (0, 0, 0, 51))), round(0.8 * WHITE)),
    "LA PNG, all see-through": (file_of(Image.new("LA", (9, 9), (0, 0))), WHITE),
    "palette PNG": (palette(), BLACK),
    "palette PNG, one colour see-through": (palette(transparency=0), WHITE),
    "palette PNG, opacities": (palette(transparency=b"\x00\xff"), WHITE),
    "GIF, one colour see-through": (file_of(Image.new("P", (9, 9)), "GIF", transparency=0), WHITE),
    "animated GIF: its first picture": (animation("GIF", 200, 0), BRIGHT),
    "animated WebP: its first picture": (animation("WEBP", 200, 0, lossless=True), BRIGHT),
    "two pictures in one JPEG (MPO)": (animation("MPO", 200, 0), BRIGHT),
    "CMYK JPEG": (file_of(Image.new("CMYK", (9, 9)), "JPEG"), WHITE),
    "grey JPEG": (file_of(plain(200, "L"), "JPEG"), BRIGHT),
    "16-bit PNG is scaled, not cut off": (file_of(Image.fromarray(np.full((9, 9), 200 * 257, np.uint16))), BRIGHT),
    "one pixel": (file_of(plain(255, size=(1, 1))), WHITE),
    "one row": (file_of(plain(255, size=(5000, 1))), WHITE),
    "one column": (file_of(plain(255, size=(1, 5000))), WHITE),
    "JPEG with garbage for EXIF": (file_of(plain(200), "JPEG", exif=b"Exif\0\0GARBAGEGARBAGE"), BRIGHT),
    "PNG header of 50,000 x 50,000": (header_only(50_000, 50_000), "the image has more than 50,000,000 pixels"),
    "PNG header of 9,000 x 9,000": (
        header_only(9_000, 9_000),
        "the image has 9000 x 9000 pixels, more than 50,000,000",
    ),
    "PNG header of 2^31 x 1": (header_only(2**31 - 1, 1), "the image has more than 50,000,000 pixels"),
    "PNG header of 0 x 0": (header_only(0, 0), UNKNOWN),
    "PNG without pixels": (header_only(5, 5), CUT_OFF),
    "PNG with all of its rows": (grey_png([8] * 5, 5), BRIGHT),
    "PNG with three of five rows": (grey_png([8] * 3, 5), CUT_OFF),
    "PNG with a chunk before its header": (late_header(), CUT_OFF),
    "interlaced PNG": (grey_png(SEVEN_PASSES, 8, interlaced=True), BRIGHT),
    "interlaced PNG without its last row": (grey_png(SEVEN_PASSES[:-1], 8, interlaced=True), CUT_OFF),
    **{
        f"half a {kind}": (
            (whole := file_of(noise(), kind))[: len(whole) // 2],
            UNKNOWN if kind == "WEBP" else f"the image is damaged: {kind} data cannot be decoded",
        )
        for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP")
    },
    **{f"ten bytes of a {kind}": (file_of(plain(9), kind)[:10], UNKNOWN) for kind in ("PNG", "JPEG", "WEBP", "GIF")},
    **{f"{kind} is not taken": (file_of(plain(200), kind), UNKNOWN) for kind in ("TIFF", "PPM", "ICO", "PDF", "TGA")},
    "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", UNKNOWN),
    "HTML": (b"<!doctype html><title>404</title>", UNKNOWN),
    "zip": (b"PK\3\4" + bytes(50), UNKNOWN),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", UNKNOWN),
    "one byte": (b"a", UNKNOWN),
    "no bytes": (b"", "the image is empty"),
}


@pytest.mark.parametrize("name", FILES)
def test_files(colour: ServedVersion, name: str) -> None:
    content, expected = FILES[name]
    check(colour, {"inputs": [text_of(content)]}, expected)
    check(colour, parquet(content), expected, PARQUET)  # as they are


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_turned_picture_is_the_upright_one(colour: ServedVersion, kind: str) -> None:
    upright = colour.model.served.one(file_of(half_white()))
    turned_back = colour.model.served.one(turned(kind))
    assert upright[0, 0].min() > 200
    assert upright[-1, -1].max() < 50
    assert np.abs(turned_back.astype(int) - upright).max() <= 30  # JPEG and WebP are not exact


def test_colours_become_grey_for_a_grey_network(grey: ServedVersion) -> None:
    for content in (file_of(plain(255)), file_of(Image.new("CMYK", (9, 9)), "JPEG"), file_of(plain(255, "RGBA"))):
        check(grey, {"inputs": [text_of(content)]}, 9)


TEXTS: dict[str, tuple[str, int | str]] = {
    "in lines": ("\n".join(PICTURE[at : at + 60] for at in range(0, len(PICTURE), 60)), BRIGHT),
    "with blanks around": (f"  {PICTURE}\r\n", BRIGHT),
    "data: URL": (f"data:image/png;base64,{PICTURE}", BRIGHT),
    "data: URL with a parameter": (f"data:image/png;charset=utf-8;base64,{PICTURE}", BRIGHT),
    "data: URL without base64": (f"data:image/png,{PICTURE}", NO_TEXT),
    "URL-safe": (text_of(b"\xfb\xff" * 30).replace("+", "-").replace("/", "_"), NO_TEXT),
    "without padding": (text_of(file_of(plain(200)) + b"\0").rstrip("=") + "A", NO_TEXT),
    "too much padding": (text_of(file_of(plain(200)) + b"==") + "=", NO_TEXT),
    "a path": ("cat.png", NO_TEXT),
    "an address": ("http://example.org/cat.png", NO_TEXT),
    "Python's bytes": (f"b'{PICTURE}'", NO_TEXT),
    "letters beyond ASCII": ("Bär", NO_TEXT),
    "base64 of something else": (text_of(b"hello"), UNKNOWN),
    "twice base64": (text_of(PICTURE.encode()), UNKNOWN),
    "empty": ("", "the image is empty"),
    "blanks": ("   ", "the image is empty"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_texts(colour: ServedVersion, name: str) -> None:
    text, expected = TEXTS[name]
    for body in (
        {"inputs": [text]},
        {"instances": [text]},
        {"dataframe_split": {"columns": ["image"], "data": [[text]]}},
        {"dataframe_records": [{"image": text}]},
    ):
        check(colour, body, expected)


BODIES: dict[str, tuple[Any, int | str]] = {
    "inputs: one text": ({"inputs": PICTURE}, BRIGHT),
    "inputs: texts": ({"inputs": [PICTURE, PICTURE]}, BRIGHT),
    "inputs: texts in a list of lists": ({"inputs": [[PICTURE]]}, BRIGHT),
    "inputs: image by name": ({"inputs": {"image": PICTURE}}, BRIGHT),
    "inputs: images by name": ({"inputs": {"image": [PICTURE, PICTURE]}}, BRIGHT),
    "inputs: array by name": ({"inputs": {"image": ARRAY.tolist()}}, BRIGHT),
    "inputs: objects": ({"inputs": [{"image": PICTURE}]}, BRIGHT),
    "instances: objects": ({"instances": [{"image": PICTURE}, {"image": PICTURE}]}, BRIGHT),
    "instances: objects with arrays": ({"instances": [{"image": ARRAY[0].tolist()}]}, BRIGHT),
    "instances: array": ({"instances": ARRAY.tolist()}, BRIGHT),
    "split": ({"dataframe_split": {"columns": ["image"], "data": [[PICTURE], [PICTURE]]}}, BRIGHT),
    "split: with an index": ({"dataframe_split": {"index": [7], "columns": ["image"], "data": [[PICTURE]]}}, BRIGHT),
    "split: nameless": ({"dataframe_split": {"data": [[PICTURE]]}}, BRIGHT),
    "split: another column besides": (
        {"dataframe_split": {"columns": ["id", "image"], "data": [[1, PICTURE]]}},
        BRIGHT,
    ),
    "records: arrays in cells": ({"dataframe_records": [{"image": ARRAY[0].tolist()}]}, BRIGHT),
    "more keys than needed": ({"inputs": [PICTURE], "user": "me"}, BRIGHT),
    "UTF-16": (json.dumps({"inputs": [PICTURE]}).encode("utf-16"), BRIGHT),
    "UTF-8 with a mark": (b"\xef\xbb\xbf" + json.dumps({"inputs": [PICTURE]}).encode(), BRIGHT),
    "a key twice: the last": (f'{{"inputs": ["x"], "inputs": ["{PICTURE}"]}}', BRIGHT),
    "array: whole numbers": ({"inputs": full(200)}, BRIGHT),
    "array: floats": ({"inputs": full(200.0)}, BRIGHT),
    "array: fractions": ({"inputs": full(200.4)}, BRIGHT),
    "array: grey": ({"inputs": full(200, (1, 8, 8))}, BRIGHT),
    "array: black": ({"inputs": full(0)}, BLACK),
    "array: minus zero": (literal("-0.0"), BLACK),
    "array: 0-1": ({"inputs": full(0.8)}, SCALED),
    "array: 0 and 1": ({"inputs": [full(0, (8, 8, 3)), full(1, (8, 8, 3))]}, SCALED),
    "array: one image of two is 0-1": ({"inputs": [full(200, (8, 8, 3)), full(0.5, (8, 8, 3))]}, SCALED),
    "array: negative": ({"inputs": full(-1)}, f"{RANGE}; these go from -1 to -1"),
    "array: -1 to 1": ({"inputs": full(-0.5)}, f"{RANGE}; these go from -0.5 to -0.5"),
    "array: 256": ({"inputs": full(256)}, f"{RANGE}; these go from 256 to 256"),
    "array: 255.4": ({"inputs": full(255.4)}, f"{RANGE}; these go from 255.4 to 255.4"),
    "array: 16 bits": ({"inputs": full(51400)}, f"{RANGE}; these go from 51400 to 51400"),
    "array: 2^40": ({"inputs": full(2**40)}, f"{RANGE}; these go from 1.09951e+12 to 1.09951e+12"),
    "array: 2^70": ({"inputs": full(2**70)}, f"{RANGE}, not mixed values"),
    "array: 1e300": ({"inputs": full(1e300)}, f"{RANGE}; these go from 1e+300 to 1e+300"),
    "array: 1e400": (literal("1e400"), f"{RANGE}; these hold NaN or infinity"),
    "array: 5,000 digits": (literal("9" * 5000), FORMAT),
    "array: NaN": (literal("NaN"), f"{RANGE}; these hold NaN or infinity"),
    "array: one NaN": (json.dumps({"inputs": full(7)}).replace("7", "NaN", 1), f"{RANGE}; these hold NaN or infinity"),
    "array: infinity": (literal("Infinity"), f"{RANGE}; these hold NaN or infinity"),
    "array: minus infinity": (literal("-Infinity"), f"{RANGE}; these hold NaN or infinity"),
    "array: true": ({"inputs": full(True)}, f"{RANGE}, not bool"),
    "array: null": ({"inputs": full(None)}, f"{RANGE}, not mixed values"),
    "array: numbers as text": ({"inputs": full("200")}, f"these are {8 * 8 * 3} images; send at most {MOST} at once"),
    "array: ragged": ({"inputs": [[1, 2], [3]]}, "rows of an array differ in length, or files and arrays are mixed"),
    "array and file": (
        {"inputs": [PICTURE, ARRAY[0].tolist()]},
        "rows of an array differ in length, or files and arrays are mixed",
    ),
    "array: objects in it": ({"inputs": [[{"a": 1}]]}, f"{RANGE}, not mixed values"),
    "array: RGBA": ({"inputs": full(9, (1, 8, 8, 4))}, SHAPE.format((1, 8, 8, 4))),
    "array: one channel": ({"inputs": full(9, (1, 8, 8, 1))}, SHAPE.format((1, 8, 8, 1))),
    "array: channels first": ({"inputs": full(9, (1, 3, 8, 8))}, SHAPE.format((1, 3, 8, 8))),
    "array: another size": ({"inputs": full(9, (1, 9, 9, 3))}, SHAPE.format((1, 9, 9, 3))),
    "array: one image without n": ({"inputs": full(9, (8, 8, 3))}, SHAPE.format((8, 8, 3))),
    "array: one grey image without n": ({"inputs": full(9, (8, 8))}, SHAPE.format((8, 8))),
    "array: five dimensions": ({"inputs": full(9, (1, 1, 8, 8, 3))}, SHAPE.format((1, 1, 8, 8, 3))),
    "array: a row": ({"inputs": [1, 2, 3]}, SHAPE.format((3,))),
    "array: flat images": ({"inputs": full(9, (2, 192))}, SHAPE.format((2, 192))),
    "array: nothing in nothing": ({"inputs": [[]]}, SHAPE.format((1, 0))),
    "array: 70 dimensions": ('{"inputs":' + "[" * 70 + "1" + "]" * 71 + "}", "the body is not valid JSON"),
    "array: 70 dimensions, closed": (
        '{"inputs":' + "[" * 70 + "1" + "]" * 70 + "}",
        "the array has too many dimensions",
    ),
    "nested deeper than Python goes": ('{"inputs":' + "[" * 200_000 + "]" * 200_000 + "}", FORMAT),
    "objects in objects": ('{"inputs":' + '{"image":' * 900 + "1" + "}" * 901, FORMAT),
    "a number": ({"inputs": 5}, "give images as base64 text, bytes or an array, not as one int64"),
    "true": ({"inputs": True}, "give images as base64 text, bytes or an array, not as one bool"),
    "null": ({"inputs": None}, f"{RANGE}, not mixed values"),
    "null by name": ({"inputs": {"image": None}}, f"{RANGE}, not mixed values"),
    "name in name": ({"inputs": [{"image": {"image": PICTURE}}]}, ITEM.format("dict")),
    "text and number": ({"inputs": [PICTURE, 5]}, f"image 1: {NO_TEXT}"),
    "text and null": ({"inputs": [PICTURE, None]}, f"image 1: {ITEM.format('NoneType')}"),
    "the second file is bad": ({"inputs": [PICTURE, text_of(b"x")]}, f"image 1: {UNKNOWN}"),
    "no images": ({"inputs": []}, "there are no images"),
    "no instances": ({"instances": []}, "there are no images"),
    "too many files": ({"inputs": [PICTURE] * 17}, "these are 17 images; send at most 16 at once"),
    "too many arrays": ({"inputs": full(9, (17, 8, 8, 3))}, "these are 17 images; send at most 16 at once"),
    "another name": ({"inputs": {"picture": PICTURE}}, "give the images under the name 'image', not 'picture'"),
    "no name": ({"inputs": {}}, "give the images under the name 'image', not 'none'"),
    "a long name": ({"inputs": {"x" * 9000: 1}}, f"give the images under the name 'image', not {'x' * 20!r}"),
    "TensorFlow Serving's b64": (
        {"instances": [{"b64": PICTURE}]},
        "give the images under the name 'image', not 'b64'",
    ),
    "instances: text and object": ({"instances": [PICTURE, {"image": PICTURE}]}, BRIGHT),
    "instances: object and text": ({"instances": [{"image": PICTURE}, PICTURE]}, FORMAT),
    "instances: null": ({"instances": None}, f"{RANGE}, not mixed values"),
    "instances: an object": ({"instances": {"image": PICTURE}}, FORMAT),
    "split: another column": (
        {"dataframe_split": {"columns": ["picture"], "data": [[PICTURE]]}},
        COLUMN.format("picture"),
    ),
    "split: the column twice": (
        {"dataframe_split": {"columns": ["image", "image"], "data": [[PICTURE, PICTURE]]}},
        COLUMN.format("image, image"),
    ),
    "split: 192 columns": ({"dataframe_split": {"data": [[0] * 192]}}, COLUMN.format("0, 1, 2")),
    "split: columns of lists": (
        {"dataframe_split": {"columns": [["image"]], "data": [[PICTURE]]}},
        COLUMN.format("('image',)"),
    ),
    "split: columns of objects": ({"dataframe_split": {"columns": [{"a": 1}], "data": [[PICTURE]]}}, FORMAT),
    "split: column null": ({"dataframe_split": {"columns": [None], "data": [[PICTURE]]}}, COLUMN.format("None")),
    "split: more values than columns": ({"dataframe_split": {"columns": ["image"], "data": [[1, 2]]}}, NOT_SPLIT),
    "split: text for data": ({"dataframe_split": {"columns": ["image"], "data": "abc"}}, NOT_SPLIT),
    "split: without data": (
        {"dataframe_split": {"columns": ["image"]}},
        "Dataframe split format must have 'data' field and optionally 'columns' and 'index' fields.",
    ),
    "split: a list": ({"dataframe_split": []}, "Dataframe split format must be a dictionary. Got list."),
    "records: none": ({"dataframe_records": []}, COLUMN.format("none")),
    "records: an empty one": ({"dataframe_records": [{}]}, COLUMN.format("none")),
    "records: an object": (
        {"dataframe_records": {}},
        "Dataframe records format must be a list of records. Got dictionary.",
    ),
    "records: null in a cell": ({"dataframe_records": [{"image": None}]}, ITEM.format("NoneType")),
    "records: a cell missing": (
        {"dataframe_records": [{"image": PICTURE}, {"x": 1}]},
        f"image 1: {ITEM.format('float')}",
    ),
    "records: a number": ({"dataframe_records": [{"image": 7}]}, ITEM.format("int")),
    "records: true": ({"dataframe_records": [{"image": True}]}, ITEM.format("bool")),
    "records: an object in a cell": ({"dataframe_records": [{"image": {"a": 1}}]}, ITEM.format("dict")),
    "records: a short array": ({"dataframe_records": [{"image": [1, 2]}]}, SHAPE.format((1, 2))),
    "empty": (b"", "the body is not valid JSON"),
    "half": (b'{"inputs": [', "the body is not valid JSON"),
    "more behind it": (b'{"inputs": []}x', "the body is not valid JSON"),
    "not UTF-8": (b'{"inputs": ["\xff"]}', "the body is not valid JSON"),
    "a list for a body": ([PICTURE], KEYS),
    "a text for a body": (json.dumps(PICTURE), KEYS),
    "null for a body": (b"null", KEYS),
    "an empty object": ({}, KEYS),
    "no known key": ({"images": [PICTURE]}, KEYS),
    "two keys": ({"inputs": [PICTURE], "instances": [PICTURE]}, KEYS),
    "half a surrogate pair for a key": (b'{"\\ud800": 1}', KEYS),
    "half a surrogate pair for a name": (
        b'{"inputs": {"\\ud800": [1]}}',
        "give the images under the name 'image', not '\\ud800'",
    ),
    "half a surrogate pair for a column": (
        b'{"dataframe_split": {"columns": ["\\ud800"], "data": [["a"]]}}',
        NOT_SPLIT,
    ),
    "half a surrogate pair for a text": (b'{"inputs": ["\\ud800"]}', NO_TEXT),
    "a chat": ({"messages": [PICTURE]}, "give the images under the name 'image', not 'messages'"),
}


@pytest.mark.parametrize("name", BODIES)
def test_bodies(colour: ServedVersion, name: str) -> None:
    check(colour, *BODIES[name])


NO_TOP_K: list[Any] = [0, -1, 101, 10**30, 1.5, 3.0, True, False, "3", "", [], {}, [3], float("nan"), float("inf")]
NO_PARAMS: list[Any] = [[], "a", 3, True, 1.5]
PARAMS: dict[str, tuple[Any, int | str]] = {
    "none": ({}, 5),
    "null": (None, 5),
    "null top_k": ({"top_k": None}, 5),
    "one": ({"top_k": 1}, 1),
    "all": ({"top_k": 100}, 100),
    **{f"top_k {value!r}"[:20]: ({"top_k": value}, TOP_K) for value in NO_TOP_K},
    **{f"params {value!r}": (value, "params is a dictionary, such as {top_k: 3}") for value in NO_PARAMS},
    "another": ({"topk": 3}, "params knows top_k only, not 'topk'"),
    "a long one": ({"x" * 900: 3}, f"params knows top_k only, not {'x' * 30!r}"),
}


@pytest.mark.parametrize("name", PARAMS)
def test_params(colour: ServedVersion, name: str) -> None:
    params, expected = PARAMS[name]
    status, text = sent(colour, {"inputs": [PICTURE], "params": params})
    if isinstance(expected, int):
        [row] = json.loads(text)["predictions"]
        assert len(row["top"]) == expected
        assert row["top"][0] == {"label": row["label"], "probability": row["probability"]}
        likely = [each["probability"] for each in row["top"]]
        assert likely == sorted(likely, reverse=True)
        assert row["superclass"] == "bright"
    else:
        assert (status, json.loads(text)["message"]) == (400, expected)


TABLES: dict[str, tuple[str, Any, int | str]] = {
    "CSV": (CSV, f"image\n{PICTURE}\n{PICTURE}", BRIGHT),
    "CSV, another column besides": (CSV, f"id,image\n1,{PICTURE}", BRIGHT),
    "CSV, another column": (CSV, f"picture\n{PICTURE}", COLUMN.format("picture")),
    "CSV, no header": (CSV, PICTURE, COLUMN.format(PICTURE[:20])),
    "CSV, only a header": (CSV, "image", "there are no images"),
    "CSV, numbers": (CSV, "image\n1\n2", f"image 0: {ITEM.format('int')}"),
    "CSV, an empty cell": (CSV, "image,x\n,1", ITEM.format("float")),
    "CSV, an open quote": (CSV, 'image\n"abc', "the body is not a table of the format that the Content-Type says"),
    "CSV, empty": (CSV, "", "the body is not a table of the format that the Content-Type says"),
    "CSV, not UTF-8": (CSV, b"image\n\xff\xfe", "the body is not UTF-8"),
    "Parquet": (PARQUET, parquet(PICTURE, PICTURE), BRIGHT),
    "Parquet, categories": (PARQUET, parquet(image=pd.Categorical([PICTURE])), BRIGHT),
    "Parquet, another column": (PARQUET, parquet(picture=[PICTURE]), COLUMN.format("picture")),
    "Parquet, null": (PARQUET, parquet(None), ITEM.format("NoneType")),
    "Parquet, dates": (PARQUET, parquet(pd.Timestamp("2026-01-01")), ITEM.format("Timestamp")),
    "Parquet, spans": (PARQUET, parquet(pd.Timedelta(1)), ITEM.format("Timedelta")),
    "Parquet, a struct": (PARQUET, parquet({"bytes": b"x"}), ITEM.format("dict")),
    "Parquet, lists of bytes": (PARQUET, parquet([b"a"]), f"{RANGE}, not bytes"),
    "Parquet, short lists": (PARQUET, parquet([1, 2]), SHAPE.format((1, 2))),
    "Parquet, no rows": (PARQUET, parquet(image=[]), "there are no images"),
    "Parquet, cut off": (
        PARQUET,
        parquet(PICTURE)[:-9],
        "the body is not a table of the format that the Content-Type says",
    ),
    "Parquet, empty": (PARQUET, b"", "the body is not a table of the format that the Content-Type says"),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables(colour: ServedVersion, name: str) -> None:
    kind, body, expected = TABLES[name]
    check(colour, body, expected, kind)


CONTENT_TYPES: dict[str, int | str] = {
    **dict.fromkeys(
        ("application/json; charset=utf-8", 'application/json;charset="UTF-8"', "Application/JSON", f"{JSON};"), BRIGHT
    ),
    **dict.fromkeys(("", "json", "text/plain", "image/png", "multipart/form-data", "x" * 9000, "é"), TYPES),
    f"{JSON}; charset=latin-1": "The scoring server only supports UTF-8",
    f"{JSON}; profile=x": "Unrecognized content type parameters: profile.",
}


@pytest.mark.parametrize("kind", CONTENT_TYPES, ids=lambda kind: kind[:40])
def test_content_types(colour: ServedVersion, kind: str) -> None:
    check(colour, {"inputs": [PICTURE]}, CONTENT_TYPES[kind], kind, status=415)


def things() -> Iterator[tuple[Any, int]]:
    """What `predict` of the loaded model may be given in Python, and how many rows it answers."""
    pixels, content = ARRAY.astype(np.uint8), file_of(plain(200))
    yield from ((pixels, 1), (pixels.repeat(3, 0), 3), (pixels[..., 0], 1), (pixels.astype(np.float64), 1))
    yield from ((content, 1), ([content, content], 2), ((content,), 1), (np.array([content, content], object), 2))
    yield from ((PICTURE, 1), ([PICTURE, content], 2), ([pixels[0], pixels[0]], 2), ([content, pixels[0]], 2))
    yield from (({"image": content}, 1), ([{"image": content}], 1), (pd.Series([content]), 1))
    yield from ((pd.DataFrame({"image": [content, PICTURE, pixels[0]]}), 3), (pixels.repeat(300, 0), 300))


@pytest.mark.parametrize(("given", "rows"), list(things()), ids=lambda thing: type(thing).__name__)
def test_predict_in_python(colour: ServedVersion, given: Any, rows: int) -> None:
    table = colour.model.pyfunc.predict(given, params={"top_k": 2})
    assert list(table["label"]) == [f"level {BRIGHT}"] * rows
    assert [len(top) for top in table["top"]] == [2] * rows


@pytest.mark.parametrize(
    "given", [None, 5, 1.5, np.float32(1), object(), {1: 2}, pd.DataFrame(), np.zeros(3, complex), [object()], {b""}]
)
def test_predict_in_python_refuses(colour: ServedVersion, given: Any) -> None:
    from mlflow.exceptions import MlflowException

    with pytest.raises(MlflowException) as refused:
        colour.model.pyfunc.predict(given)
    assert refused.value.get_http_status_code() == 400


def test_reported_errors_leave_the_other_answers(colour: ServedVersion) -> None:
    content = file_of(plain(200))
    table = colour.model.pyfunc.predict([b"x", content, None, content[:60]], params={"on_error": "report", "top_k": 1})
    assert table["error"].tolist() == [
        UNKNOWN,
        "",
        ITEM.format("NoneType"),
        "the image is damaged: PNG data cannot be decoded",
    ]
    assert table["label"].tolist()[1] == f"level {BRIGHT}"
    assert table["top"].map(len).tolist() == [0, 1, 0, 0]


@pytest.fixture(scope="module")
def ordinary(tmp_path_factory: pytest.TempPathFactory) -> ServedVersion:
    """The same network with logits of up to ten, as trained networks have them."""
    folder = tmp_path_factory.mktemp("ordinary")
    return grey_levels.load(grey_levels.save(folder, grey_levels.COLOUR, steepness=1 / 1000))


def rounding_of_logits(served: Any, images: np.ndarray) -> float:
    """How far two float32 computations of the same logits may differ.

    A logit is a sum of n products. Each computation adds them up in its own order, and rounds n times by at most half a
    unit in the last place of the largest sum. Such errors add up as a random walk does: sqrt(n) / 2 units each.
    """
    weights, bias = served.network.layers[-1].get_weights()
    means = images.astype(float).mean(axis=3).reshape(len(images), -1)
    largest = (means @ np.abs(weights) + np.abs(bias)).max()
    return float(np.sqrt(len(weights)) * np.spacing(np.float32(largest)))


@pytest.mark.parametrize("count", [1, 5, 64, 257])
@pytest.mark.parametrize(("name", "tolerance"), [("ordinary", 2e-5), ("colour", 2e-2)])
def test_probabilities_do_not_depend_on_other_images_but_for_rounding(
    name: str, tolerance: float, count: int, request: pytest.FixtureRequest
) -> None:
    """Kernels add up in another order for another number of images; how much that matters depends on the logits.

    The steep network of the other tests subtracts numbers of 10,000, where float32 has steps of 0.001: a logit that is
    off by d makes a probability off by the share d.
    """
    served = request.getfixturevalue(name).model.served
    images = np.random.default_rng(count).integers(0, 256, (count, 8, 8, 3), np.uint8)
    together = served.probabilities(images)
    alone = np.concatenate([served.probabilities(image[None]) for image in images])
    rounding = rounding_of_logits(served, images)
    assert rounding < tolerance
    np.testing.assert_allclose(together, alone, rtol=rounding, atol=1e-7)


def test_models_may_be_loaded_one_after_the_other_without_a_warning(
    colour_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """TensorFlow counts how often code is traced: that of all models of a process together."""
    logging.getLogger("tensorflow").setLevel(logging.WARNING)
    logging.getLogger("tensorflow").addHandler(caplog.handler)
    for _ in range(7):
        model = mlflow.pyfunc.load_model(str(colour_path))
        for _ in range(2):
            model.predict(ARRAY.astype(np.uint8))
    logging.getLogger("tensorflow").removeHandler(caplog.handler)
    assert "retracing" not in caplog.text
