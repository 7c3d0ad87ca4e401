"""`-e tune`, as it is typed: whole sessions, killed and resumed ones, several at once, wrong ones."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
import requests
import sqlalchemy
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import OperationalError, ProgrammingError

from imagelab.tracking import database_path
from tests.conftest import Project, Server, answers, finish, free_port, start, thorough, wait_until
from tests.postgresql import PostgreSQL

LONG_TRIALS = ("epochs=40", "early_stopping_patience=0")  # seconds each

FIGURES = (
    "contour",
    "intermediate_values",
    "optimization_history",
    "parallel_coordinate",
    "param_importances",
    "slice",
    "timeline",
)


def counted(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Trials without those that a newer one stands for."""
    trials = study.get_trials()
    replaced = {trial.user_attrs.get("retry_of") for trial in trials}
    return [trial for trial in trials if trial.number not in replaced and not trial.user_attrs.get("void")]


def assert_whole(client: Any, study: optuna.Study, n_trials: int) -> None:
    """Exactly so many trials, none left open, one run for each, ended as the trial has ended."""
    trials = counted(study)
    assert len(trials) == n_trials
    assert all(trial.state.is_finished() for trial in study.get_trials())
    parent = study.user_attrs["run_id"]
    runs = client.search_runs(["0"], f"tags.`mlflow.parentRunId` = '{parent}'", max_results=1000)
    by_number = {run.data.tags["trial_number"]: run for run in runs if run.data.tags["trial_state"] != "abandoned"}
    assert len(by_number) >= n_trials
    ended = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}
    for trial in trials:
        assert by_number[str(trial.number)].info.status == ended[trial.state.name]
    assert not client.search_runs(["0"], "attributes.status = 'RUNNING'")


def trial_runs(project: Project) -> list[Any]:
    return [run for run in project.runs() if "trial_number" in run.data.tags]


def trials_begun(project: Project, *states: str, storage: str | None = None) -> int:
    """How many trials are in one of these states; none where the study is not made yet."""
    if not has_studies(storage or f"sqlite:///{project.folder / 'optuna.db'}"):
        return 0
    try:
        return sum(trial.state.name in states for trial in project.study(storage=storage).get_trials())
    except (KeyError, StorageInternalError, OperationalError):
        return 0


def has_studies(storage: str) -> bool:
    """Optuna, asked too early, would make the tables itself, at the same time as the session does."""
    path = database_path(storage)
    if path and not path.exists():
        return False
    engine = sqlalchemy.create_engine(storage, poolclass=sqlalchemy.NullPool)
    try:
        with engine.connect() as connection:
            return bool(connection.execute(sqlalchemy.text("select count(*) from trials")).scalar())
    except (OperationalError, ProgrammingError):
        return False


def test_a_session_leaves_a_study_its_run_a_run_for_each_trial_and_the_best_trained_in_full(project: Project) -> None:
    settings = ("dataset=digits", "model=basic_ann", "epochs=4", "n_trials=7", "pruner=median")
    search = "search=learning_rate=log:1e-5:1e-2, dropout_rate=0:0.6"
    flags = [word for setting in (*settings, search) for word in ("-P", setting)]
    command = ["mlflow", "run", ".", "-e", "tune", "--env-manager", "local", *flags]
    code, output, errors = finish(project.start(*command))
    assert code == 0, errors
    study = project.study()
    assert_whole(project.client, study, 7)
    parent = project.client.get_run(study.user_attrs["run_id"])
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["study"] == "digits-basic_ann"
    assert project.artifacts(parent.info.run_id, "figures") == {
        f"figures/{name}.{ending}" for name in FIGURES for ending in ("html", "png")
    }
    assert {"trials.csv", "best_settings.txt"} <= project.artifacts(parent.info.run_id)
    curve = project.history(parent.info.run_id, "best_val_accuracy")
    assert [value for _, value in curve] == sorted(value for _, value in curve)
    assert curve[-1][1] == study.best_value

    first = study.get_trials()[0]
    assert first.user_attrs["recipe"]
    assert first.params["learning_rate"] == 0.001
    recipe = project.client.get_run(first.user_attrs["run_id"])
    assert recipe.data.params["dropout_rate"] == "None"  # its own rates, not the rate that stands for them
    assert len(project.history(recipe.info.run_id, "val_accuracy")) == 4

    [refit] = [run for run in project.runs() if "refit_of_trial" in run.data.tags]
    assert refit.info.status == "FINISHED"
    assert refit.data.tags["refit_of_trial"] == str(study.best_trial.number)
    assert refit.data.metrics["best_val_accuracy"] == pytest.approx(study.best_value)  # the very training of the trial
    assert not any("test_accuracy" in run.data.metrics for run in trial_runs(project))
    models = project.client.search_logged_models(["0"])
    assert [model.source_run_id for model in models] == [refit.info.run_id]
    assert "train with it: mlflow run . -e train" in output
    assert not list((project.folder / "runs").glob("*/outbox.jsonl"))

    code, output, errors = finish(project.tune(*settings, search, "n_trials=8", "refit=true"))
    assert code == 0, errors
    assert_whole(project.client, project.study(), 8)
    assert project.study().user_attrs["run_id"] == parent.info.run_id
    assert sum("mlflow.parentRunId" not in run.data.tags for run in project.runs()) <= 3  # the study's, and refits


@thorough
def test_a_study_that_was_interrupted_proposes_what_it_would_have_proposed(project: Project, tmp_path: Path) -> None:
    code, _, errors = finish(project.tune("n_trials=4", "study=whole", "pruner=none"))
    assert code == 0, errors
    for total in ("2", "4"):
        code, _, errors = finish(project.tune(f"n_trials={total}", "study=parts", "pruner=none"))
        assert code == 0, errors
    whole, parts = (counted(project.study(name)) for name in ("whole", "parts"))
    assert [trial.params for trial in whole] == [trial.params for trial in parts]
    assert [trial.values for trial in whole] == [trial.values for trial in parts]


@thorough
def test_killed_workers_and_parents_lose_and_repeat_nothing(project: Project) -> None:
    settings = ("n_trials=8", "workers=2", "pruner=none", *LONG_TRIALS)
    session = project.tune(*settings)
    os.kill(process_in_a_trial(project, session), signal.SIGKILL)
    wait_until(lambda: trials_begun(project, "COMPLETE") >= 3, process=session)
    session.kill()
    session.communicate()
    wait_until(lambda: not workers_of(project))
    assert trials_begun(project, "COMPLETE") < 8
    code, output, errors = finish(project.tune(*settings))
    assert code == 0, errors
    study = project.study()
    assert_whole(project.client, study, 8)
    assert Counter(trial.state.name for trial in counted(study)) == {"COMPLETE": 8}
    killed = [run for run in trial_runs(project) if run.data.tags.get("failure") == "its process ended"]
    assert killed
    assert "8 complete" in output


def process_in_a_trial(project: Project, session: "subprocess.Popen[str]") -> int:
    """The worker of a trial that has just begun to train, after another has ended; it has seconds to go."""
    wait_until(lambda: trials_begun(project, "COMPLETE"), process=session)
    seen: set[int] = set()
    while session.poll() is None:
        running = project.study().get_trials(states=[optuna.trial.TrialState.RUNNING])
        training = {trial.number: trial for trial in running if "run_id" in trial.user_attrs}
        for number in set(training) - seen if seen else ():
            return int(training[number].user_attrs["process"]["pid"])
        seen |= set(training)
    raise AssertionError(session.communicate())


def workers_of(project: Project) -> list[psutil.Process]:
    """The processes in the project's folder, once the session there has ended."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cwd() == str(project.folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


@thorough
def test_killed_when_every_trial_that_is_left_is_under_way(project: Project) -> None:
    settings = ("n_trials=3", "workers=2", "pruner=none", "epochs=60", "early_stopping_patience=0")
    session = project.tune(*settings)
    wait_until(lambda: trials_begun(project, "COMPLETE", "RUNNING") == 3, process=session)
    session.kill()
    session.communicate()
    wait_until(lambda: not workers_of(project))
    code, output, errors = finish(project.tune(*settings))
    assert code == 0, errors
    assert "3 trials (3 complete)" in output
    assert_whole(project.client, project.study(), 3)


@thorough
def test_a_grid_survives_a_killed_worker(project: Project) -> None:
    settings = (
        "n_trials=50",
        "workers=2",
        "sampler=grid",
        "search=batch_size=32|64,dropout_rate=0:0.2:0.2",
        *LONG_TRIALS,
    )
    session = project.tune(*settings, "pruner=none")
    os.kill(process_in_a_trial(project, session), signal.SIGKILL)
    code, _, errors = finish(session)
    assert code == 0, errors
    assert_whole(project.client, project.study(), 5)
    trials = [trial for trial in counted(project.study()) if not trial.user_attrs.get("recipe")]
    points = {(trial.params["batch_size"], round(trial.params["dropout_rate"], 6)) for trial in trials}
    assert points == {(size, rate) for size in (32, 64) for rate in (0.0, 0.2)}


@thorough
def test_the_best_is_trained_once_though_it_was_not_wanted_at_first_and_was_killed(project: Project) -> None:
    settings = ("n_trials=2", "epochs=20", "early_stopping_patience=0", "model=basic_cnn", "study=s")
    code, _, errors = finish(project.tune(*settings))
    assert code == 0, errors
    assert not [run for run in project.runs() if "refit_of_trial" in run.data.tags]
    session = project.tune(*settings, "refit=true")
    wait_until(lambda: project.epochs_done() >= 3, process=session)
    session.kill()
    session.communicate()
    for _ in range(2):
        code, _, errors = finish(project.tune(*settings, "refit=true"))
        assert code == 0, errors
        [refit] = [run for run in project.runs() if "refit_of_trial" in run.data.tags]
        assert refit.info.status == "FINISHED"
    assert len(project.history(refit.info.run_id, "val_accuracy")) == 20
    assert_whole(project.client, project.study("s"), 2)


@thorough
def test_ctrl_c_closes_trials_and_the_same_command_goes_on(project: Project) -> None:
    settings = ("n_trials=4", "pruner=none", *LONG_TRIALS)
    session = project.tune(*settings)
    process_in_a_trial(project, session)
    os.killpg(session.pid, signal.SIGINT)
    code, _, errors = finish(session)
    assert code == 130, errors
    assert "the same command goes on" in errors
    assert not project.client.search_runs(["0"], "attributes.status = 'RUNNING'")
    states = {run.data.tags["trial_state"] for run in trial_runs(project)}
    assert "interrupted" in states
    parent = project.study().user_attrs["run_id"]
    assert project.client.get_run(parent).data.tags["interrupted_by"] == "SIGINT"
    code, _, errors = finish(project.tune(*settings))
    assert code == 0, errors
    assert "interrupted_by" not in project.client.get_run(parent).data.tags
    assert_whole(project.client, project.study(), 4)
    assert Counter(trial.state.name for trial in counted(project.study())) == {"COMPLETE": 4}


@thorough
def test_two_parents_at_once_work_on_one_study(project: Project) -> None:
    sessions = [project.tune("n_trials=8", "pruner=none") for _ in range(2)]
    for session in sessions:
        code, output, errors = finish(session)
        assert code == 0, errors
        assert "8 trials (8 complete)" in output
    assert_whole(project.client, project.study(), 8)
    owners = {trial.user_attrs["process"]["pid"] for trial in project.study().trials}
    assert len(owners) == 2
    assert sum(run.data.tags.get("phase") == "study" for run in project.runs()) == 1


def test_trials_that_fail_are_told_and_counted(project: Project, mobilenet_weights: str) -> None:
    """The layer to fine-tune is looked for in the network: that there is none is known in the trial only."""
    backbone = ("model=mobilenet_v2", f"weights={mobilenet_weights}", "image_size=32", "pooled_stages=1", "head=linear")
    search = "search=fine_tune_at=0.9|nowhere"
    settings = (*backbone, "fine_tune_epochs=1", "epochs=1", "limit=200", search, "sampler=grid", "study=s")
    code, output, errors = finish(project.tune(*settings, "n_trials=9"))
    assert code == 0, errors
    assert_whole(project.client, project.study("s"), 3)
    assert "3 trials (2 complete, 1 failed)" in output
    [failed] = [run for run in trial_runs(project) if run.info.status == "FAILED"]
    assert "no layer of that name" in failed.data.tags["failure"]
    assert "failure.txt" in project.artifacts(failed.info.run_id)
    assert "failed: SettingsError: fine_tune_at=nowhere" in errors


def test_several_objectives_give_a_pareto_front(project: Project) -> None:
    search = "search=dropout_rate=0:0.5, model=basic_ann|basic_cnn"
    code, output, errors = finish(
        project.start(
            *(sys.executable, "-m", "entrypoints.tune", "--dataset=digits", "--epochs=2", "--refit=false"),
            *("--n_trials=5", "--objective=val_accuracy,parameter_count", f"--{search}", "--study=front"),
        )
    )
    assert code == 0, errors
    study = project.study("front")
    assert_whole(project.client, study, 5)
    assert "on the Pareto front" in output
    parent = study.user_attrs["run_id"]
    assert {"figures/pareto_front.html", "figures/pareto_front.png"} <= project.artifacts(parent, "figures")


def test_another_space_or_direction_is_refused_and_the_dashboard_opens_the_study(project: Project) -> None:
    code, _, errors = finish(project.tune("n_trials=1"))
    assert code == 0, errors
    other = optuna.create_study(study_name="foreign", storage=f"sqlite:///{project.folder / 'optuna.db'}")
    other.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    for settings, says in (
        (["search=learning_rate=log:1e-3:1e-2"], "exists with search="),
        (["epochs=3"], "exists with epochs=2, not 3"),
        (["seed=1"], "exists with seed=0, not 1"),
        (["objective=val_loss"], "exists in sqlite:///"),
        (["study=foreign", "objective=val_loss"], "made by another program"),
    ):
        code, output, errors = finish(project.tune("n_trials=2", *settings))
        assert code == 2, errors
        assert says in errors
        assert errors.count("\n") == 1
        assert "-P study=NAME" in errors
        assert output == ""
    assert len(project.study().trials) == 1
    assert len(project.runs()) == 2
    assert_dashboard_opens(project)


def test_mistakes_leave_no_run_and_no_study(project: Project) -> None:
    for expected, setting in (
        (2, "sampler=annealing"),
        (2, "search=learning_rat=1:2"),
        (1, "storage=sqlite:////dev/null/a.db"),
    ):
        code, _, errors = finish(project.tune("n_trials=2", setting))
        assert code == expected, errors
        assert errors.count("\n") == 1
    assert project.runs() == []
    assert not (project.folder / "optuna.db").exists()


def test_a_password_is_not_repeated(project: Project) -> None:
    for storage in (
        "postgres://joe:secret@h/db",
        "postgresql://joe:secret@127.0.0.1:1/db",
        "mysql://h/db?password=secret",
    ):
        code, output, errors = finish(project.tune("n_trials=1", f"storage={storage}"))
        assert code in (1, 2)
        assert "secret" not in output + errors
        assert errors.count("\n") == 1


def test_a_time_limit_ends_a_session_that_can_be_continued(project: Project) -> None:
    """However slow the machine: the first trial is done without a limit, and nobody can do 500."""
    code, output, errors = finish(project.tune("n_trials=1", "pruner=none"))
    assert code == 0, errors
    code, output, errors = finish(project.tune("n_trials=500", "timeout=8", "pruner=none"))
    assert code == 0, errors
    done = len(project.study().trials)
    assert 1 <= done < 500
    code, _, errors = finish(project.tune(f"n_trials={done + 1}", "pruner=none"))
    assert code == 0, errors
    assert_whole(project.client, project.study(), done + 1)


def assert_dashboard_opens(project: Project) -> None:
    port = free_port()
    dashboard = project.start("optuna-dashboard", "sqlite:///optuna.db", "--port", str(port))
    try:
        wait_until(lambda: shows_study(port))
    finally:
        dashboard.kill()
        dashboard.communicate()


def shows_study(port: int) -> bool:
    try:
        studies = requests.get(f"http://127.0.0.1:{port}/api/studies", timeout=60).json()
    except requests.RequestException:
        return False
    return "digits-basic_ann" in str(studies)


@pytest.fixture
def team(tmp_path: Path) -> Any:
    """A tracking server and a study database on one PostgreSQL server, as a team has them."""
    database = PostgreSQL()
    database.start()
    store, studies = database.make("mlflow"), database.make("optuna")
    port = free_port()
    options = ["--backend-store-uri", store, "--port", str(port), "--workers", "2"]
    options += ["--artifacts-destination", str(tmp_path / "served")]
    log = (tmp_path / "server.log").open("w")
    command = [sys.executable, "-m", "mlflow", "server", *options]
    server = start(command, tmp_path, os.environ, stdout=log, stderr=log)
    wait_until(lambda: answers(f"http://127.0.0.1:{port}"))
    yield database, f"http://127.0.0.1:{port}", studies
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()
    database.remove()


@thorough
def test_four_workers_on_two_machines_and_a_database_that_goes_away(
    project: Project, team: tuple[PostgreSQL, str, str], tmp_path: Path
) -> None:
    import shutil

    import mlflow

    database, uri, storage = team
    elsewhere = Project(tmp_path / "elsewhere")
    shutil.copytree(project.folder, elsewhere.folder)
    settings = ("n_trials=24", "workers=2", "pruner=none", "epochs=3", f"storage={storage}", "grace_period=10")
    sessions = [machine.tune(*settings, MLFLOW_TRACKING_URI=uri) for machine in (project, elsewhere)]
    wait_until(lambda: len(owners(project, storage)) == 4, process=sessions[0])
    database.stop()
    time.sleep(20)  # longer than workers are without a sign of life
    database.start()
    for session in sessions:
        code, output, errors = finish(session)
        assert code == 0, errors
        assert "24 trials (24 complete)" in output
    assert_whole(mlflow.MlflowClient(uri), project.study(storage=storage), 24)


def owners(project: Project, storage: str) -> set[int]:
    """The workers that have begun a trial."""
    if not trials_begun(project, "RUNNING", "COMPLETE", storage=storage):
        return set()
    trials = project.study(storage=storage).get_trials()
    return {trial.user_attrs["process"]["pid"] for trial in trials if "process" in trial.user_attrs}


@thorough
def test_a_tracking_server_that_goes_away_costs_nothing(project: Project, server: Server) -> None:
    import mlflow

    session = project.tune("n_trials=6", "pruner=none", "epochs=3", MLFLOW_TRACKING_URI=server.uri)
    wait_until(lambda: trials_begun(project, "COMPLETE") >= 2, process=session)
    server.kill()
    time.sleep(10)  # the outage: a trial ends, or the next one begins, without a server
    server.start()
    code, _, errors = finish(session)
    assert code == 0, errors
    assert_whole(mlflow.MlflowClient(server.uri), project.study(), 6)
