"""The README's story of a model in use: train, promote, serve, ask, promote a better one meanwhile, roll back."""

import base64
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from PIL import Image

from tests.conftest import LONGEST, Project, answers, finish, free_port, real_data, real_resnet50_weights, wait_until

CLIENTS = 8
SMALL = ("dataset=cifar100", "model=resnet50", "limit=2000", "image_size=32", "early_stopping_patience=0")


# Python executes it first in every process of the project: what each has set when it imports TensorFlow.
RECORDER = """
import os, sys
os.environ.pop("TF_ENABLE_ONEDNN_OPTS", None)  # these tests themselves have set it
def record(event, arguments):
    if event == "import" and arguments[0] == "tensorflow":
        with open({record!r}, "a") as file:
            print(sys.orig_argv[-1], os.environ.get("TF_ENABLE_ONEDNN_OPTS"), sep="\\t", file=file)
sys.addaudithook(record)
"""


@pytest.fixture
def trained(project: Project, tmp_path: Path) -> "Story":
    real_data("cifar100")
    project.forks = False  # one after the other, every command is a new process
    record = str(tmp_path / "kernels.txt")
    (project.folder / "src" / "sitecustomize.py").write_text(RECORDER.format(record=record))
    return Story(project, tmp_path)


class Story:
    """What one person types, in one project folder."""

    def __init__(self, project: Project, folder: Path) -> None:
        self.project, self.folder = project, folder
        self.weights = real_resnet50_weights()
        self.address = f"http://127.0.0.1:{free_port()}"

    def train(self, epochs: int) -> str:
        """The id of a finished run."""
        before = {run.info.run_id for run in self.project.runs()}
        settings = (*SMALL, f"weights={self.weights}", f"epochs={epochs}")
        code, _, errors = finish(self.project.train(*settings, IMAGELAB_FEATURE_CACHE=str(self.folder / "features")))
        assert code == 0, errors
        [run_id] = {run.info.run_id for run in self.project.runs()} - before
        return str(run_id)

    def type(self, command: str, *settings: str) -> str:
        """Standard output of `promote` or `rollback`."""
        names = ("--dataset=cifar100", "--model=resnet50")
        process = self.project.start(sys.executable, "-m", f"entrypoints.{command}", *names, *settings)
        code, output, errors = finish(process)
        assert code == 0, errors
        return output

    @contextmanager
    def serving(self) -> Iterator[None]:
        port = f"--port={self.address.split(':')[-1]}"
        process = self.project.start(sys.executable, "-m", "entrypoints.serve", port)
        wait_until(lambda: answers(self.address))
        yield
        process.terminate()
        assert finish(process)[0] == 0

    def version(self) -> str:
        return str(requests.get(f"{self.address}/version", timeout=60).json()["version"])

    def champion(self) -> str:
        """The run of the version that is the champion."""
        found = self.project.client.get_model_version_by_alias("cifar100-resnet50", "champion")
        return str(found.run_id)


class Clients:
    """Threads that ask the same question again and again, each over a connection of its own, with a breath between."""

    def __init__(self, address: str, picture: Path) -> None:
        self.address = address
        self.question = {"inputs": [base64.b64encode(picture.read_bytes()).decode()], "params": {"top_k": 3}}
        self.answers: list[tuple[int, str | None]] = []
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self.ask) for _ in range(CLIENTS)]

    def __enter__(self) -> "Clients":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join()

    def ask(self) -> None:
        with requests.Session() as session:
            while not self.ended.wait(0.2):
                try:
                    response = session.post(f"{self.address}/invocations", json=self.question, timeout=LONGEST)
                    self.answers.append((response.status_code, response.headers.get("X-Model-Version")))
                except requests.RequestException as error:
                    self.answers.append((0, str(error)))


@pytest.mark.thorough
def test_the_story_of_a_model_in_use(trained: Story) -> None:
    worse, better = trained.train(epochs=1), trained.train(epochs=4)
    assert worse != better
    trained.type("promote", f"--run_id={better}")  # runs with a limit are promoted by name only
    assert trained.champion() == better

    picture = trained.folder / "a picture.png"
    Image.fromarray(real_data("cifar100").test.images[0]).resize((200, 150)).save(picture)
    with trained.serving():
        first = trained.version()
        answer = ask_by_curl(trained.address, picture)
        assert {"label", "probability", "superclass", "top"} <= answer["predictions"][0].keys()

        best = trained.train(epochs=12)
        with Clients(trained.address, picture) as clients:
            wait_until(lambda: len(clients.answers) > 10 * CLIENTS)
            trained.type("promote", f"--run_id={best}")
            wait_until(lambda: trained.version() != first)
            asked = len(clients.answers)
            wait_until(lambda: len(clients.answers) > asked + 10 * CLIENTS)
        assert trained.champion() == best
        assert {status for status, _ in clients.answers} == {200}
        versions = [version for _, version in clients.answers]
        assert versions[0] == first
        assert versions[-1] == trained.version()
        assert set(versions) == {first, versions[-1]}

        trained.type("rollback")
        assert trained.champion() == better
        wait_until(lambda: trained.version() == first)
    kernels = (trained.folder / "kernels.txt").read_text().splitlines()
    assert kernels
    assert {line.split("\t")[1] for line in kernels} == {"1"}


def ask_by_curl(address: str, picture: Path) -> dict[str, list[dict[str, object]]]:
    """The README's command, as a shell runs it."""
    question = f"""(printf '{{"inputs": ["'; base64 < "{picture}"; printf '"]}}')"""
    command = f'{question} | curl -s {address}/invocations -H "Content-Type: application/json" -d @-'
    return dict(json.loads(subprocess.run(["bash", "-c", command], check=True, capture_output=True, text=True).stdout))
