"""What goes wrong in the moment in which the store has made a run: none is left open, whichever command it is of."""

import os
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from imagelab.errors import Interrupted, TrackingError
from imagelab.settings import TrainSettings, TuneSettings
from imagelab.signals import interruptible
from imagelab.tracking import Run, operation_run, repeatable_parent, runs_folder, tracked_run
from imagelab.tuning.tune import tune

SETTINGS = TrainSettings(dataset="digits", model="basic_ann").with_recipe().record()
PARENT = {"phase": "replicates", "settings": "{}", "dataset_digest": "d"}
Opening = Callable[[Any], AbstractContextManager[Run]]
OPENINGS: dict[str, Opening] = {
    "training": lambda client: tracked_run(SETTINGS, None, {}, {}),
    "parent": lambda client: repeatable_parent(client, "name", PARENT, SETTINGS),
    "operation": lambda client: operation_run(client, "evaluation", "digits-basic_ann", {}),
}


def interrupt_when(moment: str, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C once the store has made the run, or once this process has taken it."""
    maker, method = (type(client.client), "create_run") if moment == "made" else (Run, "__init__")
    make = getattr(maker, method)

    def make_and_interrupt(*arguments: Any, **options: Any) -> Any:
        made = make(*arguments, **options)
        os.kill(os.getpid(), signal.SIGINT)
        return made

    monkeypatch.setattr(maker, method, make_and_interrupt)


@pytest.mark.parametrize("moment", ["made", "taken"])
@pytest.mark.parametrize("name", OPENINGS)
def test_ctrl_c_ends_it_as_killed(name: str, moment: str, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt_when(moment, client, monkeypatch)
    with interruptible(), pytest.raises(Interrupted), OPENINGS[name](client):
        pytest.fail("it has begun")
    [run] = client.search_runs(["0"])
    assert run.info.status == "KILLED"


@pytest.mark.parametrize("moment", ["made", "taken"])
def test_ctrl_c_ends_a_studys_as_killed(moment: str, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt_when(moment, client, monkeypatch)
    with interruptible(), pytest.raises(Interrupted):
        tune(TuneSettings(dataset="digits", model="basic_ann", n_trials=2))
    [run] = client.search_runs(["0"])
    assert (run.info.status, run.data.tags["interrupted_by"]) == ("KILLED", "SIGINT")


@pytest.mark.parametrize("name", OPENINGS)
def test_a_folder_that_cannot_be_made_leaves_none_open(name: str, client: Any) -> None:
    runs_folder().write_text("no folder")
    with pytest.raises(TrackingError, match="runs cannot be made"), OPENINGS[name](client):
        pytest.fail("it has begun")
    assert not client.search_runs(["0"])
