"""Delivery to a real store, through a client that fails as stores do."""

import time
from pathlib import Path
from typing import Any

import mlflow
import PIL.Image
import pytest
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, PERMISSION_DENIED, UNAUTHENTICATED

from imagelab.tracking.delivery import Delivery
from imagelab.tracking.outbox import Outbox
from tests.conftest import LONGEST, Project


class Failing:
    """A client whose log_batch raises these errors, one a call, before it works."""

    def __init__(self, client: Any, *errors: BaseException) -> None:
        self.client, self.errors = client, list(errors)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def log_batch(self, *arguments: Any, **named: Any) -> Any:
        if self.errors:
            raise self.errors.pop(0)
        return self.client.log_batch(*arguments, **named)


def deliver(project: Project, folder: Path, *errors: BaseException, patience: float = 20) -> tuple[bool, Delivery, Any]:
    client = mlflow.MlflowClient(project.uri)
    run_id = client.create_run("0").info.run_id
    outbox = Outbox(folder)
    outbox.append("metrics", values={"loss": 0.5}, step=1, timestamp=1)
    outbox.append("tags", values={"phase": "train"})
    delivery = Delivery(Failing(client, *errors), run_id, folder, outbox)  # type: ignore[arg-type]
    done = delivery.drain(patience, lambda trouble: None)
    return done, delivery, client.get_run(run_id).data


@pytest.mark.parametrize("error", [OSError("no route"), TimeoutError(), MlflowException("the database is locked")])
def test_trouble_that_passes_delays_only(project: Project, tmp_path: Path, error: Exception) -> None:
    done, delivery, data = deliver(project, tmp_path, error)
    assert done
    assert not delivery.refused
    assert (data.metrics["loss"], data.tags["phase"]) == (0.5, "train")


@pytest.mark.parametrize("error", [MlflowException("no", INVALID_PARAMETER_VALUE), TypeError("a mistake of ours")])
def test_what_is_refused_is_said_and_the_rest_goes_on(project: Project, tmp_path: Path, error: Exception) -> None:
    done, delivery, data = deliver(project, tmp_path, error)
    assert done
    assert len(delivery.refused) == 1
    assert "loss" not in data.metrics
    assert data.tags["phase"] == "train"


def test_a_file_that_is_gone_is_not_waited_for(project: Project, tmp_path: Path) -> None:
    client = mlflow.MlflowClient(project.uri)
    run_id = client.create_run("0").info.run_id
    outbox = Outbox(tmp_path)
    outbox.append("artifact", path="figures/curves.png")
    outbox.append("status", status="FAILED", timestamp=1)
    delivery = Delivery(client, run_id, tmp_path, outbox)
    assert delivery.drain(60, pytest.fail)
    assert delivery.refused == [f"artifact: {tmp_path}/figures/curves.png is gone"]
    assert client.get_run(run_id).info.status == "FAILED"


def test_trouble_that_stays_is_not_waited_for_longer_than_asked(project: Project, tmp_path: Path) -> None:
    done, delivery, _ = deliver(project, tmp_path, *[OSError("away")] * 1000, patience=0.5)
    assert not done
    assert delivery.trouble == "away"
    assert len(Outbox(tmp_path).pending()) == 2


DENIALS = [MlflowException("no", UNAUTHENTICATED), MlflowException("no", PERMISSION_DENIED)]


@pytest.mark.parametrize("error", DENIALS)
def test_a_store_that_lets_nobody_in_is_not_waited_for_and_nothing_is_lost(
    project: Project, tmp_path: Path, error: Exception
) -> None:
    began = time.monotonic()
    done, delivery, _ = deliver(project, tmp_path, *[error] * 1000, patience=LONGEST)
    assert not done
    assert time.monotonic() - began < LONGEST / 2
    assert "the tracking server" in (delivery.trouble or "")
    assert len(Outbox(tmp_path).pending()) == 2
    delivery.client.errors.clear()  # type: ignore[attr-defined]
    assert delivery.drain(60, pytest.fail)


def test_a_thread_that_dies_has_delivered_nothing(project: Project, tmp_path: Path) -> None:
    done, _, _ = deliver(project, tmp_path, SystemExit())
    assert not done


def test_delivering_twice_does_no_harm(project: Project, tmp_path: Path) -> None:
    client = mlflow.MlflowClient(project.uri)
    run_id = client.create_run("0").info.run_id
    PIL.Image.new("RGB", (8, 8)).save(tmp_path / "curves.png")
    for _ in range(2):
        outbox = Outbox(tmp_path)
        if not outbox.entries:
            outbox.append("params", values={"epochs": "3"})
            outbox.append("metrics", values={"loss": 0.5}, step=1, timestamp=1)
            inputs = {"training": {"name": "x", "digest": "d", "source_type": "local", "source": "{}"}}
            outbox.append("inputs", datasets=inputs)
            outbox.append("image", path="curves.png", key="curves", timestamp=1)
            outbox.append("status", status="FINISHED", timestamp=1)
        outbox.cursor_path.unlink(missing_ok=True)
        assert Delivery(client, run_id, tmp_path, Outbox(tmp_path)).drain(10, lambda trouble: None)
    run = client.get_run(run_id)
    assert len(client.get_metric_history(run_id, "loss")) == 1
    assert len(run.inputs.dataset_inputs) == 1
    assert len(client.list_artifacts(run_id, "images")) == 2  # the picture and a smaller one
    assert run.info.status == "FINISHED"
