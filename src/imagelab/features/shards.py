"""Shards of features, one file each: there whole or not at all, checked against their checksum, memory-mapped.

A file is an array as `numpy.save` writes it, and a line with the CRC-32 of its numbers, which numpy does not read.
"""

import io
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from imagelab.atomic_files import replace_durably
from imagelab.console import say
from imagelab.errors import DataError

SHARD = 500  # images

Shards = dict[int, np.ndarray]


class ShardFormat(NamedTuple):
    """The length of a feature vector, and its number format."""

    length: int
    dtype: np.dtype[Any]


def open_shard(folder: Path, number: int, size: int, shard_format: ShardFormat) -> np.ndarray | None:
    """The features (size, length) of one shard, memory-mapped; None where there are none, or too few, or damaged ones.

    Shards without a checksum, which older versions have written, are taken as they are: computing them again would
    take far longer than what a rare flipped bit is worth.

    Raises:
        DataError: the file is there and cannot be read.
    """
    path = path_of(folder, number)
    try:
        shard = np.load(path, mmap_mode="r", allow_pickle=False)
        checksum = bytes_after(path, shard.offset + shard.nbytes)
    except (FileNotFoundError, ValueError, EOFError):
        return None
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error})") from error
    if checksum not in (b"", checksum_line(shard)):
        say(f"{path} is damaged (its checksum does not fit): its features are computed again")
        return None
    fits = shard.shape == (size, shard_format.length) and shard.dtype == shard_format.dtype
    return np.asarray(shard) if fits else None


def bytes_after(path: Path, position: int) -> bytes:
    with path.open("rb") as file:
        file.seek(position)
        return file.read()


def checksum_line(shard: np.ndarray) -> bytes:
    return f"crc32 {zlib.crc32(np.ascontiguousarray(shard).data):08x}\n".encode()


def save_shard(folder: Path, number: int, shard: np.ndarray) -> None:
    path = path_of(folder, number)
    part = path.with_name(f"part-{path.name}")
    content = io.BytesIO()
    np.save(content, shard)
    content.write(checksum_line(shard))
    try:
        part.write_bytes(content.getbuffer())  # numpy's own writing hides the reason where it fails
        replace_durably(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def path_of(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.npy"
