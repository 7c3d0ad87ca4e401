"""Who becomes champion, who is refused, and what is written down of it."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from imagelab.data.split import SplitSpec
from imagelab.errors import RegistryError, SettingsError
from imagelab.registry.promotion import promote
from imagelab.registry.rollback import roll_back
from imagelab.settings import PromoteSettings, RollbackSettings
from tests.registry.conftest import DAMAGES, HERE, NAME, Registry, fake_run


def test_the_best_run_is_promoted_once_and_a_worse_one_is_refused(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    said = registry.promote("weak")
    assert f"{NAME} version 1 is champion" in said
    assert registry.aliases == {"champion": 1}

    said = registry.promote("strong")
    assert f"{NAME} version 2 is champion" in said
    assert said.endswith("serve it: mlflow run . -e serve --env-manager local -P dataset=digits -P model=basic_ann")
    assert registry.aliases == {"champion": 2, "previous": 1}
    table = capsys.readouterr().out
    for words in ("challenger", "champion", "accuracy", "log loss", "latency", "size", "McNemar"):
        assert words in table

    assert "the champion already; nothing changed" in registry.promote()
    assert registry.aliases == {"champion": 2, "previous": 1}
    with pytest.raises(RegistryError, match="version 1 stays challenger: accuracy is -.*min_improvement=0"):
        registry.promote("weak")
    assert registry.aliases == {"champion": 2, "previous": 1, "challenger": 1}
    assert [int(version.version) for version in registry.versions] == [1, 2]
    assert registry.operation().info.status == "FAILED"
    assert registry.operation().data.tags["verdict"] == "refused"


def test_a_promotion_writes_down_what_it_takes_to_check_it(registry: Registry) -> None:
    registry.promote("weak")
    registry.promote("strong")
    run = registry.operation()
    assert run.info.status == "FINISHED"
    tags = run.data.tags
    digest = registry.client.get_run(registry.runs["strong"]).data.tags["dataset_digest"]
    said = {"verdict": "promoted", "champion": "1", "challenger": "2", "dataset_digest": digest}
    assert said.items() <= tags.items()
    path = registry.client.download_artifacts(run.info.run_id, "comparison.json")
    content = json.loads(Path(path).read_text())
    assert content["runs"] == {"2": registry.runs["strong"], "1": registry.runs["weak"]}
    assert content["bounds"]["min_improvement"] == 0
    predictions = pd.read_parquet(registry.client.download_artifacts(run.info.run_id, "predictions.parquet"))
    accuracy = (predictions.challenger_predicted == predictions.label).mean()
    assert accuracy == content["scores"]["challenger"]["accuracy"] == run.data.metrics["challenger_accuracy"]
    trained = registry.client.get_run(registry.runs["strong"]).data.metrics["best_val_accuracy"]
    assert accuracy == pytest.approx(trained)  # the very split that chose the run's best epoch
    version = registry.client.get_model_version(NAME, "2").tags
    assert version["verdict"] == "promoted"
    assert version["promotion_run"] == run.info.run_id
    assert digest in version["compared_on"]
    assert (version["accuracy"], version["champion_accuracy"]) == tuple(
        f"{run.data.metrics[f'{role}_accuracy']:.2%}" for role in ("challenger", "champion")
    )


def test_runs_of_another_split_are_compared_on_what_neither_has_learned_from(registry: Registry) -> None:
    registry.promote("weak")
    registry.promote("other")
    predictions = registry.client.download_artifacts(registry.operation().info.run_id, "predictions.parquet")
    assert 0 < len(pd.read_parquet(predictions)) < 144
    split = registry.artifacts / "0" / registry.runs["strong"] / "artifacts" / "split.json"
    split.write_text(SplitSpec(0, 0.1, limit=20).to_json())
    with pytest.raises(RegistryError, match=r"no image was kept from both: .*split_seed=0.*limit=20.*split_seed=5"):
        registry.promote("strong")
    split.unlink()
    (split.parent / "settings.json").unlink()
    with pytest.raises(RegistryError, match="does not say how its images were split"):
        registry.promote("strong")


def test_runs_of_before_are_found_beside_new_ones_and_keep_their_split(registry: Registry) -> None:
    """Their seed is the seed of their split: what chose the best epoch is what the gate looks at."""
    for note in ("other", "strong"):
        registry.make_as_before(note)
    registry.promote("other")
    accuracy = registry.client.get_run(registry.runs["other"]).data.metrics["best_val_accuracy"]
    assert registry.operation().data.metrics["challenger_accuracy"] == pytest.approx(accuracy)
    registry.promote(min_improvement=-1, significance=0)
    assert registry.versions[-1].run_id == registry.runs["strong"]


def test_of_new_runs_and_runs_of_before_the_best_is_promoted(registry: Registry) -> None:
    registry.make_as_before("weak")
    registry.promote()
    assert registry.versions[0].run_id == registry.runs["strong"]


def test_only_final_runs_are_candidates(registry: Registry) -> None:
    """Better ones of any other kind are passed over and, when they are named, refused with what they are."""
    for tags, says in (
        ({"role": "fold"}, "is a fold of a cross-validation"),
        ({"role": "trial"}, "is a trial of a study, which keeps no model; train its settings"),
        ({"trial_number": "3"}, "is a trial of a study"),
        ({"role": "parent"}, "is the parent of other runs"),
        ({"phase": "study"}, "is the parent of other runs"),
        ({"role": "evaluation"}, r"is a run of another kind \(evaluation\)"),
        ({"phase": "promotion"}, r"is a run of another kind \(promotion\)"),
    ):
        run_id = fake_run(registry, "strong", tags=tags)
        registry.add_model(run_id)
        with pytest.raises(SettingsError, match=f"run_id={run_id}: {says}"):
            promote(PromoteSettings(**HERE, run_id=run_id))
    registry.promote()
    assert registry.versions[0].run_id == registry.runs["strong"]


def test_a_run_with_a_limit_is_promoted_only_if_it_is_named(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = json.dumps({"limit": 1000})
    few = fake_run(registry, "strong", tags={"role": "final", "settings": settings})
    fewer = fake_run(registry, "strong", accuracy=0.999, tags={"role": "final", "settings": settings})
    for run_id in (few, fewer):
        registry.add_model(run_id)
    registry.promote()
    assert registry.versions[0].run_id == registry.runs["strong"]
    said = capsys.readouterr().err
    assert f"run {few} (100.00%) and 1 more have a limit of training images, so they are passed over" in said
    assert f"-P run_id={few} promotes it all the same" in said
    with pytest.raises(RegistryError, match="its files are missing"):  # it is taken, but has none
        promote(PromoteSettings(**HERE, run_id=few))


def test_what_there_is_is_listed_where_there_is_nothing_to_promote_or_roll_back(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    few = fake_run(registry, "strong", tags={"role": "final", "settings": '{"limit": 90}', "dataset": "cifar100"})
    registry.add_model(few)
    accuracy = registry.client.get_run(registry.runs["strong"]).data.metrics["best_val_accuracy"]
    trained = (
        "trained models that can be promoted:",
        "  basic_ann on cifar100, validation accuracy 100.00% (of 90 training images only):  mlflow run . -e promote "
        f"--env-manager local -P dataset=cifar100 -P model=basic_ann -P run_id={few}",
        f"  basic_ann on digits, validation accuracy {accuracy:.2%}:  mlflow run . -e promote --env-manager local "
        "-P dataset=digits -P model=basic_ann",
    )
    with pytest.raises(SettingsError):
        promote(PromoteSettings(dataset="digits", model="basic_cnn"))
    assert capsys.readouterr().err.splitlines() == [*trained]
    with pytest.raises(SettingsError):
        registry.roll_back()
    assert capsys.readouterr().err.splitlines() == ["no model has been registered yet", *trained]
    registry.promote("weak")
    capsys.readouterr()
    command = "mlflow run . -e rollback --env-manager local -P dataset=digits -P model=basic_ann"
    for version, what in ((1, "no previous champion to go back to"), (2, command)):
        with pytest.raises(SettingsError):
            roll_back(RollbackSettings(dataset="digits", model="basic_cnn"))
        accuracy = registry.versions[version - 1].tags["accuracy"]
        champion = f"  {NAME}, champion is version {version}, validation accuracy {accuracy}:  {what}"
        assert capsys.readouterr().err.splitlines() == ["registered models:", champion, *trained]
        registry.promote("strong")
        capsys.readouterr()


def test_trials_unfinished_and_foreign_runs_are_never_chosen(registry: Registry) -> None:
    fake_run(registry, "strong")  # no model
    fake_run(registry, "strong", tags={"trial_number": "3", "trial_state": "complete"})
    failed = fake_run(registry, "strong", status="FAILED")
    fake_run(registry, "strong", tags={"dataset": "cifar100"})
    registry.add_model(failed)
    elsewhere = registry.client.create_experiment("elsewhere", str(registry.artifacts / "elsewhere"))
    begun = registry.client.create_run(elsewhere, tags={"dataset": "digits", "model": "basic_ann"}).info.run_id
    registry.client.log_metric(begun, "best_val_accuracy", 1.0)
    registry.client.set_terminated(begun)
    registry.client.create_logged_model(elsewhere, "model", begun)  # never completed
    registry.promote()
    assert registry.versions[0].run_id == registry.runs["strong"]


@pytest.mark.parametrize(
    ("bounds", "says"),
    [
        ({"min_accuracy": 0.999}, "below min_accuracy=0.999"),
        ({"max_latency_ms": 1e-6}, "more than max_latency_ms=1e-06"),
        ({"max_size_mb": 0.001}, "MB are more than max_size_mb=0.001"),
    ],
)
def test_bounds_hold_for_the_first_champion_too(registry: Registry, bounds: dict[str, float], says: str) -> None:
    with pytest.raises(RegistryError, match=f"version 1 stays challenger: .*{says}"):
        registry.promote("weak", **bounds)
    assert registry.aliases == {"challenger": 1}


def test_a_worse_model_may_be_allowed_unless_it_is_significantly_worse(registry: Registry) -> None:
    registry.promote("strong")
    with pytest.raises(RegistryError, match="significantly worse.*McNemar"):
        registry.promote("weak", min_improvement=-1)
    registry.promote("weak", min_improvement=-1, significance=0)
    assert registry.aliases == {"champion": 2, "previous": 1}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files_are_refused_before_an_alias_moves(registry: Registry, damage: str) -> None:
    registry.promote("weak")
    DAMAGES[damage](registry.network("strong"))
    with pytest.raises(RegistryError) as error:
        registry.promote("strong")
    assert "\n" not in str(error.value)
    assert registry.aliases == {"champion": 1}
    assert registry.operation().info.status == "FAILED"


def test_another_digest_is_refused(registry: Registry) -> None:
    registry.promote("weak")
    registry.client.set_tag(registry.runs["strong"], "dataset_digest", "0" * 64)
    with pytest.raises(RegistryError, match="with digest 0000.*would not be comparable"):
        registry.promote("strong")
    assert registry.aliases["champion"] == 1


def test_what_cannot_be_promoted_leaves_no_run(registry: Registry) -> None:
    trial = fake_run(registry, "strong")
    failed = fake_run(registry, "strong", status="FAILED")
    runs = len(registry.client.search_runs(["0"]))
    for settings, says in (
        ({"run_id": "0" * 32}, "the tracking store has no such run"),
        ({"run_id": trial}, "has no model"),
        ({"run_id": failed}, "is FAILED; only a finished run"),
        ({"run_id": registry.runs["weak"], "dataset": "cifar100"}, "-P dataset=digits -P model=basic_ann"),
        ({"model": "basic_cnn"}, "no finished run of basic_cnn on digits has a model; train one: mlflow run"),
    ):
        with pytest.raises(SettingsError, match=says):
            promote(PromoteSettings(**{**HERE, **settings}))
    for settings in ({}, {"to_version": 1}, {"history": True}):
        with pytest.raises(SettingsError):
            registry.roll_back(**settings)
    assert len(registry.client.search_runs(["0"])) == runs
    assert registry.client.search_registered_models() == []


def test_a_model_that_cannot_be_served_is_refused(registry: Registry) -> None:
    """One that answers with bare probabilities, as `mlflow.keras.log_model` would have made it."""
    description = registry.network("weak").parents[1] / "MLmodel"
    content = yaml.safe_load(description.read_text())
    content["flavors"]["python_function"] = {"loader_module": "mlflow.keras", "python_version": "3.11"}
    description.write_text(yaml.safe_dump(content))
    with pytest.raises(RegistryError, match="answers with no labels.*train it again"):
        registry.promote("weak")
    assert "champion" not in registry.aliases
