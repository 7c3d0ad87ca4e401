"""From a path to the rows that are to be classified: a Parquet file, a folder of them, or a folder of images."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from imagelab.errors import DataError, SettingsError
from imagelab.prediction.listing import SUFFIXES, files_below, state_of, write_listing
from imagelab.prediction.source import IMAGE, RowGroup, Source, first_line


def open_source(images: Path, listing: Path, output: Path, without: Path) -> Source:
    """The rows of a Parquet file, of a folder of them, or of a folder of images, whose listing is written.

    Args:
        output, without: what lies there is not meant, even below `images`.

    Raises:
        SettingsError: there are no images, or not in a form that is known.
        DataError: they cannot be read.
    """
    if images.suffix.lower() in SUFFIXES and images.is_file():
        raise SettingsError(f"images={images}: is a single image; give a folder of images (-P images={images.parent})")
    if images.is_file():
        return of_parquet([images])
    count, digest = write_listing(images, listing, [without])
    if count:
        groups = groups_of(listing, 0, pq.read_metadata(listing))
        return Source(tuple(groups), digest, folder=images, others=pa.schema({"path": pa.string()}))
    listing.unlink()
    files = [Path(entry.path) for entry in files_below(images, (".parquet",), [output, without])]
    if not files:
        raise SettingsError(f"images={images}: no images ({', '.join(SUFFIXES)}) and no Parquet files are in it")
    return of_parquet(files)


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
        raise DataError(f"{path} cannot be read as Parquet ({first_line(error)})") from error


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
