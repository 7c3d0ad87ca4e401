"""From a path to the rows to classify: a Parquet file, a folder of such files, or a folder of images.

The images below a folder are listed in a Parquet file, in the order of their names.
"""

import hashlib
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from imagelab.errors import DataError, SettingsError, one_line
from imagelab.prediction.parquet_rows import IMAGE, RowGroup, Source

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")
PARQUET = b"PAR1"  # with which such a file begins
LIST_SCHEMA = pa.schema({"path": pa.string(), "file": pa.binary()})  # the name to show, and the very name
NAMES_AT_ONCE = 10_000
Inode = tuple[int, int]


def open_source(images: Path, listing: Path, output: Path, excluded: Path) -> Source:
    """The rows of a Parquet file, of a folder of them, or of a folder of images.

    Args:
        listing: where the images below a folder are listed.
        output, excluded: a file and a folder that are no input, even below `images`.

    Raises:
        SettingsError: there are no images, or not of a known form.
        DataError: they cannot be read.
    """
    if images.suffix.lower() in SUFFIXES and images.is_file():
        raise SettingsError(f"images={images}: is a single image; give a folder of images (-P images={images.parent})")
    if images.is_file():
        if not looks_like_parquet(images):
            raise SettingsError(f"images={images}: must be a folder of images, a Parquet file or a folder of them")
        return of_parquet([images])
    count, digest = write_listing(images, listing, [excluded])
    if count:
        groups = groups_of(listing, 0, pq.read_metadata(listing))
        return Source(tuple(groups), digest, folder=images, others=pa.schema({"path": pa.string()}))
    listing.unlink()
    files = [Path(entry.path) for entry in files_below(images, (".parquet",), [output, excluded])]
    if not files:
        raise SettingsError(f"images={images}: no images ({', '.join(SUFFIXES)}) and no Parquet files are in it")
    return of_parquet(files)


def looks_like_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(PARQUET)) == PARQUET


def of_parquet(files: Sequence[Path]) -> Source:
    groups: list[RowGroup] = []
    digest, size, schema = hashlib.sha256(), 0, None
    for path in files:
        metadata, found = footer_of(path)
        if schema is not None and not found.equals(schema, check_metadata=False):
            raise DataError(f"{path} has other columns than {files[0]}; they must be the same")
        schema = found
        first = groups[-1].first + groups[-1].rows if groups else 0
        groups += groups_of(path, first, metadata)
        size += bytes_of_images(metadata)
        digest.update(os.fsencode(path.name) + f"\0{state_of(path)} {metadata.num_rows}\n".encode())
    assert schema is not None
    kind = kind_of_images(schema, files[0])
    count = sum(group.rows for group in groups)
    if not count:
        raise SettingsError(f"images={files[0]}: it has no rows")
    others = schema.remove(schema.get_field_index(IMAGE)).remove_metadata()
    is_text = kind in (pa.string(), pa.large_string(), pa.string_view())
    return Source(tuple(groups), digest.hexdigest(), others=others, is_text=is_text, bytes_a_row=size / count)


def footer_of(path: Path) -> tuple[pq.FileMetaData, pa.Schema]:
    try:
        with pq.ParquetFile(path) as file:
            return file.metadata, file.schema_arrow
    except (pa.ArrowException, OSError) as error:
        raise SettingsError(f"images={path}: cannot be read as Parquet ({one_line(error)})") from error


def groups_of(path: Path, first: int, metadata: pq.FileMetaData) -> Iterator[RowGroup]:
    for number in range(metadata.num_row_groups):
        rows = metadata.row_group(number).num_rows
        if rows:
            yield RowGroup(str(path), number, first, rows)
        first += rows


def bytes_of_images(metadata: pq.FileMetaData) -> int:
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    columns = [group.column(number) for group in groups for number in range(metadata.num_columns)]
    return sum(column.total_uncompressed_size for column in columns if column.path_in_schema.split(".")[0] == IMAGE)


def kind_of_images(schema: pa.Schema, path: Path) -> pa.DataType:
    """The type of the images.

    Raises:
        SettingsError: there is no such column, or it cannot hold images.
    """
    if IMAGE not in schema.names:
        names = ", ".join(schema.names)[:200] or "none"
        raise SettingsError(f"images={path}: it needs a column {IMAGE!r} with image files; its columns are: {names}")
    if len(set(schema.names)) < len(schema.names):
        raise SettingsError(f"images={path}: columns share a name: {', '.join(schema.names)[:200]}")
    kind = schema.field(IMAGE).type
    if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        kind = kind.field("bytes").type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    known = (pa.binary(), pa.large_binary(), pa.binary_view(), pa.string(), pa.large_string(), pa.string_view())
    if kind not in known and not pa.types.is_fixed_size_binary(kind):
        raise SettingsError(
            f"images={path}: the column {IMAGE!r} holds {str(kind)[:80]}; image files are bytes, a struct with bytes, "
            "or base64 text"
        )
    return kind


def files_below(folder: Path, suffixes: Collection[str], excluded: Collection[Path]) -> Iterator[os.DirEntry[str]]:
    """Files with such suffixes, without hidden and excluded ones; links are followed, but not in a circle.

    Raises:
        DataError: a folder cannot be read.
    """
    skipped = {str(path) for path in excluded}
    for entry in walk(str(folder), (inode_of(folder.stat()),), skipped):
        if entry.name.lower().endswith(tuple(suffixes)):
            yield entry


def other_files(folder: Path) -> list[str]:
    """The paths below a folder of its files that are no images by their names; hidden ones are not among them."""
    files = (Path(entry.path) for entry in files_below(folder, ("",), ()))
    return [path.relative_to(folder).as_posix() for path in files if path.suffix.lower() not in SUFFIXES]


def walk(folder: str, above: tuple[Inode, ...], skipped: set[str]) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if not entry.name.startswith(".") and entry.path not in skipped]
    except OSError as error:
        raise DataError(f"the folder {folder} cannot be read ({error.strerror})") from error
    for entry in sorted(found, key=lambda entry: os.fsencode(entry.name)):
        if entry.is_dir():
            inode = inode_of(entry.stat())
            if inode not in above:
                yield from walk(entry.path, (*above, inode), skipped)
        elif entry.is_file() or not Path(entry.path).exists():  # a link to nowhere is an image that cannot be read
            yield entry


def inode_of(status: os.stat_result) -> Inode:
    return status.st_dev, status.st_ino


def write_listing(folder: Path, listing: Path, excluded: Collection[Path]) -> tuple[int, str]:
    """Write the names of all images below `folder` to `listing`; their number, and a digest of names, sizes and times.

    Raises:
        OSError: the listing cannot be written.
    """
    digest, count = hashlib.sha256(), 0
    with pq.ParquetWriter(listing, LIST_SCHEMA) as writer:
        for names in batched(described(files_below(folder, SUFFIXES, excluded), folder, digest)):
            shown = [name.decode("utf-8", "backslashreplace") for name in names]
            writer.write_table(pa.table({"path": shown, "file": names}, schema=LIST_SCHEMA))
            count += len(names)
    return count, digest.hexdigest()


def described(entries: Iterable[os.DirEntry[str]], folder: Path, digest: "hashlib._Hash") -> Iterator[bytes]:
    """The names of files, relative to the folder; each is added to the digest."""
    for entry in entries:
        name = os.fsencode(os.path.relpath(entry.path, folder))
        digest.update(name + f"\0{state_of(Path(entry.path))}\n".encode())
        yield name


def state_of(path: Path) -> str:
    """Size and time of a file, which change when it does."""
    try:
        status = path.stat()
    except OSError:  # a link to nowhere, or deleted in this moment
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns}"


def batched(names: Iterator[bytes]) -> Iterator[list[bytes]]:
    while some := list(islice(names, NAMES_AT_ONCE)):
        yield some
