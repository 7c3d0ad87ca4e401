"""The prepared interpreter: `python -m tests.forking.server SOCKET`; it ends when its standard input is closed.

It runs no operation of TensorFlow and starts no thread of Python: neither survives a fork.
"""

import gc
import json
import os
import pkgutil
import random
import runpy
import selectors
import signal
import socket
import struct
import sys
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any

LARGEST_PART = 2**16
BEGUN, ENDED = struct.Struct("!i"), struct.Struct("!id")  # a process's id; its exit code and processor seconds
LIBRARIES = (
    *(
        "alembic.command",
        "git",
        "matplotlib.backends.backend_agg",
        "mlflow.artifacts",
        "mlflow.cli",
        "mlflow.keras",
        "mlflow.models.display_utils",
    ),
    *("mlflow.models.signature", "mlflow.pyfunc", "mlflow.pyfunc.model", "mlflow.pyfunc.utils.environment"),
    *("mlflow.store.artifact.local_artifact_repo", "mlflow.store.model_registry.rest_store"),
    *("mlflow.store.model_registry.sqlalchemy_store", "mlflow.store.tracking.rest_store"),
    *("mlflow.store.tracking.sqlalchemy_workspace_store", "mlflow.system_metrics", "mlflow.tracing.processor"),
    *("optuna", "PIL.features", "PIL.ImageOps", "pyarrow.parquet", "scipy.stats", "seaborn", "sklearn.metrics"),
    *("sklearn.datasets", "sklearn.model_selection", "sqlalchemy.dialects.sqlite", "uvicorn"),
)
# Modules that are read anew in each process: they read the environment, or say something to MLflow.
LEFT_OUT = ("imagelab.serving.app", "imagelab.serving.prometheus", "imagelab.serving.served_model")


@dataclass(frozen=True)
class Task:
    """What a forked process does: a module, as `python -m` runs it, in a folder and an environment."""

    module: str
    arguments: list[str]
    folder: str
    environment: dict[str, str]

    def begin(self, streams: list[int]) -> None:
        """Take on everything in which one process differs from another."""
        import numpy as np

        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(self.folder)
        os.environ.clear()
        os.environ.update(self.environment)
        random.seed()
        np.random.seed()

    def run(self) -> None:
        sys.argv = [self.module, *self.arguments]
        sys.path[0] = self.folder
        runpy.run_module(self.module, run_name="__main__", alter_sys=True)


def request(task: dict[str, Any]) -> bytes:
    """One line that asks for a process."""
    return json.dumps(asdict(Task(**task))).encode() + b"\n"


def main(path: str) -> None:
    prepare()
    if task := Server(path).serve():  # in a forked process; its exit is an ordinary one
        from tests.forking.process import fork_workers

        fork_workers(path)
        task.run()


def prepare() -> None:
    """Import what commands import."""
    import entrypoints
    import imagelab
    from imagelab.keras_startup import start_keras

    start_keras()
    for name in LIBRARIES:
        import_module(name)
    for module in pkgutil.walk_packages(imagelab.__path__, "imagelab."):
        if module.name not in LEFT_OUT and not is_run(module):
            import_module(module.name)
    assert entrypoints
    draw()
    assert threading.active_count() == 1
    gc.collect()
    gc.freeze()


def is_run(module: pkgutil.ModuleInfo) -> bool:
    """Whether a module is one for `python -m`, which runs none that is imported already."""
    loader: Any = module.module_finder.find_spec(module.name, None).loader
    return '__name__ == "__main__"' in loader.get_source(module.name)


def draw() -> None:
    """Load what Plotly loads with its first figure. (Matplotlib would open fonts, and processes share open files.)"""
    import plotly.graph_objects as go

    go.Figure(go.Scatter(y=[1, 2])).to_html()


class Server:
    """Forks a process for each request that comes over a socket, and tells its id and how it has ended."""

    def __init__(self, path: str) -> None:
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        self.ended, self.waker = socket.socketpair()
        self.ended.setblocking(False)
        self.waker.setblocking(False)
        self.clients: dict[int, socket.socket] = {}

    def serve(self) -> Task | None:
        """Answer requests; the task of the forked process, in that process, or nothing in the end."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self.waker.fileno())
        selector = selectors.DefaultSelector()
        for source in (self.listener, self.ended, sys.stdin):
            selector.register(source, selectors.EVENT_READ)
        print("ready", flush=True)
        while True:
            for key, _ in selector.select():
                if key.fileobj is sys.stdin:
                    return None
                if key.fileobj is self.ended:
                    self.tell_of_ends()
                elif task := self.fork():
                    selector.close()
                    return task

    def fork(self) -> Task | None:
        client, _ = self.listener.accept()
        content, streams, _, _ = socket.recv_fds(client, LARGEST_PART, 3)
        while not content.endswith(b"\n"):
            part = client.recv(LARGEST_PART)
            if not part:  # it was killed before it had asked
                client.close()
                return None
            content += part
        task = Task(**json.loads(content))
        alone, is_alone = os.pipe()
        if child := os.fork():
            self.clients[child] = client
            os.close(is_alone)
            os.read(alone, 1)  # until it is a process of its own: its session, its folder, its environment
            os.close(alone)
            for stream in streams:
                os.close(stream)
            with suppress(OSError):  # its parent has died meanwhile
                client.sendall(BEGUN.pack(child))
            return None
        os.setsid()
        os.close(alone)
        client.close()
        self.leave()
        task.begin(streams)
        os.close(is_alone)
        return task

    def leave(self) -> None:
        """In a forked process: forget everything of the server."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for each in (self.listener, self.ended, self.waker, *self.clients.values()):
            each.close()
        self.clients.clear()

    def tell_of_ends(self) -> None:
        with suppress(BlockingIOError):
            self.ended.recv(1000)
        while self.clients:
            child, status, used = os.wait4(-1, os.WNOHANG)
            if not child:
                return
            client, seconds = self.clients.pop(child), used.ru_utime + used.ru_stime
            with suppress(OSError):  # nobody waits for it any more
                client.sendall(ENDED.pack(os.waitstatus_to_exitcode(status), seconds))
            client.close()


if __name__ == "__main__":
    main(sys.argv[1])
