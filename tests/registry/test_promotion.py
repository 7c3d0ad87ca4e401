"""Who becomes champion, who is refused, and what is left to audit."""

import json
import sqlite3
from pathlib import Path

import pandas as pd
import pytest
import yaml

from imagelab.errors import RegistryError, SettingsError
from imagelab.registry.promotion import promote
from imagelab.settings import PromoteSettings
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
    assert registry.deed().info.status == "FAILED"
    assert registry.deed().data.tags["verdict"] == "refused"


def test_a_promotion_leaves_what_it_takes_to_audit_it(registry: Registry) -> None:
    registry.promote("weak")
    registry.promote("strong")
    run = registry.deed()
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
    predictions = registry.client.download_artifacts(registry.deed().info.run_id, "predictions.parquet")
    assert 0 < len(pd.read_parquet(predictions)) < 144
    with sqlite3.connect(registry.database) as database:
        database.execute(
            "update params set value = '20' where key = 'limit' and run_uuid = ?", (registry.runs["strong"],)
        )
    with pytest.raises(RegistryError, match=r"no image was kept from both: .*'limit': 20.*'seed': 5"):
        registry.promote("strong")


def test_trials_unfinished_and_foreign_runs_are_never_chosen(registry: Registry) -> None:
    fake_run(registry, "strong")  # no model
    fake_run(registry, "strong", tags={"trial_number": "3", "trial_state": "complete"})
    failed = fake_run(registry, "strong", status="FAILED")
    fake_run(registry, "strong", tags={"dataset": "cifar100"})
    model = registry.client.create_logged_model("0", "model", failed)
    registry.client.finalize_logged_model(model.model_id, "READY")
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
    assert registry.deed().info.status == "FAILED"


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
