"""Promotions and rollbacks by forked processes that are killed, start together, or both; a script of its own.

    python -m tests.registry.operations URI WHAT

A real store, tiny models, and a scorer that knows each version's accuracy from its run. It prints, as JSON, what it
found. It forks, so it runs beside no TensorFlow.
"""

import json
import os
import random
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from sqlalchemy import orm

from imagelab.evaluation.significance import PairedOutcomes
from imagelab.registry.candidates import Candidate
from imagelab.registry.creation import find_registered_model, open_registered_model
from imagelab.registry.gate import Bounds, Scores
from imagelab.registry.promotion import promote_candidate
from imagelab.registry.rollback import roll_back_model
from imagelab.registry.version_scores import VersionScores
from imagelab.tracking import operation_run, use_tracking_store

KILLED = 9
REFUSED = 1
FIRST_STEPS, MOST_STEPS = 14, 60
STRIDE = int(os.environ.get("IMAGELAB_KILL_STRIDE", "1"))  # of how many steps one is died after
READS = ("get_", "search_", "list_")  # dying after one is dying before it


class Deadly:
    """A client that takes its process with it right after its request number `last` that changes anything."""

    def __init__(self, client: Any, last: int) -> None:
        self.client, self.left = client, last

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.client, name)
        if not callable(method) or name.startswith(READS):
            return method

        def call(*arguments: Any, **options: Any) -> Any:
            result = method(*arguments, **options)
            self.left -= 1
            if self.left == 0:
                os._exit(KILLED)
            return result

        return call


def start(work: Callable[..., Any], *arguments: Any) -> int:
    """Fork a process for `work`; its id."""
    if child := os.fork():
        return child
    try:
        work(*arguments)
        os._exit(0)
    except BaseException as error:
        refused = "stays challenger" in str(error)
        if not refused:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(REFUSED if refused else 3)


def end(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def make_run(accuracy: float) -> Candidate:
    """A finished run with a model of one small file."""
    client = use_tracking_store()
    run = client.create_run("0", tags={"dataset_digest": "d"})
    client.log_metric(run.info.run_id, "best_val_accuracy", accuracy)
    model = client.create_logged_model("0", "model", run.info.run_id)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "MLmodel").write_text(f"accuracy: {accuracy}")
        client.log_model_artifacts(model.model_id, folder)
    client.finalize_logged_model(model.model_id, "READY")
    client.set_terminated(run.info.run_id)
    return Candidate(run.info.run_id, model.model_id, accuracy, "d")


def promote(name: str, candidate: Candidate, last: int = 0) -> None:
    client: Any = Deadly(use_tracking_store(), last)
    with operation_run(client, "promotion", name, {"model": name}) as run:
        model = open_registered_model(client, name)

        def accuracy(version: str) -> float:
            run_id = client.get_model_version(name, version).run_id
            return float(client.get_run(run_id).data.metrics["best_val_accuracy"])

        def compare(challenger: str, champion: str | None) -> VersionScores:
            new = Scores(accuracy(challenger), 1, 1)
            if champion is None:
                return VersionScores(new, images=1000, dataset_digest="d")
            old = Scores(accuracy(champion), 1, 1)
            ahead = round(1000 * (new.accuracy - old.accuracy))
            return VersionScores(new, old, PairedOutcomes(1000, max(0, -ahead), max(0, ahead)), 1000, "d")

        promote_candidate(model, candidate, run, Bounds(min_improvement=0, significance=0.05), compare)


def roll_back(name: str, last: int = 0) -> None:
    client: Any = Deadly(use_tracking_store(), last)
    with operation_run(client, "rollback", name, {"model": name}) as run:
        model = open_registered_model(client, name)
        roll_back_model(model, None, run, lambda *_: None)


def type_again(operation: str, name: str, *arguments: Candidate) -> None:
    """What its user does: the same command. (A rollback that has ended has said so; again would be another one.)"""
    if operation == "promote":
        promote(name, *arguments)
    elif not ended(name):
        roll_back(name)


def ended(name: str) -> bool:
    """Whether the newest rollback has done everything but say so."""
    client = use_tracking_store()
    log = open_registered_model(client, name).history.read()
    newest = client.search_runs(["0"], "tags.phase = 'rollback'", max_results=1)[0].info
    return newest.status == "FINISHED" and newest.run_id == log.event(log.number).by["run_id"]


def state(name: str) -> dict[str, Any]:
    """What there is to know of a registered model in the end."""
    client = use_tracking_store()
    model = find_registered_model(client, name)
    assert model
    log = model.history.read()
    versions = client.search_model_versions(f"name = '{name}'")
    events = [log.event(number) for number in log.numbers]
    champion = client.get_model_version(name, str(model.aliases().champion))
    promotions = [event.by["run_id"] for event in events if event.kind in ("promotion", "rollback")]
    mine = client.search_runs(["0"], f"tags.registered_model = '{name}'", max_results=1000)
    return {
        "aliases": vars(model.aliases()),
        "agreed": model.aliases() == log.aliases and log.is_applied and not log.moving,
        "numbers": log.numbers,
        "kinds": [event.kind for event in events],
        "champions": [event.aliases.champion for event in events],
        "previous": [event.aliases.previous for event in events],
        "versions": sorted(int(version.version) for version in versions),
        "models": len({version.source for version in versions}),
        "champion_run": champion.run_id,
        "champion_verdict": champion.tags.get("verdict"),
        "verdicts": [client.get_run(run_id).data.tags.get("verdict") for run_id in promotions],
        "compared": [any(file.path == "comparison.json" for file in client.list_artifacts(run)) for run in promotions],
        "running": sum(run.info.status == "RUNNING" for run in mine),
        "histories": sum(run.data.tags["phase"] == "history" for run in mine),
    }


def report(names: list[str]) -> None:
    print(json.dumps({name: state(name) for name in names}), flush=True)


def killed_once(last: int, name: str, operation: str, *arguments: Candidate) -> bool:
    """Kill an operation after its change number `last` and type it again; whether it lived long enough to be killed."""
    code = end(start(globals()[operation], name, *arguments, last))
    assert code in (0, KILLED), code
    if code == KILLED:
        assert end(start(type_again, operation, name, *arguments)) == 0
    return code == KILLED


def first_promotion() -> None:
    """Of a registered model that is not there yet; what follows is as in any other promotion."""
    file, names = Path("candidates.json"), [f"model-{last}" for last in range(1, FIRST_STEPS + 1, STRIDE)]
    assert end(start(candidates, file, 1)) == 0
    for name in names:
        assert killed_once(int(name.split("-")[1]), name, "promote", *candidates(file, 1))
    end(start(report, names))


def promotion() -> None:
    """One better run after the other, each killed a step later than the one before."""
    file, last = Path("candidates.json"), 1
    number = MOST_STEPS // STRIDE + 2
    assert end(start(candidates, file, number)) == 0
    first, *better = candidates(file, number)
    assert end(start(promote, "model", first)) == 0
    while killed_once(last, "model", "promote", better[last // STRIDE]):
        last += STRIDE
    end(start(report, ["model"]))


def rollback() -> None:
    file, last = Path("candidates.json"), 1
    assert end(start(candidates, file, 2)) == 0
    for candidate in candidates(file, 2):
        assert end(start(promote, "model", candidate)) == 0
    while killed_once(last, "model", "roll_back"):
        last += STRIDE
    end(start(report, ["model"]))


def candidates(path: Path, number: int) -> list[Candidate]:
    if not path.exists():
        path.write_text(json.dumps([vars(make_run(0.5 + i / 1000)) for i in range(number)]))
    return [Candidate(**part) for part in json.loads(path.read_text())]


def at_once(deadly: bool = False) -> None:
    """Six promotions of six runs at once, shuffled; deadly: killed again and again until they come through."""
    file = Path("candidates.json")
    assert end(start(candidates, file, 6)) == 0
    waiting = candidates(file, 6)
    random.Random(1).shuffle(waiting)
    dice, deaths = random.Random(2), 0
    running = {
        start(promote, "model", candidate, dice.randint(1, 30) if deadly else 0): candidate for candidate in waiting
    }
    while running:
        child, status = os.wait()
        candidate, code = running.pop(child), os.waitstatus_to_exitcode(status)
        assert code in (0, REFUSED, KILLED), code
        if code == KILLED:
            deaths += 1
            running[start(promote, "model", candidate, dice.randint(1, 30) if deaths < 15 else 0)] = candidate
    end(start(report, ["model"]))


def one_version() -> None:
    file = Path("candidates.json")
    assert end(start(candidates, file, 1)) == 0
    children = [start(promote, "model", candidates(file, 1)[0]) for _ in range(6)]
    assert [end(child) for child in children] == [0] * 6
    end(start(report, ["model"]))


def register_by_hand(name: str, file: Path) -> None:
    client = use_tracking_store()
    candidate = candidates(file, 4)[0]
    client.create_registered_model(name)
    client.create_model_version(name, f"models:/{candidate.model_id}", candidate.run_id)
    client.set_registered_model_alias(name, "champion", "1")


def by_hand() -> None:
    """A registered model with a champion that the UI has made: it gets one history, of four at once."""
    file = Path("candidates.json")
    assert end(start(register_by_hand, "model", file)) == 0
    children = [start(promote, "model", candidate) for candidate in candidates(file, 4)[1:]]
    assert set(map(end, children)) <= {0, REFUSED}
    end(start(report, ["model"]))


WORK: dict[str, Callable[[], None]] = {
    "first_promotion": first_promotion,
    "promotion": promotion,
    "rollback": rollback,
    "at_once": at_once,
    "storm": lambda: at_once(deadly=True),
    "one_version": one_version,
    "by_hand": by_hand,
}


def import_all() -> None:
    """What every process would import for itself, which is most of its time."""
    for name in (
        *("mlflow.artifacts", "mlflow.store.tracking.sqlalchemy_store", "mlflow.tracking.context.registry"),
        *("imagelab.tracking.delivery", "imagelab.tracking.system_metrics"),
        *("mlflow.store.model_registry.sqlalchemy_store", "pyarrow.parquet", "scipy.stats", "git"),
    ):
        import_module(name)
    orm.configure_mappers()


if __name__ == "__main__":
    os.environ["MLFLOW_TRACKING_URI"] = sys.argv[1]
    import_all()
    WORK[sys.argv[2]]()
