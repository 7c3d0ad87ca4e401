"""Thousands of requests that nobody would think of: never a 500, never a crash, never a long error."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from imagelab.serving.protocol import explain, predict
from imagelab.serving.served_version import ServedVersion
from tests.conftest import thorough
from tests.serving.pictures import animation, file_of, header_only, noise, palette, plain, text_of, turned

# Examples of each test: those of each run of the tests, and of the thorough one.
EXTENTS = pytest.mark.parametrize("examples", [50, pytest.param(600, marks=thorough)])
PICTURE = text_of(plain(200, size=(4, 4)))
CONTENTS = [
    *[file_of(noise(16), kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP")],
    *[file_of(plain(9, mode, (5, 5))) for mode in ("L", "LA", "RGBA", "P", "1")],
    *[animation("GIF", 1, 2), animation("WEBP", 1, 2), turned("JPEG"), turned("PNG"), palette(transparency=0)],
    file_of(plain(3).convert("CMYK"), "JPEG"),
    header_only(9, 9),
]
NUMBERS = st.one_of(st.integers(), st.floats(), st.booleans(), st.none(), st.integers(0, 255))
TEXTS = st.one_of(st.text(max_size=30), st.just(PICTURE), st.binary(max_size=30).map(text_of))
JSON = st.recursive(
    st.one_of(NUMBERS, TEXTS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.one_of(st.sampled_from(["image", "data", "columns", "index", "b64"]), TEXTS), inner, max_size=3
        ),
    ),
    max_leaves=12,
)
SHAPES = st.lists(st.sampled_from([0, 1, 2, 3, 4, 8]), max_size=5).map(tuple)


@st.composite
def arrays(draw: Any) -> Any:
    values = np.full(draw(SHAPES), draw(NUMBERS), object)
    if values.size and draw(st.booleans()):
        values[tuple(draw(st.integers(0, side - 1)) for side in values.shape)] = draw(st.one_of(NUMBERS, TEXTS))
    return values.tolist()


ITEMS: SearchStrategy[Any] = st.one_of(JSON, arrays(), TEXTS, st.lists(TEXTS, max_size=4))
BODIES = st.one_of(
    st.builds(lambda key, given: {key: given}, st.sampled_from(["inputs", "instances", "input", "image"]), ITEMS),
    st.builds(lambda given: {"inputs": {"image": given}}, ITEMS),
    st.builds(
        lambda rows: {"dataframe_records": rows}, st.one_of(ITEMS, st.lists(st.builds(lambda x: {"image": x}, ITEMS)))
    ),
    st.builds(lambda rows, names: {"dataframe_split": {"columns": names, "data": rows}}, ITEMS, ITEMS),
    st.builds(
        lambda rows: {"dataframe_split": {"columns": ["image"], "data": [[row] for row in rows]}}, st.lists(ITEMS)
    ),
    JSON,
)
PARAMS = st.one_of(st.none(), JSON, st.builds(lambda top_k: {"top_k": top_k}, JSON))


@st.composite
def mutations(draw: Any) -> bytes:
    """An image file with bytes changed, cut out, doubled or added."""
    content = bytearray(draw(st.sampled_from(CONTENTS)))
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, len(content)))
        end = draw(st.integers(start, min(start + 40, len(content))))
        content[start:end] = draw(st.one_of(st.binary(max_size=8), st.just(bytes(content[start:end]) * 2)))
    return bytes(content)


def check(loaded: ServedVersion, body: bytes, kind: str = "application/json") -> None:
    response = predict(loaded, body, kind, 16)
    assert response.status_code in (200, 400, 415), bytes(response.body)[:500]
    found = json.loads(bytes(response.body))
    if response.status_code == 200:
        rows = found.get("predictions", found) if isinstance(found, dict) else found
        for row in rows:
            assert 0 <= row["probability"] <= 1
            assert row["label"] == row["top"][0]["label"]
    else:
        assert 0 < len(found["message"]) <= 200
        assert "\n" not in found["message"]


def search(examples: int, **strategies: SearchStrategy[Any]) -> Callable[[Callable[..., None]], None]:
    """Run the function that this decorates on many examples."""
    quiet = settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    return lambda test: quiet(given(**strategies)(test))()


@EXTENTS
def test_bodies_near_the_valid_ones(colour: ServedVersion, examples: int) -> None:
    @search(examples, body=BODIES, params=PARAMS)
    def each(body: Any, params: Any) -> None:
        given = {**body, "params": params} if isinstance(body, dict) and params is not None else body
        check(colour, json.dumps(given).encode())


@EXTENTS
def test_damaged_files(colour: ServedVersion, examples: int) -> None:
    @search(examples, content=mutations())
    def each(content: bytes) -> None:
        check(colour, json.dumps({"inputs": [text_of(content)]}).encode())
        explained = explain(colour, json.dumps({"image": text_of(content)}).encode())
        assert explained.status_code in (200, 400)


TYPES = st.sampled_from(["application/json", "text/csv", "application/vnd.apache.parquet"])


@EXTENTS
def test_bodies_of_any_bytes(colour: ServedVersion, examples: int) -> None:
    encoded = st.text(max_size=100).map(lambda text: text.encode(errors="replace"))

    @search(examples, body=st.one_of(st.binary(max_size=200), encoded), kind=st.one_of(TYPES, st.text(max_size=40)))
    def each(body: bytes, kind: str) -> None:
        check(colour, body, kind)


@EXTENTS
def test_explanations_of_anything(grey: ServedVersion, examples: int) -> None:
    @search(examples, body=JSON)
    def each(body: Any) -> None:
        for asked in (body, {"image": body}):
            assert explain(grey, json.dumps(asked).encode()).status_code in (200, 400)


@pytest.mark.parametrize("threads", [8])
def test_many_threads_at_once(colour: ServedVersion, threads: int) -> None:
    """Good and bad requests and explanations together: each has its own answer."""
    from concurrent.futures import ThreadPoolExecutor

    def ask(number: int) -> None:
        value = number % 256
        if number % 5 == 0:
            return check(colour, b"{")
        text = text_of(plain(value))
        if number % 5 == 1:
            found = json.loads(bytes(explain(colour, json.dumps({"image": text}).encode()).body))
        else:
            body = json.dumps({"inputs": [text]}).encode()
            [found] = json.loads(bytes(predict(colour, body, "application/json", 16).body))["predictions"]
        assert abs(int(found["label"].split()[1]) - value / 255 * 99) <= 0.51

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(ask, range(400)))
