"""Where the files come from, tried on small ones of the same format."""

import gzip
import http.server
import multiprocessing
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from imagelab.data import cache, fashion_mnist
from imagelab.data.dataset import sha256_of
from imagelab.errors import DataError


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return gzip.compress(header + array.tobytes())


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, bytes]:
    """Four small files, whose digests are the expected ones, and an empty home without Debian's folder or apt-get."""
    random = np.random.default_rng(0)
    arrays = {
        "train-images-idx3-ubyte.gz": random.integers(0, 256, (30, 28, 28), np.uint8),
        "train-labels-idx1-ubyte.gz": (np.arange(30) % 10).astype(np.uint8),
        "t10k-images-idx3-ubyte.gz": random.integers(0, 256, (10, 28, 28), np.uint8),
        "t10k-labels-idx1-ubyte.gz": np.arange(10).astype(np.uint8),
    }
    monkeypatch.setattr(fashion_mnist, "FILES", {name: sha256_of(array) for name, array in arrays.items()})
    monkeypatch.setattr(fashion_mnist, "DEBIAN_FOLDER", tmp_path / "debian")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(fashion_mnist.URL_VARIABLE, "http://127.0.0.1:9/")
    return {name: idx(array) for name, array in arrays.items()}


def fill(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def web(files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A local web server with the files, in the place of Keras's; yields the paths that were asked for."""
    asked: list[str] = []
    folder = fill(tmp_path / "web", files)

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, format: str, *arguments: object) -> None:
            asked.append(self.path)

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    monkeypatch.setenv(fashion_mnist.URL_VARIABLE, f"http://127.0.0.1:{httpd.server_port}/")
    yield asked
    httpd.shutdown()


def test_the_cache_is_used_first(files: dict[str, bytes]) -> None:
    folder = fill(cache.cache_folder("fashion-mnist"), files)
    assert fashion_mnist.load().source == str(folder)


def test_data_dir_comes_before_the_cache(files: dict[str, bytes], tmp_path: Path) -> None:
    fill(cache.cache_folder("fashion-mnist"), files)
    assert fashion_mnist.load(fill(tmp_path / "mine", files)).source == str(tmp_path / "mine")


def test_a_data_dir_without_files_is_told_of(
    files: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = fill(cache.cache_folder("fashion-mnist"), files)
    assert fashion_mnist.load(tmp_path / "mine").source == str(folder)
    assert f"data_dir={tmp_path / 'mine'} has no files of Fashion-MNIST (train-images" in capsys.readouterr().err
    fashion_mnist.load(folder)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("given", [True, False], ids=["as data_dir too", "as cache"])
def test_each_damaged_file_is_named_once(
    files: dict[str, bytes], given: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = fill(cache.cache_folder("fashion-mnist"), files)
    for name in list(files)[:2]:
        (folder / name).write_bytes(b"no gzip")
    (folder / list(files)[3]).unlink()
    with pytest.raises(DataError):
        fashion_mnist.load(folder if given else None)
    said = capsys.readouterr().err
    assert [said.count(str(folder / name)) for name in files] == [1, 1, 0, 1]


def test_looking_for_it_fetches_nothing(files: dict[str, bytes], web: list[str]) -> None:
    assert fashion_mnist.find() is None
    assert web == []
    folder = fill(cache.cache_folder("fashion-mnist"), files)
    assert fashion_mnist.find().source == str(folder)


def test_debians_folder_comes_next(files: dict[str, bytes]) -> None:
    fill(fashion_mnist.DEBIAN_FOLDER, files)
    dataset = fashion_mnist.load()
    assert dataset.source == str(fashion_mnist.DEBIAN_FOLDER)
    assert (dataset.image_shape, len(dataset.train), dataset.test.labels.tolist()) == ((28, 28, 1), 30, list(range(10)))


def test_it_is_downloaded_once(files: dict[str, bytes], web: list[str]) -> None:
    assert "download" in fashion_mnist.load().source
    assert len(web) == len(files)
    assert fashion_mnist.load().source == str(cache.cache_folder("fashion-mnist"))
    assert len(web) == len(files)


@pytest.mark.parametrize("damage", ["half", "other", "garbage", "empty"])
def test_a_damaged_file_is_named_and_fetched_again(
    damage: str, files: dict[str, bytes], web: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = fill(cache.cache_folder("fashion-mnist"), files)
    broken = folder / "t10k-images-idx3-ubyte.gz"
    other = idx(np.zeros((10, 28, 28), np.uint8))
    content = {"half": files[broken.name][:500], "other": other, "garbage": b"no gzip", "empty": b""}[damage]
    broken.write_bytes(content)
    dataset = fashion_mnist.load()
    assert sha256_of(dataset.test.images) == fashion_mnist.FILES[broken.name]
    assert capsys.readouterr().err.count(str(broken)) == 1
    assert len(web) == len(files)
    assert fashion_mnist.read_folder(folder)


def test_what_arrives_damaged_is_never_used(files: dict[str, bytes], web: list[str], tmp_path: Path) -> None:
    (tmp_path / "web" / "train-images-idx3-ubyte.gz").write_bytes(files["train-images-idx3-ubyte.gz"][:-200])
    with pytest.raises(DataError, match="train-images-idx3-ubyte.gz arrived damaged"):
        fashion_mnist.load()
    assert not list(cache.cache_folder("fashion-mnist").iterdir())


def test_without_any_source_the_error_names_each(files: dict[str, bytes]) -> None:
    with pytest.raises(DataError, match=r"Keras's servers: .*Debian package dataset-fashion-mnist: no apt-get"):
        fashion_mnist.load()


@pytest.fixture
def nobody() -> Iterator[None]:
    """No right to write wherever one likes: root gives its own up for a while."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield
    if root:
        os.seteuid(0)


@pytest.mark.parametrize("home", ["/", "/proc/home", "a file", "hidden"])
def test_a_cache_that_cannot_be_written_is_told_of(
    files: dict[str, bytes], home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    (tmp_path / "a file").touch()
    (tmp_path / "hidden").mkdir(mode=0)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / home))
    request.getfixturevalue("nobody")
    with pytest.raises(DataError, match="cannot be written .*: set KERAS_HOME to a folder that can be written"):
        fashion_mnist.load()


def test_a_complete_cache_need_not_be_writable(files: dict[str, bytes]) -> None:
    folder = fill(cache.cache_folder("fashion-mnist"), files)
    folder.chmod(0o500)
    assert fashion_mnist.load().source == str(folder)


def load_in_process(failures: "multiprocessing.Queue[str]") -> None:
    try:
        fashion_mnist.load()
    except BaseException as error:
        failures.put(repr(error))


def test_two_processes_fill_the_cache_at_once(files: dict[str, bytes], web: list[str]) -> None:
    context = multiprocessing.get_context("fork")  # keeps the small files' digests
    failures: multiprocessing.Queue[str] = context.Queue()  # type: ignore[assignment]
    processes = [context.Process(target=load_in_process, args=(failures,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert failures.empty()
    assert len(web) == len(files)
    assert not list(cache.cache_folder().glob(".part-*"))


def test_debians_package_is_fetched_without_root(
    files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real apt-get where there is one: the main job works where only package mirrors are reachable."""
    monkeypatch.setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    import shutil

    if shutil.which("apt-get") is None:
        pytest.skip("no apt-get on this machine")
    monkeypatch.undo()
    part = tmp_path / "part"
    part.mkdir()
    cache.download_debian_package(fashion_mnist.DEBIAN_PACKAGE, part)
    found = fashion_mnist.read_folder(next(part.rglob("train-images-idx3-ubyte.gz")).parent)
    assert found.train.images.shape == (60_000, 28, 28, 1)
