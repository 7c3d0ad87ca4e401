"""The `mlflow run` above this process, and how the run that it has opened ends.

When its child ends, `mlflow run` marks the run FINISHED or FAILED whatever the child has said of it (MLflow 3.17
compares the name of a status with numbers). So what must hold afterwards is done by a small process that waits:

    python -m imagelab.tracking.project_run PID_OF_MLFLOW_RUN (KILLED | FINISHED | delete) RUN_ID
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import psutil

from imagelab.errors import ImagelabError, TrackingError
from imagelab.mlflow_command import find_mlflow_run, is_mlflow
from imagelab.signals import uninterrupted
from imagelab.tracking.store import reason_of

if TYPE_CHECKING:
    from mlflow import MlflowClient


def after_mlflow_run(outcome: str, run_id: str) -> None:
    """Let `run_id` have the status `outcome`, or be deleted ("delete"), once the `mlflow run` above has ended."""
    command = [sys.executable, "-m", __name__, str(find_mlflow_run()[1].pid), outcome, run_id]
    nowhere = subprocess.DEVNULL
    env = environment_with_package()
    subprocess.Popen(command, stdin=nowhere, stdout=nowhere, stderr=nowhere, start_new_session=True, env=env)


def environment_with_package() -> dict[str, str]:
    """This environment, in which `python -m imagelab...` works also where conda or uv has made it without imagelab."""
    source = str(Path(__file__).parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH"))))}


def release_project_run(outcome: str) -> None:
    """Say what becomes of the run that `mlflow run` has opened for a command that works on another one, or on none."""
    if run_id := os.environ.pop("MLFLOW_RUN_ID", None):
        after_mlflow_run(outcome, run_id)


def keep_project_run(run_id: str) -> None:
    """This process works on `run_id`: the run that `mlflow run` has opened is that one, or is given up."""
    if os.environ.get("MLFLOW_RUN_ID") == run_id:
        del os.environ["MLFLOW_RUN_ID"]
    else:
        release_project_run("delete")


def exchange_project_run(client: "MlflowClient") -> None:
    """Put a new run in the place of the one that `mlflow run` has opened, which says another data set or model.

    Parameters of a run cannot be changed; its name, experiment and tags are kept.
    """
    given = client.get_run(os.environ["MLFLOW_RUN_ID"])
    with uninterrupted():  # else the new run could be left open
        made = client.create_run(given.info.experiment_id, tags=given.data.tags, run_name=given.info.run_name)
        release_project_run("delete")
        os.environ["MLFLOW_RUN_ID"] = made.info.run_id


def annotate_project_run(
    client: "MlflowClient", tags: Mapping[str, str], metrics: Mapping[str, float] = MappingProxyType({})
) -> None:
    """Let the run that `mlflow run` has opened, if there is one, say what a command does that needs no run.

    Raises:
        TrackingError: the store does not take it.
    """
    if run_id := os.environ.get("MLFLOW_RUN_ID"):
        try:
            for key, text in tags.items():
                client.set_tag(run_id, key, text)
            for key, value in metrics.items():
                client.log_metric(run_id, key, value)
        except Exception as error:
            raise TrackingError(f"the tracking store does not take what is to be noted ({reason_of(error)})") from error


@contextmanager
def failure_noted(client: "MlflowClient", role: str) -> Iterator[None]:
    """Let the run that `mlflow run` has opened say why an operation ended before it had begun."""
    try:
        yield
    except ImagelabError as error:
        annotate_project_run(client, {"role": role, "failure": f"{type(error).__name__}: {error}"[:5000]})
        raise


def end_with_mlflow_run(end: Callable[[], None]) -> None:
    """Call `end` in a thread when the `mlflow run` above dies: its child would go on, and nobody would know.

    Linux can do this by itself (PR_SET_PDEATHSIG), but for a parent only: with uv or conda a shell is in between.
    """
    child, above = find_mlflow_run()
    if is_mlflow(above):
        threading.Thread(target=watch, args=(child, above.pid, end), name="imagelab-watch", daemon=True).start()


def watch(child: psutil.Process, above: int, end: Callable[[], None]) -> None:
    with suppress(psutil.NoSuchProcess):
        while child.ppid() == above:
            time.sleep(0.5)
    end()


def main(pid: str, outcome: str, run_id: str) -> None:
    import mlflow

    with suppress(psutil.NoSuchProcess):
        psutil.Process(int(pid)).wait()  # however long: a server, or a resumed training, may run for days
    client = mlflow.MlflowClient()
    if outcome == "delete":
        if client.get_run(run_id).info.status == "RUNNING":
            client.set_terminated(run_id, "KILLED")  # should somebody restore it
        client.delete_run(run_id)
    else:
        client.set_terminated(run_id, outcome)


if __name__ == "__main__":
    main(*sys.argv[1:])
