"""`-e predict`: whole sessions, odd images, killed and resumed ones, wrong settings, both engines."""

import base64
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imagelab.errors import ImagelabError, PredictionError, RegistryError, SettingsError
from imagelab.prediction.spark_engine import java_version
from imagelab.settings import PredictSettings, parse
from tests.conftest import LONGEST, Project, absent, finish, needs, thorough, wait_until
from tests.prediction.prepared_models import (
    MODEL,
    NAME,
    digits,
    png,
    predict,
    rows_of,
    start,
    write_parquet,
)


@pytest.fixture(autouse=True)
def in_the_project(registered: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registered.uri)
    registered.client.set_registered_model_alias(NAME, "champion", "2")


def odd_folder(folder: Path) -> Path:
    """Good images and bad ones, in folders, under odd names."""
    good = digits(12)
    shade = np.linspace(0, 65535, 64).reshape(8, 8)
    files = {
        "a/1.png": good[0],
        "a/two words.PNG": good[1],
        "a/line\nbreak.png": good[2],
        "b/ümlaut é.jpeg": png(np.full((40, 30), 90, np.uint8), "JPEG"),
        "b/16 bit.png": png(shade.astype(np.uint16)),
        "b/rgba.png": png(np.full((9, 9, 4), 120, np.uint8)),
        "b/some.webp": png(np.full((8, 8, 3), 10, np.uint8), "WEBP"),
        "bad/empty.png": b"",
        "bad/text.jpg": b"no image at all",
        "bad/cut.png": png(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8))[:200],
        "top.bmp": png(np.zeros((8, 8), np.uint8), "BMP"),
        ".hidden.png": good[3],
        ".hidden/x.png": good[3],
        "notes.txt": b"not meant",
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / "bad" / "circle").symlink_to(folder)
    (folder / "bad" / "nowhere.png").symlink_to(folder / "missing")
    Path(os.fsdecode(os.fsencode(folder) + b"/b/\xff.png")).write_bytes(good[4])
    return folder


def test_a_folder_becomes_a_table_in_the_order_of_names_with_the_reasons_of_what_is_unreadable(
    registered: Project, tmp_path: Path
) -> None:
    output = tmp_path / "predictions.parquet"
    said = predict(odd_folder(tmp_path / "photos"), output, "top_k=3")
    rows = rows_of(output)
    names = ["a/1.png", "a/line\nbreak.png", "a/two words.PNG", "b/16 bit.png", "b/rgba.png", "b/some.webp"]
    names += ["b/ümlaut é.jpeg", "b/\\xff.png", "bad/cut.png", "bad/empty.png", "bad/nowhere.png", "bad/text.jpg"]
    assert [row["path"] for row in rows] == [*names, "top.bmp"]
    bad = {row["path"]: row["error"] for row in rows if row["error"]}
    assert bad == {
        "bad/cut.png": "the image is damaged: PNG data cannot be decoded",
        "bad/empty.png": "the image is empty",
        "bad/nowhere.png": "the file cannot be read (No such file or directory)",
        "bad/text.jpg": "the image cannot be decoded; known formats: PNG, JPEG, WEBP, GIF, BMP",
    }
    assert all(row["label"] is row["probability"] is row["top"] is None for row in rows if row["error"])
    assert "13 images, 4 unreadable" in said
    listed = pd.read_csv(f"{output}.unreadable.csv")
    assert dict(zip(listed["path"], listed["error"], strict=True)) == bad
    assert not Path(f"{output}.parts").exists()

    good = [row for row in rows if not row["error"]]
    paths = [tmp_path / "photos" / row["path"] for row in good if "xff" not in row["path"]]
    answers = mlflow.pyfunc.load_model(f"models:/{NAME}/2").predict(
        pd.DataFrame({"image": [path.read_bytes() for path in paths]}), params={"top_k": 3}
    )
    for row, answer in zip([row for row in good if "xff" not in row["path"]], answers.to_dict("records"), strict=True):
        assert row["label"] == answer["label"]
        assert row["probability"] == pytest.approx(answer["probability"], abs=1e-6)
        assert [named["label"] for named in row["top"]] == [named["label"] for named in answer["top"]]
    metadata = pq.read_schema(output).metadata
    assert (metadata[b"imagelab.registered_model"], metadata[b"imagelab.version"]) == (NAME.encode(), b"2")
    (run,) = (run for run in registered.runs() if run.data.tags.get("model"))
    assert metadata[b"imagelab.run_id"].decode() == run.info.run_id


def test_parquet_files_keep_their_other_columns_whatever_holds_the_images(tmp_path: Path) -> None:
    files = digits(2100)
    folder = tmp_path / "in"
    folder.mkdir()
    pq.write_table(pa.table({"image": files, "id": range(2100), "label": ["?"] * 2100}), folder / "a.parquet")
    pq.write_table(
        pa.table({"image": [*files[:5], None, b"?"], "id": range(7), "label": ["?"] * 7}), folder / "b.parquet"
    )
    predict(folder, tmp_path / "out.parquet", "batch_size=100")
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column_names == ["row", "id", "input_label", "label", "probability", "top", "error"]
    assert table["row"].to_pylist() == list(range(2107))
    assert table["id"].to_pylist() == [*range(2100), *range(7)]
    assert table["error"].to_pylist()[-3:] == [
        None,
        "there is no image in this row",
        "the image cannot be decoded; known formats: PNG, JPEG, WEBP, GIF, BMP",
    ]
    expected = table["label"].to_pylist()[:20]
    text = [base64.b64encode(file).decode() for file in files[:20]]
    struct = [{"bytes": file, "path": None} for file in files[:20]]
    for kind, images in (("text", text), ("struct", struct)):
        path = write_parquet(tmp_path / f"{kind}.parquet", images)
        predict(path, tmp_path / f"{kind}-out.parquet")
        assert pq.read_table(tmp_path / f"{kind}-out.parquet")["label"].to_pylist() == expected


def kill_midway(registered: Project, process: Any, output: Path, shards: int = 2) -> None:
    parts = Path(f"{output}.parts")
    wait_until(lambda: process.poll() is not None or len(list(parts.glob("0*.parquet"))) >= shards)
    assert process.poll() is None, process.communicate()
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not output.exists()


def test_a_killed_command_goes_on_with_its_version_and_gives_the_same_rows(registered: Project, tmp_path: Path) -> None:
    """The very same ones with the same batch_size; with another one, but for the last digits of probabilities."""
    images = write_parquet(tmp_path / "images.parquet", digits(30_000))
    output, whole = tmp_path / "out.parquet", tmp_path / "whole.parquet"
    process = start(registered, images, output)
    kill_midway(registered, process, output)
    same = tmp_path / "same.parquet"
    shutil.copytree(f"{output}.parts", f"{same}.parts")
    kept = {path.name: path.stat().st_mtime_ns for path in Path(f"{output}.parts").glob("0*.parquet")}
    assert 2 <= len(kept) < 30

    with pytest.raises(SettingsError, match="another prediction was begun.*top_k=5 .now 4."):
        predict(images, output, "top_k=4")
    with pytest.raises(SettingsError, match="asked=alias champion .now alias previous.; version=2 .now 1."):
        predict(images, output, "alias=previous")
    registered.client.set_registered_model_alias(NAME, "champion", "1")  # after it was begun with version 2
    code, said, errors = finish(start(registered, images, output, "batch_size=64"))
    assert code == 0, errors
    assert "going on with version 2, with which this was begun; champion is now version 1" in " ".join(errors.split())
    assert f"{len(kept) * 1000:,} are done already" in errors
    assert "30,000 images, " in said
    assert pq.read_schema(output).metadata[b"imagelab.version"] == b"2"

    predict(images, whole, "version=2")
    assert_equal_rows(output, whole)
    registered.client.set_registered_model_alias(NAME, "champion", "2")
    predict(images, same)
    assert pq.read_table(same).equals(pq.read_table(whole))
    with pytest.raises(SettingsError, match="is there already.*overwrite=true"):
        predict(images, output)
    predict(write_parquet(tmp_path / "few.parquet", digits(3)), output, "overwrite=true")
    assert len(rows_of(output)) == 3


def test_a_command_that_could_not_begin_is_bound_to_no_version(
    registered: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the champion is damaged: after a rollback the same command takes the version before."""
    images, output = write_parquet(tmp_path / "images.parquet", digits(3)), tmp_path / "out.parquet"

    def cannot_be_loaded(*_: object) -> None:
        raise RegistryError("its files are damaged")

    with monkeypatch.context() as broken:
        broken.setattr("imagelab.prediction.predict.run_engine", cannot_be_loaded)
        with pytest.raises(RegistryError):
            predict(images, output)
    registered.client.set_registered_model_alias(NAME, "champion", "1")
    try:
        predict(images, output)
    finally:
        registered.client.set_registered_model_alias(NAME, "champion", "2")
    assert pq.read_schema(output).metadata[b"imagelab.version"] == b"1"


def test_ctrl_c_says_how_to_go_on_and_a_second_command_at_once_is_refused(registered: Project, tmp_path: Path) -> None:
    images, output = write_parquet(tmp_path / "images.parquet", digits(60_000)), tmp_path / "out.parquet"
    process = start(registered, images, output)
    wait_until(lambda: list(Path(f"{output}.parts").glob("0*.parquet")))
    with pytest.raises(PredictionError, match="another command is writing it"):
        predict(images, output)
    os.kill(process.pid, signal.SIGINT)
    code, _, errors = finish(process)
    assert code == 130
    assert "images are done: the same command goes on" in errors
    (tmp_path / "out.parquet.parts" / "mine.txt").touch()
    with pytest.raises(PredictionError, match="mine.txt is in the way"):
        predict(images, output)
    assert (tmp_path / "out.parquet.parts" / "mine.txt").exists()


def test_images_that_have_changed_are_not_mixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, output = odd_folder(tmp_path / "photos"), tmp_path / "out.parquet"
    with monkeypatch.context() as broken:
        broken.setattr("imagelab.prediction.shards.ShardFolder.join", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            predict(images, output)
    (images / "a" / "1.png").unlink()
    with pytest.raises(SettingsError, match="unfinished, with digest=.*count=13 .now 12."):
        predict(images, output)
    predict(images, output, "overwrite=true")
    assert len(rows_of(output)) == 12


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (
            ["alias=chapion"],
            "it has: champion (version 2), previous (version 1); or name a version: -P version=N",
        ),
        (["version=7"], "version=7: digits-basic_ann has no such version; it has: 1, 2"),
        (["top_k=11"], "top_k=11: digits-basic_ann version 2 knows 10 classes"),
        (["version=1", "alias=champion"], "give one of them"),
        (["alias=champion!"], "alias=champion!: must be letters, digits, _ and - only"),
        (["master=local"], "master=local: has no effect with engine=local"),
        (["engine=spark", "workers=2"], "workers=2: has no effect with engine=spark"),
        (["batch_size=0"], "batch_size=0"),
        (["engine=flink"], "allowed: local, spark"),
    ],
)
def test_wrong_settings_are_one_line_and_leave_nothing_behind(tmp_path: Path, settings: list[str], reason: str) -> None:
    images = write_parquet(tmp_path / "images.parquet", digits(3))
    with pytest.raises(SettingsError) as error:
        predict(images, tmp_path / "out.parquet", *settings)
    assert reason in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images.parquet"]


def test_wrong_paths_are_one_line(tmp_path: Path) -> None:
    few, empty = digits(3), tmp_path / "empty"
    empty.mkdir()
    (empty / "notes.txt").touch()
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"picture": few}), other)
    numbers = write_parquet(tmp_path / "numbers.parquet", [1, 2])
    nothing = write_parquet(tmp_path / "nothing.parquet", pa.array([], pa.binary()))
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(other.read_bytes()[:100])
    single = tmp_path / "cat.PNG"
    single.write_bytes(few[0])
    for images, reason in (
        (tmp_path / "missing", "there is no such file or folder"),
        (empty, "no images (.png, .jpg, .jpeg, .webp, .gif, .bmp) and no Parquet files are in it"),
        (other, "it needs a column 'image' with image files; its columns are: picture"),
        (numbers, "the column 'image' holds int64"),
        (nothing, "it has no rows"),
        (damaged, f"images={damaged}: cannot be read as Parquet"),
        (single, "is a single image; give a folder of images"),
    ):
        with pytest.raises(ImagelabError) as error:
            predict(images, tmp_path / "out.parquet")
        assert reason in str(error.value)
    for output, reason in (
        (tmp_path / "out.csv", "must end in .parquet"),
        (tmp_path / "no" / "out.parquet", "must be a folder that can be written to"),
        (other, "would replace the images themselves"),
    ):
        with pytest.raises(SettingsError, match=reason):
            predict(other, output)
    with pytest.raises(SettingsError, match="images: is missing; give a folder"):
        parse(PredictSettings, "predict", [])
    assert not list(tmp_path.glob("*.parts"))


WRONG = """
import sys
from imagelab.settings import PredictSettings, parse
from imagelab.prediction.predict import predict
try:
    predict(parse(PredictSettings, "predict", sys.argv[1:]))
except Exception as error:
    print(error, "tensorflow" in sys.modules)
"""


def test_a_mistyped_model_is_said_with_what_there_is_and_without_tensorflow(
    registered: Project, tmp_path: Path
) -> None:
    images = write_parquet(tmp_path / "images.parquet", digits(3))
    names = ("--dataset=digits", "--model=basic_cnn", f"--images={images}", f"--output={tmp_path / 'out.parquet'}")
    code, said, errors = finish(registered.start(sys.executable, "-c", WRONG, *names))
    assert code == 0, errors
    assert said == "dataset, model: there is no registered model digits-basic_cnn False\n"
    assert "digits-basic_ann, champion is version 2" in errors
    assert "mlflow run . -e predict --env-manager local -P dataset=digits -P model=basic_ann" in errors


@thorough
def test_mlflow_run_keeps_a_run_of_it_and_exits_with_1_if_nothing_can_be_read(
    registered: Project, tmp_path: Path
) -> None:
    images, output = write_parquet(tmp_path / "images.parquet", [*digits(3), b"?"]), tmp_path / "out.parquet"
    words = ["mlflow", "run", ".", "-e", "predict", "--env-manager", "local"]
    words += [word for flag in (*MODEL, f"--images={images}", f"--output={output}") for word in ("-P", flag[2:])]
    code, said, errors = finish(registered.start(*words))
    assert code == 0, errors
    assert "4 images, 1 unreadable" in said
    (run,) = (run for run in registered.runs() if run.data.tags.get("phase") == "prediction")
    assert run.info.status == "FINISHED"
    assert (run.data.tags["registered_model"], run.data.tags["version"]) == (NAME, "2")
    assert run.data.metrics["images"] == 4
    assert run.data.metrics["unreadable"] == 1
    assert run.data.metrics["images_per_second"] > 0

    with pytest.raises(PredictionError, match="none of the 2 images could be read"):
        predict(write_parquet(tmp_path / "bad.parquet", [b"?", b""]), tmp_path / "bad-out.parquet")
    assert [row["label"] for row in rows_of(tmp_path / "bad-out.parquet")] == [None, None]


@thorough
def test_a_full_disk_is_said_in_one_line_and_loses_nothing(registered: Project, tmp_path: Path) -> None:
    """A tmpfs on which something else leaves room for some shards only."""
    images, disk = write_parquet(tmp_path / "images.parquet", digits(8000)), tmp_path / "disk"
    disk.mkdir()
    command = f"{sys.executable} -m entrypoints.predict {' '.join(MODEL)} --images={images} --output={disk}/out.parquet"
    script = (
        f"mount -t tmpfs -o size=600k tmpfs {disk} && head -c 300000 /dev/zero > {disk}/other; {command}; echo $?; "
        f"ls {disk}/out.parquet.parts; rm {disk}/other; mount -o remount,size=9m {disk}; {command} >/dev/null; echo $?"
    )
    own_mounts = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
    code, said, errors = finish(registered.start(*own_mounts, "sh", "-c", script))
    first, *kept, last = said.split()
    assert (code, first, last) == (0, "1", "0"), errors
    assert "000000.parquet" in kept
    assert "part-" not in said
    assert "cannot be written (No space left on device)" in errors
    assert "the same command again: it goes on" in errors
    assert "are done already" in errors


PEAK = r"""
import re, sys
from pathlib import Path
from imagelab.settings import PredictSettings, parse
from imagelab.prediction.predict import predict
predict(parse(PredictSettings, "predict", sys.argv[1:]))
status = Path("/proc/self/status").read_text()  # ru_maxrss would begin with what the parent had when it forked
print("peak", int(re.search(r"VmHWM:\s*(\d+)", status)[1]) // 1024)
"""


@thorough
def test_memory_does_not_grow_with_the_number_of_images(registered: Project, tmp_path: Path) -> None:
    """Images of 30 kB in one row group: 60 MB of them, and 240 MB."""
    noise = png(np.random.default_rng(0).integers(0, 255, (100, 100, 3), np.uint8))
    peaks = []
    for count in (2000, 8000):
        images = tmp_path / f"{count}.parquet"
        table = pa.table({"image": [noise + number.to_bytes(4) for number in range(count)]})
        pq.write_table(table, images, use_dictionary=False)
        flags = (*MODEL, f"--images={images}", f"--output={tmp_path / f'{count}-out.parquet'}")
        code, said, errors = finish(registered.start(sys.executable, "-c", PEAK, *flags))
        assert code == 0, errors
        peaks.append(int(said.split()[-1]))
    assert peaks[1] - peaks[0] < 100, peaks


@pytest.fixture
def spark() -> None:
    if java_version() is None:
        absent("Java is not here")
    needs("pyspark")


def assert_equal_rows(one: Path, other: Path) -> None:
    """Labels, reasons and other columns to the letter; probabilities but for rounding."""
    first, second = pq.read_table(one), pq.read_table(other)
    assert first.schema.equals(second.schema)
    for name in set(first.column_names) - {"probability", "top"}:
        assert first[name].to_pylist() == second[name].to_pylist(), name
    ones, others = (np.array(table["probability"].to_pylist(), float) for table in (first, second))
    np.testing.assert_allclose(ones, others, atol=1e-6)
    for ours, theirs in zip(first["top"].to_pylist(), second["top"].to_pylist(), strict=True):
        assert [named["label"] for named in ours or ()] == [named["label"] for named in theirs or ()]


@thorough
@pytest.mark.usefixtures("spark")
def test_spark_gives_the_same_rows_of_a_folder(registered: Project, tmp_path: Path) -> None:
    folder = odd_folder(tmp_path / "photos")
    predict(folder, tmp_path / "local.parquet")
    elsewhere = {
        "PATH": f"{Path(shutil.which('java') or '').parent}:/usr/bin:/bin",
        "PYSPARK_PYTHON": "/usr/bin/missing",
    }
    settings = ("engine=spark", "master=local[2]")
    code, said, errors = finish(start(registered, folder, tmp_path / "spark.parquet", *settings, **elsewhere))
    assert code == 0, errors
    assert errors == "13 images for digits-basic_ann version 2\n"
    assert "13 images, 4 unreadable" in said
    assert_equal_rows(tmp_path / "local.parquet", tmp_path / "spark.parquet")


@thorough
@pytest.mark.usefixtures("spark")
def test_spark_killed_leaves_no_process_behind_and_either_engine_goes_on(registered: Project, tmp_path: Path) -> None:
    files = [*digits(20_000), b"bad", None]
    images = write_parquet(tmp_path / "images.parquet", files, name=[f"n{n}" for n in range(len(files))])
    output = tmp_path / "both.parquet"
    process = start(registered, images, output, "engine=spark")
    wait_until(lambda: process.poll() is not None or list(Path(f"{output}.parts").glob("0*.parquet")))
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=LONGEST)
    assert not alive
    kept = len(list(Path(f"{output}.parts").glob("0*.parquet")))
    assert 0 < kept < 21
    predict(images, output)
    predict(images, tmp_path / "local.parquet")
    assert_equal_rows(tmp_path / "local.parquet", output)


def test_spark_that_is_missing_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = write_parquet(tmp_path / "images.parquet", digits(3))
    with monkeypatch.context() as without:
        without.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(SettingsError, match="PySpark is not installed: pip install pyspark==4.1"):
            predict(images, tmp_path / "out.parquet", "engine=spark")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(SettingsError, match="needs Java 17 or newer, and there is none"):
        predict(images, tmp_path / "out.parquet", "engine=spark")
    (tmp_path / "bin").mkdir()
    java = tmp_path / "bin" / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    java.chmod(0o755)
    with pytest.raises(SettingsError, match="and this is Java 11: apt-get install"):
        predict(images, tmp_path / "out.parquet", "engine=spark")
