import hashlib
import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagelab.data import cache, cifar100
from imagelab.data.dataset import sha256_of
from imagelab.errors import DataError


@pytest.fixture
def content(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, dict[bytes, Any]]:
    """The three files with an image of each class, whose digests are the expected ones, and an empty home."""
    random = np.random.default_rng(0)
    content: dict[str, dict[bytes, Any]] = {}
    for name in ("train", "test"):
        fine = list(range(100))
        content[name] = {
            b"data": random.integers(0, 256, (100, 3072), np.uint8),
            b"fine_labels": fine,
            b"coarse_labels": [label // 5 for label in fine],
        }
        images = content[name][b"data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        labels = [np.array(content[name][key], np.int64) for key in (b"fine_labels", b"coarse_labels")]
        monkeypatch.setitem(cifar100.PIXELS_SHA256, name, sha256_of(images))
        monkeypatch.setitem(cifar100.LABELS_SHA256, name, sha256_of(*labels))
    content["meta"] = {
        b"fine_label_names": [f"fine {i}".encode() for i in range(100)],
        b"coarse_label_names": [f"coarse {i}".encode() for i in range(20)],
    }
    for key, names in content["meta"].items():
        monkeypatch.setitem(cifar100.NAMES_SHA256, key, hashlib.sha256(b"\n".join(names)).hexdigest())
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(cifar100.URL_VARIABLE, "http://127.0.0.1:9/cifar-100-python.tar.gz")
    return content


def fill(folder: Path, content: dict[str, dict[bytes, Any]], protocol: int = 2) -> Path:
    folder.mkdir(parents=True)
    for name, values in content.items():
        (folder / name).write_bytes(pickle.dumps(values, protocol))
    return folder


CACHED = ("cifar-100-python-target", "cifar-100-python")


@pytest.mark.parametrize("protocol", [4, 5])
def test_it_reads_the_cached_folder(content: dict[str, Any], protocol: int) -> None:
    fill(cache.cache_folder(*CACHED), content, protocol)
    dataset = cifar100.load()
    first = content["train"][b"data"][0].reshape(3, 32, 32)
    assert (dataset.train.images[0, :, :, 1] == first[1]).all()
    assert dataset.superclasses == tuple(label // 5 for label in range(100))
    assert (dataset.class_names[7], dataset.superclass_names[3]) == ("fine 7", "coarse 3")


@pytest.mark.parametrize("below", ["", "cifar-100-python"])
def test_data_dir_may_be_the_folder_or_the_one_above(content: dict[str, Any], tmp_path: Path, below: str) -> None:
    folder = fill(tmp_path / "mine" / below, content, 4)
    assert cifar100.load(tmp_path / "mine").source == str(folder)


def test_a_data_dir_without_files_is_told_of(
    content: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = fill(cache.cache_folder(*CACHED), content, 4)
    assert cifar100.load(tmp_path / "mine").source == str(folder)
    assert (
        f"data_dir={tmp_path / 'mine'} has no files of CIFAR-100 (train, test, meta): the cache"
        in capsys.readouterr().err
    )
    cifar100.load(folder)
    assert capsys.readouterr().err == ""


class Exploit:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch broken_in",)


def test_a_pickle_that_runs_code_is_refused(
    content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    content["train"][b"more"] = Exploit()
    fill(cache.cache_folder(*CACHED), content, 4)
    with pytest.raises(DataError):
        cifar100.load()
    assert "asks for posix.system" in capsys.readouterr().err
    assert not (tmp_path / "broken_in").exists()


NAMES = {
    "one less": lambda names: names[:-1],
    "in another order": lambda names: names[::-1],
    "joined": lambda names: [b"\n".join(names)],
    "text": lambda names: [name.decode() for name in names],
    "not UTF-8": lambda names: [b"\xff", *names[1:]],
    "a number": lambda names: [7, *names[1:]],
    "no list": lambda names: 7,
}


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("key", [b"fine_label_names", b"coarse_label_names"])
def test_odd_names_are_damage(
    content: dict[str, Any], key: bytes, names: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content["meta"][key] = NAMES[names](content["meta"][key])
    folder = fill(cache.cache_folder(*CACHED), content, 4)
    with pytest.raises(DataError, match="could not be filled"):
        cifar100.load()
    assert f"{folder / 'meta'} cannot be used" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "odd"),
    [
        ("train", {b"data": [[0] * 3072]}),
        ("train", {b"data": np.zeros(3072, np.int8)}),
        ("test", {b"fine_labels": [[0]]}),
        ("test", {b"coarse_labels": [10**30]}),
        ("test", {}),
        ("meta", {}),
        ("meta", []),
    ],
)
def test_a_file_of_another_shape_is_damage(
    content: dict[str, Any], file: str, odd: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = fill(cache.cache_folder(*CACHED), content, 4)
    values = {**content[file], **odd} if odd else odd
    (folder / file).write_bytes(pickle.dumps(values, 4))
    with pytest.raises(DataError, match="could not be filled"):
        cifar100.load()
    assert f"{folder / file} cannot be used" in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["pixel", "label", "half", "missing", "names"])
def test_a_damaged_file_is_named_and_not_used(
    content: dict[str, Any], damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if damage == "pixel":
        content["test"][b"data"][3, 5] ^= 1
    if damage == "label":
        content["test"][b"fine_labels"][3] = 4
    if damage == "names":
        content["meta"][b"fine_label_names"].pop()
    folder = fill(cache.cache_folder(*CACHED), content, 4)
    if damage == "half":
        (folder / "test").write_bytes((folder / "test").read_bytes()[:1000])
    if damage == "missing":
        (folder / "test").unlink()
    with pytest.raises(DataError, match="could not be filled"):
        cifar100.load()
    assert capsys.readouterr().err.count(str(folder / ("meta" if damage == "names" else "test"))) == 1


def test_the_official_archive_is_downloaded_and_its_hash_checked(
    content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import functools
    import http.server
    import threading

    archive = tmp_path / "web" / "cifar-100-python.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(fill(tmp_path / "cifar-100-python", content, 4), "cifar-100-python")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(archive.parent))
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    monkeypatch.setenv(cifar100.URL_VARIABLE, f"http://127.0.0.1:{httpd.server_port}/{archive.name}")
    with pytest.raises(DataError, match="hash"):
        cifar100.load()
    monkeypatch.setattr(cifar100, "URL_SHA256", hashlib.sha256(archive.read_bytes()).hexdigest())
    assert cifar100.load().source == str(cache.cache_folder(*CACHED))
    httpd.shutdown()
