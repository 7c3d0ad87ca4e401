"""Looking for a data set's files: the first folder that is whole is used, and what is damaged is named, once."""

from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from imagelab.console import say
from imagelab.data.dataset import Dataset
from imagelab.errors import DataError

Read = Callable[[Path], Dataset]


def first_whole(folders: Iterable[Path], files: Collection[str], read: Read) -> Dataset | None:
    """The data set from the first of `folders` that has all its files undamaged; None where none has.

    Args:
        files: their names; a folder without any of them is passed over in silence.
        read: raises a DataError that names what is missing or damaged.
    """
    for folder in dict.fromkeys(folders):  # data_dir may be the cache itself
        if holds_any(folder, files):
            try:
                return read(folder)
            except DataError as error:
                say(str(error))
    return None


def holds_any(folder: Path, files: Iterable[str]) -> bool:
    try:
        return any((folder / name).exists() for name in files)
    except OSError:  # a folder that may not be looked into
        return False


def say_if_none(data_dir: Path | None, folders: Iterable[Path], files: Collection[str], title: str) -> None:
    """Tell who gave a data_dir without any of the files that it is of no use."""
    if data_dir and not any(holds_any(folder, files) for folder in folders if folder.is_relative_to(data_dir)):
        say(f"data_dir={data_dir} has no files of {title} ({', '.join(files)}): the cache is used")


def read_fetched(folder: Path, read: Read) -> Dataset:
    """Read what has just been fetched.

    Raises:
        DataError: it is damaged; the message says what to do.
    """
    try:
        return read(folder)
    except DataError as error:
        raise DataError(f"{error}; it has just been fetched: delete {folder} and try again") from error
