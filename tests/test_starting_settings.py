"""`like=RUN_ID` and `settings=FILE`: what is taken over, what wins, what is refused; under a real `mlflow run`."""

import json
from pathlib import Path
from typing import Any

import pytest

from imagelab.errors import SettingsError
from imagelab.recipes import OFF
from imagelab.settings import FindLrSettings, TrainSettings, TuneSettings, parse
from imagelab.tracking.starting_settings import over_what_is_named
from tests.conftest import Project, finish, thorough
from tests.test_train_command import curves_of

OF_RUN = {"dataset": "digits", "model": "basic_ann", "epochs": 7, "learning_rate": 0.02, "seed": 4, "split_seed": 2}
NOWHERE = "0" * 32


def made_run(client: Any, settings: dict[str, Any] | None = None, role: str = "final") -> str:
    tags = {"role": role} | ({} if settings == {} else {"settings": json.dumps(settings or OF_RUN)})
    return str(client.create_run("0", tags=tags).info.run_id)


def techniques_off() -> dict[str, Any]:
    """What of_record says of a run that is older than these settings."""
    return {name: value for name, value in OFF.items() if value is not None} | {"monitor": "val_loss"}


def started(*settings: str, kind: Any = TrainSettings) -> Any:
    return over_what_is_named(parse(kind, "train", [f"--{setting}" for setting in settings]))


@pytest.mark.parametrize("role", ["final", "trial"])
def test_a_run_gives_what_is_not_typed(client: Any, role: str) -> None:
    run_id = made_run(client, role=role)
    found = started(f"like={run_id}", "epochs=3", "note=mine")
    assert (found.learning_rate, found.seed, found.split_seed) == (0.02, 4, 2)
    assert (found.epochs, found.dataset, found.like) == (3, "digits", run_id)
    assert found.given() == {**techniques_off(), **OF_RUN, "epochs": 3, "note": "mine"}
    assert "like" not in json.loads(found.with_recipe().as_tag())


def test_what_the_other_network_or_command_does_not_have_is_left_out(client: Any) -> None:
    backbone = {"model": "vgg16", "dataset": "digits", "weights": "none", "image_size": 32, "learning_rate": 0.1}
    run_id = made_run(client, {**backbone, "seed": 1, "split_seed": 0, "limit": None, "epochs": 2})
    found = started(f"like={run_id}", "model=basic_ann", "seeds=0,3")
    own = {"dataset": "digits", "model": "basic_ann", "learning_rate": 0.1, "seeds": "0,3", "epochs": 2}
    assert found.given() == {**techniques_off(), **own}
    assert started(f"like={run_id}").image_size == 32
    assert started(f"like={run_id}", kind=TuneSettings).of_training().learning_rate is None
    tuned = started(f"like={run_id}", "search=epochs=1|2", kind=TuneSettings)
    assert (tuned.learning_rate, tuned.epochs) == (0.1, None)
    search = started(f"like={run_id}", kind=FindLrSettings)
    assert (search.learning_rate, search.epochs, search.image_size) == (None, None, 32)


def test_a_file_gives_what_is_not_typed(client: Any, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("dataset: digits\nlearning_rate: 1e-2\nepochs: 4\nseeds: 0,2\nlimit: null\naugmentation: none\n")
    found = started(f"settings={path}", "epochs=5")
    assert (found.dataset, found.learning_rate, found.epochs) == ("digits", 0.01, 5)
    assert found.seed_list == [0, 2]
    assert started(f"settings={path}", "seed=7").seeds is None
    assert started(f"settings={path}", "dataset=fashion_mnist").dataset == "fashion_mnist"  # typed, as no `mlflow run`


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("epoch: 3", "epoch: there is no setting named 'epoch'; did you mean epochs?"),
        ("epochs: many", "epochs=many: input should be a valid integer"),
        ("epochs: [1, 2]", "epochs: must be one value"),
        ("epochs", "must hold one or more lines"),
        ("epochs: 'x", "is no YAML"),
        (f"like: {NOWHERE}", f"like={NOWHERE} and settings="),
        (f"resume: {NOWHERE}", f"does not go with resume={NOWHERE}"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_name(client: Any, tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content)
    with pytest.raises(SettingsError) as error:
        started(f"settings={path}")
    assert str(error.value).startswith(f"settings={path}: ")
    assert said in str(error.value)


def test_runs_that_are_no_training_are_refused(client: Any, tmp_path: Path) -> None:
    for run_id, said in (
        (NOWHERE, "the tracking store has no such run"),
        (made_run(client, role="evaluation"), "that run is no training, but of the role evaluation"),
        (made_run(client, {}), "that run has no settings of a training"),
    ):
        with pytest.raises(SettingsError, match=said) as error:
            started(f"like={run_id}")
        assert str(error.value).startswith(f"like={run_id}: ")
    with pytest.raises(SettingsError, match="cannot be read"):
        started(f"settings={tmp_path / 'none.yaml'}")


def test_both_together_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"like=0+ and settings=.*x.yaml: give one of them"):
        parse(TrainSettings, "train", [f"--like={NOWHERE}", "--settings=x.yaml"])
    with pytest.raises(SettingsError, match=r"like=0+: does not go with resume=1+"):
        parse(TrainSettings, "train", [f"--like={NOWHERE}", f"--resume={'1' * 32}"])


@thorough
def test_mlflow_run_trains_like_a_run_of_another_data_set(project: Project) -> None:
    """MLproject's defaults of dataset and model count as not given; the run says what was really trained."""
    code, _, errors = finish(project.train("epochs=2", "learning_rate=0.02", "mixed_precision=float32", "seed=3"))
    assert code == 0, errors
    (first,) = project.runs()
    words = ("mlflow", "run", ".", "-e", "train", "--env-manager", "local", "--run-name", "again")
    code, _, errors = finish(project.start(*words, "-P", f"like={first.info.run_id}"))
    assert code == 0, errors
    again = next(run for run in project.runs() if run.info.run_name == "again")
    assert again.info.status == "FINISHED"
    assert again.data.params["like"] == first.info.run_id
    assert {**again.data.params, "like": "None"} == first.data.params
    assert again.data.tags["settings"] == first.data.tags["settings"]
    assert curves_of(project, again.info.run_id) == curves_of(project, first.info.run_id)

    code, output, errors = finish(project.train(f"like={NOWHERE}"))
    assert (code, output) == (2, "")
    assert f"like={NOWHERE}: the tracking store has no such run" in errors
