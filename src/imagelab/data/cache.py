"""Keras's cache folder, filled safely: under a lock, beside and then moved, from the first source that answers."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from imagelab.console import say
from imagelab.errors import DataError, one_line

Fetch = Callable[[Path], None]


def keras_home() -> Path:
    """KERAS_HOME, or ~/.keras."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")


def cache_folder(*parts: str) -> Path:
    """A folder below Keras's cache of data sets."""
    return keras_home().joinpath("datasets", *parts)


def weights_folder() -> Path:
    """Keras's cache of weights."""
    return keras_home() / "models"


def make_writable(folder: Path) -> None:
    """Make a cache folder, in which and beside which files can be written.

    Raises:
        DataError: it cannot be written to; the message says what to do.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for place in (folder, folder.parent):
            tempfile.TemporaryFile(dir=place).close()
    except OSError as error:
        advice = "set KERAS_HOME to a folder that can be written"
        raise DataError(f"{folder} is to be filled and cannot be written ({one_line(error)}): {advice}") from error


@contextmanager
def filling(folder: Path) -> Iterator[None]:
    """Let one process at a time fill a cache folder; the others wait and then find it full."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.parent / f".{folder.name}.lock")
    if not lock_at_once(lock):
        say(f"waiting for another process that is filling {folder}")
    with lock:
        yield


def lock_at_once(lock: FileLock) -> bool:
    """Whether the lock is free at this moment."""
    try:
        with lock.acquire(blocking=False):
            return True
    except TimeoutError:
        return False


def fetch_into(folder: Path, names: list[str], sources: dict[str, Fetch]) -> str:
    """Fill `folder`, which is there, from the first of `sources` that works; return that source's name.

    A source writes the files `names` below an empty folder, anywhere; each is moved in when all are there, so that a
    process killed half-way leaves nothing that looks like a file of the cache.

    Raises:
        DataError: no source worked; the message holds each one's reason, and what to do.
    """
    reasons = []
    for source, fetch in sources.items():
        with tempfile.TemporaryDirectory(prefix=".part-", dir=folder.parent) as part:
            try:
                say(f"fetching {', '.join(names)}: {source}")
                fetch(Path(part))
                move_into(folder, names, Path(part))
                return source
            except (Exception, SystemExit) as error:
                reasons.append(f"{source}: {one_line(error)}")
    advice = f"try again online, or set data_dir to a folder with {', '.join(names)}"
    raise DataError(f"{folder} could not be filled: {'; '.join(reasons)}; {advice}")


def move_into(folder: Path, names: list[str], part: Path) -> None:
    found = {name: next(path for path in sorted(part.rglob(name)) if path.is_file()) for name in names}
    for name, path in found.items():
        path.replace(folder / name)


def download(url: str, folder: Path, sha256: str | None = None, extract: bool = False) -> None:
    """Download one file by Keras's own downloader (progress bar, hash check) into `folder`."""
    import keras  # late: whoever only looks for files needs no TensorFlow

    name = url.rsplit("/", 1)[-1]
    keras.utils.get_file(name, origin=url, cache_dir=str(folder), cache_subdir="", file_hash=sha256, extract=extract)


def download_debian_package(package: str, folder: Path) -> None:
    """Fetch a Debian package with apt-get, in a state folder of its own (no root needed), and unpack it.

    Raises:
        FileNotFoundError: there is no apt-get here.
        subprocess.CalledProcessError: the package mirrors do not answer or do not have it.
    """
    if shutil.which("apt-get") is None:
        raise FileNotFoundError("no apt-get on this machine")
    for part in ("lists/partial", "cache/archives/partial", "deb"):
        (folder / part).mkdir(parents=True)
    (folder / "status").touch()
    own = {"Dir::State::lists": "lists", "Dir::Cache": "cache", "Dir::State::status": "status"}
    options = [f"-o{key}={folder / value}" for key, value in own.items()]
    options += ["-oDebug::NoLocking=true", "-oAPT::Sandbox::User=", "-oAcquire::Languages=none"]
    for command in (["update"], ["download", package]):
        run_quietly(["apt-get", "-qq", *options, *command], folder / "deb")
    run_quietly(["dpkg-deb", "--extract", *map(str, (folder / "deb").glob("*.deb")), str(folder / "root")], folder)


def run_quietly(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip() or f"{command[0]} exited with {done.returncode}")
