"""With several workers: each ends with its supervisor, and one that cannot start is not started again for ever."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

from uvicorn.config import STARTUP_FAILURE

from imagelab.console import say
from imagelab.errors import ImagelabError

REASON = "reason"  # file in the folder that the workers share: why none could start
STARTED = "started"  # file in the same folder, made once a worker has loaded a model
RETRY = 5.0  # seconds until the successor of a worker that has died is started again


@contextmanager
def worker_of_several() -> Iterator[None]:
    """Load the model inside this context; where this process is the only one, nothing else happens.

    If the model cannot be loaded, all workers end, unless one has loaded a model before: then that one goes on
    answering, and uvicorn starts this one again.
    """
    supervisor = multiprocessing.parent_process()
    if supervisor is None:
        yield
        return
    threading.Thread(target=end_with, args=[supervisor], name="imagelab-supervisor", daemon=True).start()
    folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    try:
        yield
    except ImagelabError as error:
        if not (folder / STARTED).exists():
            (folder / REASON).write_text(str(error))
            sys.exit(STARTUP_FAILURE)
        say(f"{error}; the other workers go on answering")
        time.sleep(RETRY)
        sys.exit(1)
    (folder / STARTED).touch()


def end_with(supervisor: BaseProcess) -> None:
    supervisor.join()
    os.kill(os.getpid(), signal.SIGTERM)
