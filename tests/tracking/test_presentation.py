"""What MLflow's page shows of runs: names, columns, pictures side by side; in a real store."""

import json
from typing import Any

from matplotlib.figure import Figure
from mlflow.utils.name_utils import _generate_random_name

from imagelab.tracking import operation_run, show_side_by_side
from imagelab.tracking.presentation import is_invented, offer_columns
from tests.conftest import Project


def test_names_that_mlflow_makes_up_are_known() -> None:
    assert all(is_invented(_generate_random_name(max_length=99)) for _ in range(300))
    assert not any(map(is_invented, ("", "mine", "my-run-1", "respected-turtle", "first try, lr 0.1")))


def test_an_experiment_gets_a_shared_view_with_columns(client: Any) -> None:
    """In the form in which MLflow 3.17's page reads it, as was seen there."""
    offer_columns(client, "0")
    view = json.loads(client.get_experiment("0").tags["mlflow.sharedViewState.imagelab"])
    assert {"metrics.`test_accuracy`", "params.`learning_rate`", "tags.`role`"} <= set(view["selectedColumns"])


def test_a_picture_is_logged_for_image_grids_too(client: Any, project: Project) -> None:
    with operation_run(client, "promotion", "digits-basic_ann", {}) as run:
        run.log_figure("figures/confusion_matrix.png", Figure(figsize=(4, 4)))
        show_side_by_side(run, "figures/confusion_matrix.png", timestamp=1)
    assert "mlflow.loggedImages" in client.get_run(run.run_id).data.tags
    images = project.artifacts(run.run_id, "images")
    assert sorted(name.split("+")[0] for name in images) == ["images/confusion_matrix"] * 2  # one of them is small
