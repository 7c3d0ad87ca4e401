from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imagelab.errors import DataError, SettingsError
from imagelab.prediction.inputs import open_source
from imagelab.prediction.parquet_rows import Reader, Source, UnreadableError, read_content


def opened(images: Path) -> Source:
    nowhere = images.parent / "nowhere"
    return open_source(images, images.parent / "listing", nowhere, nowhere)


@pytest.fixture
def source(tmp_path: Path) -> Source:
    """25 rows in two files, in row groups of four."""
    folder = tmp_path / "images"
    for name, numbers in (("b/2.parquet", range(10, 25)), ("a/1.parquet", range(10))):
        path = folder / name
        path.parent.mkdir(parents=True)
        pq.write_table(pa.table({"n": numbers, "image": [str(n).encode() for n in numbers]}), path, row_group_size=4)
    (folder / "_metadata").touch()
    return opened(folder)


def test_ranges_are_read_across_row_groups_and_files_in_any_order(source: Source) -> None:
    reader = Reader(source, 3)
    for first, stop in ((0, 5), (5, 6), (6, 25), (9, 13), (24, 25), (0, 25)):
        rows = reader.read(first, stop)
        assert rows["n"].to_pylist() == list(range(first, stop))
        assert source.contents(rows) == [str(n).encode() for n in range(first, stop)]
    assert source.carried(reader.read(7, 9), 7).to_pylist() == [{"row": 7, "n": 7}, {"row": 8, "n": 8}]
    assert Reader(source, 3, with_images=False).read(3, 7).column_names == ["n"]


def test_a_file_that_has_become_shorter_or_is_gone_is_said(source: Source) -> None:
    path = Path(source.groups[-1].path)
    pq.write_table(pq.read_table(path).slice(0, 5), path, row_group_size=4)
    with pytest.raises(DataError, match="cannot be read any more|end at row"):
        Reader(source, 3).read(0, 25)
    path.unlink()
    with pytest.raises(DataError, match="cannot be read any more"):
        Reader(source, 3).read(20, 25)


def test_columns_that_the_output_needs_itself_are_renamed(tmp_path: Path) -> None:
    columns = ["label", "input_label", "row", "other"]
    path = tmp_path / "images.parquet"
    pq.write_table(pa.table({"image": [b"x"], **{name: [1] for name in columns}}), path)
    source = opened(path)
    names = ["row", "input_label", "input_input_label", "input_row", "other"]
    assert source.carried_schema.names == names
    assert source.carried(Reader(source, 1).read(0, 1), 0).column_names == names


def test_files_of_different_columns_are_not_mixed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        pq.write_table(pa.table({"image": [b"x"], name: [1]}), tmp_path / f"{name}.parquet")
    with pytest.raises(DataError, match="has other columns than"):
        opened(tmp_path)
    table = pa.Table.from_arrays([pa.array([b"x"]), pa.array([1]), pa.array([2])], ["image", "n", "n"])
    pq.write_table(table, tmp_path / "double.parquet")
    with pytest.raises(SettingsError, match="share a name: image, n, n"):
        opened(tmp_path / "double.parquet")


def test_large_images_are_read_a_few_at_a_time(source: Source) -> None:
    assert source.rows_at_once(256) == 256
    assert Source(source.groups, "", bytes_a_row=2**20).rows_at_once(256) == 64
    assert Source(source.groups, "", bytes_a_row=2**40).rows_at_once(256) == 1


def test_a_file_that_is_too_large_or_may_not_be_read_has_a_reason(tmp_path: Path) -> None:
    huge = tmp_path / "huge.png"
    with huge.open("wb") as file:
        file.truncate(2**29)
    with pytest.raises(UnreadableError, match="the file has 536,870,912 bytes, more than 268,435,456"):
        read_content(huge)
    with pytest.raises(UnreadableError, match=r"the file cannot be read \(Is a directory\)"):
        read_content(tmp_path)
