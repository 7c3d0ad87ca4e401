"""A forked process as its parent sees it: a `subprocess.Popen`."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from struct import Struct
from typing import Any

from tests.forking.server import BEGUN, ENDED, request

ROOT = Path(__file__).resolve().parents[2]
READ_AT_IMPORT = (
    *("KERAS_HOME", "KERAS_BACKEND", "MPLBACKEND", "MPLCONFIGDIR", "PYTHONUNBUFFERED"),
    *("TF_ENABLE_ONEDNN_OPTS", "ONEDNN_MAX_CPU_ISA", "CUDA_VISIBLE_DEVICES"),
)
NO_GPU = {"CUDA_VISIBLE_DEVICES": "-1"}  # CUDA does not survive a fork
LONGEST_START = 300.0  # seconds until a process has begun, on a machine however slow and busy
USED: list[float] = []  # processor seconds of each forked process that has ended
PACKAGES = ("entrypoints", "imagelab", "mlflow")  # packages whose modules are run in forked processes


class Prepared:
    """The prepared interpreter, started by the first who needs it; it ends with this process."""

    def __init__(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="imagelab-fork-"))
        self.path, self.environment = str(folder / "socket"), dict(os.environ)
        command = [sys.executable, "-m", "tests.forking.server", self.path]
        env = {**self.environment, **NO_GPU, "PYTHONPATH": str(ROOT / "src")}
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, cwd=ROOT, env=env, start_new_session=True, **pipes)
        assert self.process.stdout.readline() == "ready\n", "the prepared interpreter did not start"

    def has_imported_with(self, environment: Mapping[str, str]) -> bool:
        """Whether what is read at import is the same in this environment."""
        return all(environment.get(name) == self.environment.get(name) for name in READ_AT_IMPORT)

    def end(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        shutil.rmtree(Path(self.path).parent)


@cache
def prepared() -> Prepared:
    return Prepared()


def as_module(command: Sequence[str]) -> tuple[str, list[str]] | None:
    """The module and the arguments of a command that is run by `python -m`, or by MLflow's script."""
    program, *words = command
    if Path(program).name == "mlflow":
        return "mlflow", words
    if program == sys.executable and words[0] == "-m" and words[1].split(".")[0] in PACKAGES:
        return words[1], words[2:]
    return None


def start(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], **streams: Any
) -> "subprocess.Popen[str] | None":
    """A forked process for a command; nothing where it must be a new one.

    `mlflow run` is known to its children by its command line. On macOS a fork is not safe once libraries are loaded.
    """
    module = as_module(command) if sys.platform == "linux" else None
    if not module or (module[0] == "mlflow" and "run" in module[1]) or not prepared().has_imported_with(environment):
        return None
    task = {
        "module": module[0],
        "arguments": module[1],
        "folder": str(folder),
        "environment": {**environment, **NO_GPU},
    }
    return ForkedProcess(prepared().path, task, **streams)


class ForkedProcess(subprocess.Popen[str]):
    """A process forked from the prepared interpreter behind a socket, in a session of its own.

    Args:
        path: the socket.
        task: what `tests.forking.server.Task` holds.
        stdin, stdout, stderr: `subprocess.PIPE`, or what has a file descriptor.
    """

    _child_created = False  # so that Popen's own `__del__` has nothing to do

    def __init__(
        self,
        path: str,
        task: dict[str, Any],
        stdin: Any = subprocess.DEVNULL,
        stdout: Any = subprocess.PIPE,
        stderr: Any = subprocess.PIPE,
    ) -> None:
        self.args, self.returncode = ["python", "-m", task["module"], *task["arguments"]], None
        self.readers: list[Reader] = []
        given, self.stdin = open_end(stdin, 0)
        output, self.stdout = open_end(stdout, 1)
        errors, self.stderr = open_end(stderr, 1)
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.connect(path)
        socket.send_fds(self.connection, [request(task)], [given, output, errors])
        for each in (given, output, errors):
            os.close(each)
        self.connection.settimeout(LONGEST_START)
        (self.pid,) = self.receive(BEGUN)

    def receive(self, kind: Struct) -> tuple[Any, ...]:
        content = self.connection.recv(kind.size)
        assert content, "the prepared interpreter has ended"
        return kind.unpack(content)

    def poll(self) -> int | None:
        return self.look(0)

    def wait(self, timeout: float | None = None) -> int:
        code = self.look(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def look(self, seconds: float | None) -> int | None:
        """The exit code, if the process ends within so many seconds."""
        if self.returncode is None:
            self.connection.settimeout(seconds)
            try:
                self.returncode, seconds = self.receive(ENDED)
            except (BlockingIOError, TimeoutError):
                return None
            USED.append(seconds)
            self.connection.close()
        return self.returncode

    def communicate(self, input: Any = None, timeout: float | None = None) -> tuple[str, str]:
        deadline = None if timeout is None else time.monotonic() + timeout

        def left() -> float | None:
            return None if deadline is None else max(0.0, deadline - time.monotonic())

        self.readers = self.readers or [Reader(self.stdout), Reader(self.stderr)]
        for reader in self.readers:
            reader.join(left())
            if reader.is_alive():
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
        self.wait(left())
        return self.readers[0].content, self.readers[1].content


def open_end(stream: Any, mine: int) -> tuple[int, Any]:
    """A descriptor for the process, and what is at the other end of it: a file to read (1) or write (0), or nothing."""
    if stream == subprocess.PIPE:
        ends = os.pipe()
        return ends[mine], os.fdopen(ends[1 - mine], "r" if mine else "w", encoding="utf-8")
    if stream == subprocess.DEVNULL:
        return os.open(os.devnull, os.O_RDWR), None
    return os.dup(stream if isinstance(stream, int) else stream.fileno()), None


class Reader(threading.Thread):
    """Reads a stream to its end."""

    def __init__(self, stream: Any) -> None:
        super().__init__(daemon=True)
        self.stream, self.content = stream, ""
        self.start()

    def run(self) -> None:
        if not self.stream.closed:
            self.content = self.stream.read()


def fork_workers(path: str) -> None:
    """Let this process, forked itself, start the workers of a study as forked processes, too."""

    class ForkingPopen(subprocess.Popen):  # type: ignore[type-arg]
        def __new__(cls, command: Any, *arguments: Any, **options: Any) -> Any:
            if command[1:] != ["-m", "imagelab.tuning.worker"]:
                return super().__new__(cls)
            task = {"module": command[2], "arguments": [], "folder": str(Path.cwd()), "environment": options["env"]}
            return ForkedProcess(path, task, options["stdin"], options["stdout"], options["stderr"])

    subprocess.Popen = ForkingPopen  # type: ignore[assignment,misc]
