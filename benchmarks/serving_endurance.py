"""Minutes of good and bad requests to a real `-e serve`, while its alias moves: its memory, minute by minute.

    python -m benchmarks.serving_endurance --minutes 10

Two versions of an untrained basic_cnn on digits are registered in a folder of their own. Exit code 1 if a request
fails, is answered with a status that it should not have, or if memory grows by more than a MiB a minute.
"""

import argparse
import base64
import json
import os
import subprocess
import sys
import threading
import time
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil
import requests
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
NAME, PORT = "digits-basic_cnn", 5077
CLIENTS, MOVE_EVERY = 8, 60.0  # seconds
STEEPEST = 1.0  # MiB a minute
JSON = {"Content-Type": "application/json"}


def text_of(image: Image.Image, kind: str) -> str:
    content = BytesIO()
    image.save(content, kind)
    return base64.b64encode(content.getvalue()).decode()


def requests_to_send() -> list[tuple[str, bytes, int]]:
    """(path, body, the status that it should have)"""
    rng = np.random.default_rng(0)
    photo = Image.fromarray(rng.integers(0, 255, (600, 800, 3), dtype=np.uint8))
    small = text_of(photo.resize((8, 8)), "PNG")
    array = rng.integers(0, 255, (16, 8, 8, 1)).tolist()
    return [
        *[("/invocations", json.dumps({"inputs": [small]}).encode(), 200)] * 10,
        ("/invocations", json.dumps({"inputs": [text_of(photo, "JPEG")]}).encode(), 200),
        ("/invocations", json.dumps({"dataframe_records": [{"image": small}] * 30}).encode(), 200),
        ("/invocations", json.dumps({"instances": array}).encode(), 200),
        ("/explain", json.dumps({"image": small}).encode(), 200),
        ("/invocations", json.dumps({"inputs": [text_of(photo, "PNG")[:9000]]}).encode(), 400),
        ("/invocations", json.dumps({"inputs": (np.array(array) / 255).tolist()}).encode(), 400),
        ("/invocations", b'{"inputs": ' + b"[" * 50_000, 400),
        ("/invocations", json.dumps({"inputs": [small] * 300}).encode(), 400),
        ("/invocations", b"x" * (2 * 2**20), 413),
    ]


def register(folder: Path) -> Any:
    import mlflow

    from imagelab.keras_startup import start_keras
    from imagelab.models import build_model
    from imagelab.reporting import SERVED_MODEL
    from imagelab.tracking import use_tracking_store
    from imagelab.tracking.logged_model import log_model

    os.chdir(folder)
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder / 'mlflow.db'}"
    start_keras()
    client = use_tracking_store()
    mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    experiment = client.create_experiment("endurance")
    client.create_registered_model(NAME)
    np.save(folder / "example.npy", np.zeros((1, 8, 8, 1), np.uint8))
    names = {"class_names": list("0123456789"), "superclass_of": []}
    for version in ("1", "2"):
        build_model("basic_cnn", (8, 8, 1), 10).save(folder / "network.keras")
        run_id = client.create_run(experiment).info.run_id
        entry = {"path": "network.keras", "example": "example.npy", "step": 0, **names}
        model = log_model(run_id, folder, entry, SERVED_MODEL)
        client.create_model_version(NAME, f"models:/{model}", run_id, model_id=model)
        client.set_registered_model_alias(NAME, "champion", version)
    return client


class Load:
    """Clients that ask until `over`; what went wrong is in `wrong`."""

    def __init__(self, address: str) -> None:
        self.address, self.over = address, threading.Event()
        self.count, self.wrong = [0] * CLIENTS, list[str]()
        self.threads = [threading.Thread(target=self.ask, args=[number]) for number in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def ask(self, client: int) -> None:
        rng, kinds = np.random.default_rng(client), requests_to_send()
        with requests.Session() as session:
            while not self.over.is_set():
                path, body, expected = kinds[rng.integers(len(kinds))]
                try:
                    response = session.post(f"{self.address}{path}", body, headers=JSON, timeout=60)
                    if response.status_code != expected:
                        self.wrong.append(f"{response.status_code} for {expected}: {response.text[:200]}")
                except requests.RequestException as error:
                    self.wrong.append(repr(error)[:200])
                self.count[client] += 1

    def stop(self) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()


def measure(client: Any, server: psutil.Process, load: Load, minutes: float) -> list[float]:
    """MiB of the server at the end of each minute; then the alias moves."""
    memory: list[float] = []
    started = time.monotonic()
    while (passed := time.monotonic() - started) < 60 * minutes:
        time.sleep(min(MOVE_EVERY, 60 * minutes - passed))
        memory.append(server.memory_info().rss / 2**20)
        minute = f"{len(memory) * MOVE_EVERY / 60:5.1f} min"
        print(f"{minute}  {memory[-1]:7.1f} MiB  {sum(load.count):8,d} requests  {len(load.wrong)} wrong", flush=True)
        client.set_registered_model_alias(NAME, "champion", str(1 + len(memory) % 2))
    return memory


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    minutes = parser.parse_args().minutes
    with TemporaryDirectory() as folder:
        client = register(Path(folder))
        path = os.pathsep.join([str(ROOT), str(ROOT / "src")])
        words = [f"--port={PORT}", "--dataset=digits", "--model=basic_cnn", "--body_limit=1", "--poll_seconds=1"]
        command = [sys.executable, "-m", "entrypoints.serve", *words]
        server = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.PIPE, text=True)
        while "ask it:" not in (line := str(server.stderr and server.stderr.readline())):
            assert line, "the server has ended"
        threading.Thread(target=lambda: server.stderr and server.stderr.read(), daemon=True).start()
        load = Load(f"http://127.0.0.1:{PORT}")
        try:
            memory = measure(client, psutil.Process(server.pid), load, minutes)
        finally:
            load.stop()
            server.terminate()
        code = server.wait(60)
    settled = memory[len(memory) // 2 :]  # before, the allocator fills its arenas, one for each few threads
    slope = float(np.polyfit(range(len(settled)), settled, 1)[0]) if len(settled) > 1 else 0.0
    print(f"{sum(load.count):,} requests, {len(load.wrong)} wrong, exit code {code}")
    print(f"memory {settled[0]:.0f} to {settled[-1]:.0f} MiB in the second half: {slope:+.2f} MiB a minute")
    print("\n".join(sorted(set(load.wrong))[:10]))
    return int(bool(load.wrong) or code != 0 or slope > STEEPEST)


if __name__ == "__main__":
    sys.exit(main())
