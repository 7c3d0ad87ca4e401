"""Ctrl-C in the moment in which the store has made a run: no run is left open, whichever command it is of."""

import os
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from imagelab.errors import Interrupted
from imagelab.settings import TrainSettings
from imagelab.signals import interruptible
from imagelab.tracking import Run, operation_run, repeatable_parent, tracked_run

SETTINGS = TrainSettings(dataset="digits", model="basic_ann").with_recipe().record()
PARENT = {"phase": "replicates", "settings": "{}", "dataset_digest": "d"}
Opening = Callable[[Any], AbstractContextManager[Run]]
OPENINGS: dict[str, Opening] = {
    "training": lambda client: tracked_run(SETTINGS, None, {}, {}),
    "parent": lambda client: repeatable_parent(client, "name", PARENT, SETTINGS),
    "operation": lambda client: operation_run(client, "evaluation", "digits-basic_ann", {}),
}


@pytest.mark.parametrize("moment", ["made", "taken"])
@pytest.mark.parametrize("name", OPENINGS)
def test_it_is_killed(name: str, moment: str, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    maker, method = (type(client.client), "create_run") if moment == "made" else (Run, "__init__")
    make = getattr(maker, method)

    def make_and_interrupt(*arguments: Any, **options: Any) -> Any:
        made = make(*arguments, **options)
        os.kill(os.getpid(), signal.SIGINT)
        return made

    monkeypatch.setattr(maker, method, make_and_interrupt)
    with interruptible(), pytest.raises(Interrupted), OPENINGS[name](client):
        pytest.fail("it has begun")
    [run] = client.search_runs(["0"])
    assert run.info.status == "KILLED"
