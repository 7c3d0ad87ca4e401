"""A real `-e serve` to start, ask and stop."""

import contextlib
import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import LONGEST, Project, free_port, wait_until
from tests.serving.pictures import plain, text_of

MODEL = ("dataset=digits", "model=basic_cnn")
BODY = {"inputs": [text_of(plain(200))]}


class Serving:
    """The command under way, and what it has said so far."""

    def __init__(self, project: Project, *settings: str, command: tuple[str, ...] = (), **environment: str) -> None:
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        words = [f"--{setting}" for setting in (*MODEL, f"port={self.port}", "poll_seconds=0.2", *settings)]
        self.process = project.start(*(command or (sys.executable, "-m", "entrypoints.serve", *words)), **environment)
        self.said: list[str] = []
        self.version = "1"  # that should answer
        self.listener = threading.Thread(target=self.listen, daemon=True)
        self.listener.start()

    def listen(self) -> None:
        self.said.extend(iter(self.process.stderr.readline, ""))

    def wait(self, words: str, seconds: float = LONGEST) -> str:
        """The first line with these words."""

        def line() -> str | None:
            return next((each for each in [*self.said] if words in each), None)

        def is_said() -> bool:
            assert line() or self.process.poll() is None, "".join(self.said)
            return line() is not None

        wait_until(is_said, seconds)
        return str(line())

    def ask(self, body: Any = BODY, path: str = "/invocations", **options: Any) -> requests.Response:
        return requests.post(f"{self.address}{path}", json=body, timeout=LONGEST, **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        return requests.get(f"{self.address}{path}", timeout=LONGEST, **options)

    def wait_for_trouble(self, words: str) -> None:
        wait_until(lambda: words in (self.get("/version").json()["trouble"] or ""))

    def word(self) -> str:
        """The class names' first word, which tells the version."""
        return str(self.ask().json()["predictions"][0]["label"].split()[0])

    def figure(self, name: str, **options: Any) -> float:
        """The sum of a figure of /metrics over its labels."""
        families = text_string_to_metric_families(self.get("/metrics", **options).text)
        return sum(sample.value for family in families for sample in family.samples if sample.name == name)

    def stop(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """The exit code and what was written to standard output."""
        self.process.send_signal(number)
        return self.process.wait(LONGEST), self.process.stdout.read()


class Clients:
    """Threads that ask without a pause until `stop`, and remember (status, version of the header, first word)."""

    def __init__(self, serving: Serving, number: int = 8) -> None:
        self.serving, self.over = serving, threading.Event()
        self.seen: list[tuple[int, str, str]] = []
        self.failed: list[str] = []
        self.threads = [threading.Thread(target=self.ask) for _ in range(number)]
        for thread in self.threads:
            thread.start()

    def ask(self) -> None:
        with requests.Session() as session:
            while not self.over.is_set():
                try:
                    response = session.post(f"{self.serving.address}/invocations", json=BODY, timeout=LONGEST)
                    word = response.json()["predictions"][0]["label"].split()[0]
                    self.seen.append((response.status_code, response.headers["X-Model-Version"], word))
                except Exception as error:
                    self.failed.append(repr(error))

    def answered(self, word: str) -> int:
        return sum(each[2] == word for each in [*self.seen])

    def wait(self, word: str, number: int) -> None:
        wait_until(lambda: self.answered(word) > number)

    def stop(self) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()


def bash(command: str, folder: Path) -> str:
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=True, timeout=LONGEST
    )
    return done.stdout


def label_of(answer: str) -> str:
    with contextlib.suppress(KeyError):
        return str(json.loads(answer)["predictions"][0]["label"])
    raise AssertionError(answer)
