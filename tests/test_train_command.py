"""The main job from the outside: the command is typed, the run is looked at."""

import importlib.metadata
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.conftest import Project, Server, finish, real_data, thorough, wait_until

EVERY_EPOCH = {
    *("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"),
    *("epoch_seconds", "epoch_processor_seconds", "images_per_second"),
}
AT_THE_END = {
    *("best_epoch", "best_val_accuracy", "training_seconds", "training_processor_seconds", "parameter_count"),
    *("test_loss", "test_accuracy", "test_macro_f1", "test_calibration_error"),
}
ARTIFACTS = {
    *("settings.json", "model_summary.txt", "curves.csv", "data/class_balance.csv", "figures/samples.png"),
    *(f"evaluation/{name}.csv" for name in ("confusion_matrix", "classification_report", "per_class", "most_confused")),
    *("evaluation/calibration.csv", "evaluation/predictions.parquet", "figures/calibration.png"),
    *(f"figures/{name}" for name in ("curves.png", "curves.html", "confusion_matrix.png", "confusion_matrix.html")),
    *("figures/correct.png", "figures/incorrect.png", "checkpoints/best.keras", "checkpoints/epoch-00003.keras"),
    "checkpoints/progress.json",
}


def test_a_finished_run_holds_everything(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    project.forks = False
    code, output, errors = finish(
        project.train("epochs=3", "note=it's a; test", MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL="1")
    )
    assert code == 0, errors
    (run,) = project.runs()
    run_id = run.info.run_id
    assert run.info.status == "FINISHED"
    assert output.startswith(f"run {run_id}: best epoch ")
    for words in ("validation accuracy", "test accuracy", "s of training", f"#/experiments/0/runs/{run_id}"):
        assert words in output
    assert len(output.splitlines()) == 1

    for name in EVERY_EPOCH:
        assert [step for step, _ in project.history(run_id, name)] == [1, 2, 3], name
    assert set(run.data.metrics) >= AT_THE_END
    assert any(name.startswith("system/cpu") for name in run.data.metrics)
    expected = {"dataset": "digits", "model": "basic_ann", "epochs": "3", "batch_size": "32", "seed": "0"}
    assert expected.items() <= run.data.params.items()
    tags = run.data.tags
    assert (tags["dataset"], tags["model"], tags["phase"]) == ("digits", "basic_ann", "train")
    assert run.info.run_name == "basic_ann, digits, epochs 3"
    assert tags["mlflow.note.content"].startswith("it's a; test\n\nTest accuracy **")
    assert len(tags["dataset_digest"]) == 64
    contexts = {i.tags[0].value: (i.dataset.name, i.dataset.digest) for i in run.inputs.dataset_inputs}
    digest = tags["dataset_digest"][:36]
    assert contexts == {c: (f"digits-{c}", digest) for c in ("training", "validation", "test")}
    assert project.artifacts(run_id) >= ARTIFACTS
    assert not list((project.folder / "runs").iterdir())  # all of it is in MLflow now

    mlflow.set_tracking_uri(project.uri)
    (output_model,) = run.outputs.model_outputs
    model = project.client.get_logged_model(output_model.model_id)
    measured = {metric.key: metric.value for metric in model.metrics}
    best = int(run.data.metrics["best_epoch"])
    assert measured["val_loss"] == dict(project.history(run_id, "val_loss"))[best]
    assert measured["test_accuracy"] == run.data.metrics["test_accuracy"]
    info = mlflow.models.get_model_info(f"models:/{model.model_id}")
    assert info.signature.outputs.input_names() == ["label", "probability", "top"]
    assert [param.name for param in info.signature.params] == ["top_k", "on_error"]
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{model.model_id}"))
    assert (folder / "input_example.json").exists()
    assert f"keras=={importlib.metadata.version('keras')}" in (folder / "requirements.txt").read_text().split()
    assert not list(folder.rglob("*.pkl"))

    from imagelab.data import load_dataset

    digits = load_dataset("digits")
    answers = mlflow.pyfunc.load_model(f"models:/{model.model_id}").predict(digits.test.images)
    network = mlflow.keras.load_model(f"models:/{model.model_id}")
    probabilities = network.predict(digits.test.images, verbose=0)
    accuracy = (probabilities.argmax(1) == digits.test.labels).mean()
    assert accuracy == pytest.approx(run.data.metrics["test_accuracy"])
    table = pd.read_parquet(
        mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="evaluation/predictions.parquet")
    )
    assert (table["predicted"] == probabilities.argmax(1)).all()
    assert answers["label"].tolist() == [digits.class_names[k] for k in probabilities.argmax(1)]
    np.testing.assert_allclose(table["probability"], probabilities.max(1), rtol=1e-5)


@pytest.mark.parametrize("settings", [["epochs=0"], ["epoch=3"], ["model=basic_cn"], ["learning_rate=fast"]])
def test_a_wrong_setting_opens_no_run(project: Project, settings: list[str]) -> None:
    code, output, errors = finish(project.train(*settings))
    assert (code, output) == (2, "")
    assert len(errors.splitlines()) == 1
    assert settings[0].split("=")[0] in errors
    assert project.runs() == []


@thorough
def test_mlflow_run_with_odd_values(project: Project) -> None:
    values = ["learning_rate=1e-2", "epochs=02", 'note=it\'s a; "test" $HOME']
    flags = [word for value in values for word in ("-P", value)]
    command = ["mlflow", "run", ".", "-e", "train", "--env-manager", "local", "-P", "dataset=digits", *flags]
    code, output, errors = finish(project.start(*command))
    assert code == 0, errors
    (run,) = project.runs()
    assert run.info.status == "FINISHED"
    assert (run.data.params["learning_rate"], run.data.params["model"]) == ("1e-2", "basic_cnn")
    assert run.info.run_name == "basic_cnn, digits, epochs 2, lr 0.01"
    assert run.data.tags["mlflow.note.content"].split("\n\n")[0] == 'it\'s a; "test" $HOME'
    assert [step for step, _ in project.history(run.info.run_id, "loss")] == [1, 2]
    assert json.loads(Path(f"{run.info.artifact_uri}/settings.json").read_text())["learning_rate"] == 0.01


@pytest.mark.parametrize("wrong", ["learning_rate=-1", pytest.param("epoch=3", marks=thorough)])
def test_mlflow_run_with_a_wrong_setting_leaves_no_run(project: Project, wrong: str) -> None:
    command = ["mlflow", "run", ".", "--env-manager", "local", "-P", "dataset=digits", "-P", wrong]
    code, _, errors = finish(project.start(*command))
    assert code != 0
    assert sum(line.startswith("train: ") for line in errors.splitlines()) == 1
    wait_until(lambda: project.runs() == [])


def test_mlflow_refuses_repeated_settings(project: Project) -> None:
    command = ["mlflow", "run", ".", "--env-manager", "local", "-P", "epochs=1", "-P", "epochs=2"]
    code, _, errors = finish(project.start(*command))
    assert code != 0
    assert "Repeated parameter: 'epochs'" in errors
    assert project.runs() == []


LONG = ("epochs=12", "early_stopping_patience=0", "mixed_precision=float32", "model=basic_cnn", "batch_size=8")


def curves_of(project: Project, run_id: str) -> dict[str, list[tuple[int, float]]]:
    return {name: project.history(run_id, name) for name in ("loss", "accuracy", "val_loss", "val_accuracy")}


def test_interrupted_and_resumed_is_as_never_interrupted(project: Project) -> None:
    assert finish(project.train(*LONG))[0] == 0
    (whole,) = project.runs()

    process = project.train(*LONG)
    wait_until(lambda: project.epochs_done() >= 2, process=process)
    os.kill(process.pid, signal.SIGINT)
    code, _, errors = finish(process)
    assert code == 130
    (run,) = [run for run in project.runs() if run.info.run_id != whole.info.run_id]
    run_id = run.info.run_id
    assert run.info.status == "KILLED"
    assert errors.splitlines()[-1] == (
        f"interrupted; go on with: mlflow run . -e train --env-manager local -P resume={run_id}"
    )

    wrong = project.train(f"resume={run_id}", "epochs=3")
    assert finish(wrong)[0] == 2
    assert project.client.get_run(run_id).info.status == "KILLED"

    process = project.train(f"resume={run_id}")
    wait_until(lambda: project.epochs_done() >= 5, process=process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert project.client.get_run(run_id).info.status == "RUNNING"  # nobody could say that it died

    command = ["mlflow", "run", ".", "-e", "train", "--env-manager", "local", "-P", f"resume={run_id}"]
    code, output, errors = finish(project.start(*command))
    assert code == 0, errors
    assert f"run {run_id} was cut off" in errors
    assert output.startswith(f"run {run_id}: ")
    wait_until(
        lambda: {run.info.run_id for run in project.runs()} == {whole.info.run_id, run_id}
    )  # `mlflow run`'s went
    resumed = project.client.get_run(run_id)
    assert resumed.info.status == "FINISHED"
    assert curves_of(project, run_id) == curves_of(project, whole.info.run_id)
    for name in AT_THE_END - {"training_seconds", "training_processor_seconds"}:
        assert resumed.data.metrics[name] == whole.data.metrics[name], name


@thorough
def test_sigterm_to_mlflow_run_as_ctrl_c_does(project: Project) -> None:
    """Ctrl-C in a shell reaches the whole process group; `mlflow run` then sends SIGTERM to its child."""
    flags = [word for value in ("dataset=digits", *LONG) for word in ("-P", value)]
    process = project.start("mlflow", "run", ".", "-e", "train", "--env-manager", "local", *flags)
    wait_until(lambda: project.epochs_done() >= 1, process=process)
    os.killpg(process.pid, signal.SIGINT)
    _, _, errors = finish(process)
    wait_until(lambda: project.runs()[0].info.status == "KILLED")
    (run,) = project.runs()
    assert f"-P resume={run.info.run_id}" in errors


@thorough
def test_a_run_interrupted_elsewhere_is_resumed_from_the_store(project: Project) -> None:
    import shutil

    process = project.train(*LONG, "average_epochs=11")  # the average is there, too
    wait_until(lambda: project.epochs_done() >= 2, process=process)
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == 130
    (run,) = project.runs()
    shutil.rmtree(project.folder / "runs")  # another machine has no such folder
    code, _, errors = finish(project.train(f"resume={run.info.run_id}"))
    assert code == 0, errors
    assert [step for step, _ in project.history(run.info.run_id, "val_loss")] == list(range(1, 13))


def test_there_may_be_nothing_to_resume(project: Project) -> None:
    assert finish(project.train("epochs=1"))[0] == 0
    (run,) = project.runs()
    for run_id, said in ((run.info.run_id, "is finished"), ("0" * 32, "no such run")):
        code, _, errors = finish(project.train(f"resume={run_id}"))
        assert code == 2
        assert said in errors
    assert len(project.runs()) == 1


@pytest.mark.parametrize("wrapped", [False, pytest.param(True, marks=thorough)], ids=["alone", "mlflow run"])
def test_a_project_folder_may_have_an_odd_name(project: Project, wrapped: bool) -> None:
    odd = Project(project.folder.rename(project.folder.with_name("my clone; é")))
    (odd.folder / "mlflow.db").unlink()  # it names the old folder
    command = ["mlflow", "run", ".", "--env-manager", "local", "-P", "dataset=digits", "-P", "epochs=1"]
    code, _, errors = finish(odd.start(*command) if wrapped else odd.train("epochs=1"))
    assert code == 0, errors
    (run,) = odd.runs()
    assert run.info.status == "FINISHED"
    assert odd.artifacts(run.info.run_id) >= {"curves.csv", "checkpoints/best.keras"}
    assert [path.name for path in odd.folder.parent.iterdir()] == [odd.folder.name]
    assert "%" not in " ".join(path.name for path in odd.folder.iterdir())


@thorough
def test_mlflow_run_from_another_folder_keeps_its_runs_there(project: Project, tmp_path: Path) -> None:
    elsewhere = Project(tmp_path / "else where")
    elsewhere.folder.mkdir()
    (project.folder / "mlflow.db").unlink()
    command = ["mlflow", "run", str(project.folder), "--env-manager", "local", "-P", "dataset=digits", "-P", "epochs=1"]
    code, _, errors = finish(elsewhere.start(*command))
    assert code == 0, errors
    assert [run.info.status for run in elsewhere.runs()] == ["FINISHED"]
    assert not (project.folder / "mlflow.db").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"else where", project.folder.name}


@thorough
def test_four_first_runs_at_once(project: Project) -> None:
    (project.folder / "mlflow.db").unlink()
    command = [
        "mlflow",
        "run",
        ".",
        "--env-manager",
        "local",
        "-P",
        "dataset=digits",
        "-P",
        "model=basic_ann",
        "-P",
        "epochs=1",
    ]
    processes = [project.start(*command) for _ in range(4)]
    for process in processes:
        code, _, errors = finish(process)
        assert code == 0, errors
    assert [run.info.status for run in project.runs()] == ["FINISHED"] * 4


def test_a_diverged_run_says_so(project: Project) -> None:
    """The network is made to give NaN: one that diverges by its settings alone would not do so for ever."""
    project.forks = False
    network = project.folder / "src" / "imagelab" / "models" / "basic_ann.py"
    network.write_text(network.read_text().replace("layers.Flatten()", "layers.Flatten(), layers.Rescaling(1e38)"))
    code, output, errors = finish(project.train("learning_rate=10", "epochs=3"))
    assert (code, output) == (1, "")
    (run,) = project.runs()
    assert run.info.status == "FAILED"
    assert "NaN" in run.data.tags["failure"]
    assert errors.splitlines()[-1].startswith("train: the loss became NaN or infinite in epoch 1; try a learning_rate")


def test_a_server_that_is_down_at_the_start_is_said_at_once(project: Project) -> None:
    code, _, errors = finish(project.train(MLFLOW_TRACKING_URI="http://127.0.0.1:9"), 250)  # less than upload_patience
    assert code == 1
    assert len(errors.splitlines()) == 1
    assert "http://127.0.0.1:9 does not answer" in errors
    assert not (project.folder / "runs").exists()


def test_a_server_that_dies_and_comes_back_gets_everything(project: Project, server: Server) -> None:
    import mlflow

    process = project.train(*LONG, MLFLOW_TRACKING_URI=server.uri)
    wait_until(lambda: project.epochs_done() >= 2, process=process)
    server.kill()
    wait_until(lambda: project.epochs_done() >= 6, process=process)  # training goes on without it
    server.start()
    code, output, errors = finish(process)
    assert code == 0, errors
    client = mlflow.MlflowClient(server.uri)
    (run,) = client.search_runs(["0"])
    assert run.info.status == "FINISHED"
    assert f"{server.uri}/#/experiments/0/runs/{run.info.run_id}" in output
    points = client.get_metric_history(run.info.run_id, "val_loss")
    assert sorted(point.step for point in points) == list(range(1, 13))
    assert set(run.data.metrics) >= AT_THE_END
    assert len(run.outputs.model_outputs) == 1


@thorough
def test_a_server_that_never_comes_back_leaves_a_record_to_upload(project: Project, server: Server) -> None:
    import mlflow

    process = project.train(*LONG, "upload_patience=1", MLFLOW_TRACKING_URI=server.uri)
    wait_until(lambda: project.epochs_done() >= 2, process=process)
    server.kill()
    code, _, errors = finish(process)
    assert code == 1
    last = errors.splitlines()[-1]
    assert "is kept in" in last
    command = last.split("upload it with: ")[1].split()
    server.start()
    code, output, errors = finish(project.start(*command, MLFLOW_TRACKING_URI=server.uri))
    assert code == 0, errors
    client = mlflow.MlflowClient(server.uri)
    wait_until(lambda: len(client.search_runs(["0"])) == 1)
    (run,) = client.search_runs(["0"])
    assert run.info.status == "FINISHED"
    assert run.info.run_id in command[-1]
    assert set(run.data.metrics) >= AT_THE_END
    points = client.get_metric_history(run.info.run_id, "val_loss")
    assert sorted(point.step for point in points) == list(range(1, 13))
    assert not list((project.folder / "runs").iterdir())


@thorough
def test_mlflow_run_in_an_environment_made_by_uv(project: Project) -> None:
    """`--env-manager uv` reads conda.yaml and installs its pins; imagelab itself is found beside MLproject.

    A shell stands between `mlflow run` and our command, and dies of the interruption before it.
    """

    def start(*settings: str) -> "subprocess.Popen[str]":
        flags = [word for setting in settings for word in ("-P", setting)]
        command = ["mlflow", "run", ".", "-e", "train", "--env-manager", "uv", *flags]
        return project.start(*command, PYTHONPATH="", MLFLOW_ENV_ROOT=str(project.folder / "envs"))

    process = start("dataset=digits", "model=basic_ann", "epochs=20", "early_stopping_patience=0", "batch_size=8")
    wait_until(lambda: project.epochs_done() >= 1, process=process)
    os.killpg(process.pid, signal.SIGINT)
    _, _, errors = finish(process)
    wait_until(lambda: project.runs()[0].info.status == "KILLED")
    (run,) = project.runs()
    assert f"-P resume={run.info.run_id}" in errors

    code, output, errors = finish(start(f"resume={run.info.run_id}"))
    assert code == 0, errors
    wait_until(lambda: [run.info.status for run in project.runs()] == ["FINISHED"])
    assert [step for step, _ in project.history(run.info.run_id, "val_loss")] == list(range(1, 21))


def test_main_is_train_with_defaults_and_doctor_tells_what_is_here(project: Project) -> None:
    code, output, errors = finish(project.start("mlflow", "run", ".", "-e", "doctor", "--env-manager", "local"))
    assert code == 0, errors
    for words in (
        "--env-manager local",
        "processor",
        "GPU",
        "memory",
        "data: cifar100",
        "weights",
        "answers",
        "usable",
    ):
        assert words in output
    assert output.rstrip().splitlines()[-1].split("next")[1].strip() == "mlflow run . -e train --env-manager local"
    wait_until(lambda: not project.runs(), 30)  # a look around is no run


def test_real_fashion_mnist_end_to_end(project: Project) -> None:
    """The README's first command on a part of the real data, fetched from wherever this machine can."""
    code, output, errors = finish(
        project.train("dataset=fashion_mnist", "model=basic_cnn", "limit=6000", "epochs=3"), 400
    )
    assert code == 0, errors
    (run,) = project.runs()
    assert run.data.tags["dataset_digest"] == "ece172613115fb18b120bec8f6c02271af90b8b8f0a5af5c51cbd5ceed68e619"
    assert run.data.metrics["test_accuracy"] > 0.75


@thorough
def test_a_run_knows_its_commit_and_what_was_not_committed(project: Project) -> None:
    def git(*words: str) -> str:
        identity = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
        command = ["git", *identity, *words]
        return subprocess.run(command, cwd=project.folder, check=True, capture_output=True, text=True).stdout.strip()

    project.forks = False
    git("init", "-q")
    (project.folder / ".gitignore").write_text("mlflow.db*\n.mlflow.db.lock\nmlruns/\nruns/\n__pycache__/\n")
    git("add", ".")
    git("commit", "-qm", "first")
    assert finish(project.train("epochs=1"))[0] == 0
    (clean,) = project.runs()
    assert clean.data.tags["mlflow.source.git.commit"] == git("rev-parse", "HEAD")
    assert "git_dirty" not in clean.data.tags

    recipes = project.folder / "src" / "imagelab" / "recipes.py"
    recipes.write_text(recipes.read_text().replace('"batch_size": 128', '"batch_size": 64'))
    (project.folder / "new.txt").touch()
    assert finish(project.train("epochs=1"))[0] == 0
    dirty = project.runs()[0]
    assert dirty.data.tags["git_dirty"] == "true"
    diff = Path(f"{dirty.info.artifact_uri}/uncommitted_changes.diff").read_text()
    assert re.search(r'^\+ +"batch_size": 64', diff, re.MULTILINE)
    assert "# untracked: new.txt" in diff


def test_real_cifar100_has_superclasses_and_top_5(project: Project) -> None:
    real_data("cifar100")
    code, _, errors = finish(project.train("dataset=cifar100", "limit=3000", "epochs=2"))
    assert code == 0, errors
    (run,) = project.runs()
    assert {"val_top_5_accuracy", "test_top_5_accuracy"} <= set(run.data.metrics)
    assert run.data.metrics["test_top_5_accuracy"] > 0.08
    assert "evaluation/superclasses.csv" in project.artifacts(run.info.run_id)


def test_the_package_needs_no_install_to_be_opened() -> None:
    root = Path(__file__).resolve().parent.parent
    code = "import entrypoints.train, imagelab, pathlib; print(imagelab.__file__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip().startswith(str(root))
