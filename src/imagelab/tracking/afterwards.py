"""The last word on a run that `mlflow run` has opened.

When its child ends, `mlflow run` marks the run FINISHED or FAILED whatever the child has said of it (MLflow 3.17
compares the name of a status with numbers). So what must hold afterwards is done by a small process that waits:

    python -m imagelab.tracking.afterwards PID_OF_MLFLOW_RUN (KILLED | delete) RUN_ID
"""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil

LONGEST_WAIT = 600  # seconds


def after_mlflow_run(wish: str, run_id: str) -> None:
    """Let `run_id` be KILLED, or deleted ("delete"), once the `mlflow run` above this process has ended."""
    command = [sys.executable, "-m", __name__, str(mlflow_run_above()), wish, run_id]
    nowhere = subprocess.DEVNULL
    source = str(Path(__file__).parents[2])  # where the environment is made by conda or uv, imagelab is not installed
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH"))))}
    subprocess.Popen(command, stdin=nowhere, stdout=nowhere, stderr=nowhere, start_new_session=True, env=env)


def mlflow_run_above() -> int:
    """The process id of the nearest ancestor that is MLflow; the parent's where none is to be seen."""
    above = psutil.Process().parents()
    return next((process.pid for process in above if is_mlflow(process)), above[0].pid)


def is_mlflow(process: psutil.Process) -> bool:
    try:
        words = process.cmdline()
        return "mlflow" in (Path(word).name for word in words[:3]) and "run" in words
    except psutil.Error:
        return False


def main(pid: str, wish: str, run_id: str) -> None:
    import mlflow

    with suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
        psutil.Process(int(pid)).wait(LONGEST_WAIT)
    client = mlflow.MlflowClient()
    if wish == "delete":
        client.delete_run(run_id)
    else:
        client.set_terminated(run_id, wish)


if __name__ == "__main__":
    main(*sys.argv[1:])
