"""`-e serve` beside plain `mlflow models serve`: requests a second and waiting times of single images.

    python -m benchmarks.serving [--model basic_cnn] [--dataset fashion_mnist] [--weights RESNET50.weights.h5]

The same network behind both: ours as the project logs it, plain as MLflow's users log a Keras model. A network is
trained on a few images first, since speed is all that counts here. ApacheBench (`ab`, Debian: apache2-utils) asks
over connections that are kept. Plain takes arrays only: its clients would have to decode PNG themselves, which
is not counted. The bare compiled call is what the network alone takes for one image.
"""

import argparse
import base64
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

CLIENTS = (1, 8, 32)
IMAGELAB, MLFLOW = "imagelab serve", "mlflow models serve"


class Load(NamedTuple):
    """What ApacheBench measured: requests a second, milliseconds that half and 99 % of them took at most."""

    rate: float
    p50: float
    p99: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="fashion_mnist")
    parser.add_argument("--model", default="basic_cnn")
    parser.add_argument("--weights", help="file of a backbone's weights")
    parser.add_argument("--seconds", type=int, default=8, help="of each measurement")
    arguments = parser.parse_args()
    if not shutil.which("ab"):
        sys.exit("this benchmark asks by ApacheBench: install Debian's package apache2-utils")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
        plain, image = prepare(arguments)
        bodies = write_bodies(Path(folder), image)
        ours = ["-m", "entrypoints.serve", f"--dataset={arguments.dataset}", f"--model={arguments.model}"]
        theirs = ["-m", "mlflow", "models", "serve", "-m", plain, "--env-manager", "local"]
        with server(ours, "--port={}", folder) as fast, server(theirs, "--port={}", folder) as slow:
            compare(fast, slow, bodies, arguments.seconds)


def prepare(arguments: argparse.Namespace) -> tuple[str, np.ndarray]:
    """Train, register and log again as a plain Keras model: (its address, an image to ask about)."""
    small = ["--limit=2000", "--epochs=1", f"--dataset={arguments.dataset}", f"--model={arguments.model}"]
    small += [f"--weights={arguments.weights}"] if arguments.weights else []
    subprocess.run([sys.executable, "-m", "entrypoints.train", *small], check=True, stdout=subprocess.DEVNULL)
    import mlflow

    from imagelab.data import load_dataset

    client = mlflow.MlflowClient()
    [model] = client.search_logged_models(["0"])
    name = f"{arguments.dataset}-{arguments.model}"
    client.create_registered_model(name)
    client.create_model_version(name, f"models:/{model.model_id}", model.source_run_id, model_id=model.model_id)
    client.set_registered_model_alias(name, "champion", "1")
    network = mlflow.keras.load_model(f"models:/{model.model_id}")
    images = load_dataset(arguments.dataset).test.images[:1]
    signature = mlflow.models.infer_signature(images, network.predict(images, verbose=0))
    plain = mlflow.keras.log_model(network, name="plain", signature=signature)
    print(f"bare compiled call  {1000 * bare_call(f'models:/{model.model_id}', images):6.1f} ms an image", flush=True)
    return str(plain.model_uri), images[0]


def bare_call(uri: str, images: np.ndarray) -> float:
    """Median seconds of the compiled network on one image."""
    import mlflow

    served: Any = mlflow.pyfunc.load_model(uri).unwrap_python_model()
    seconds = []
    for _ in range(100):
        started = time.perf_counter()
        served.probabilities(images)
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))


def write_bodies(folder: Path, image: np.ndarray) -> dict[str, Path]:
    from PIL import Image

    png = BytesIO()
    Image.fromarray(image.squeeze()).save(png, "PNG")
    contents = {"array": image[None].tolist(), "PNG": [base64.b64encode(png.getvalue()).decode()]}
    for kind, content in contents.items():
        (folder / f"{kind}.json").write_text(json.dumps({"inputs": content}))
    return {kind: folder / f"{kind}.json" for kind in contents}


@contextmanager
def server(command: list[str], port_option: str, folder: str) -> Iterator[str]:
    """The address of a server that has answered its first ping."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    with (Path(folder) / "server.log").open("a") as log:
        full = [sys.executable, *command, port_option.format(port)]
        process = subprocess.Popen(full, stdout=log, stderr=log, env=environment, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        while not answers(f"{address}/ping"):
            if process.poll() is not None:
                sys.exit((Path(folder) / "server.log").read_text()[-2000:])
            time.sleep(0.2)
        yield address
    finally:
        os.killpg(process.pid, 15)
        process.wait()


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def compare(ours: str, plain: str, bodies: dict[str, Path], seconds: int) -> None:
    print(f"{'':22}{'clients':>8}{'request':>9}{'a second':>10}{'p50 ms':>9}{'p99 ms':>9}")
    for address in (ours, plain):
        ask(address, bodies["array"], 1, 2)  # warm
    for clients in CLIENTS:
        slow = row(MLFLOW, plain, "array", bodies, clients, seconds)
        for kind in bodies:
            fast = row(IMAGELAB, ours, kind, bodies, clients, seconds)
            print(
                f"{'':22}{clients:>8}{kind:>9}  {fast.rate / slow.rate:.1f} x the rate, p50 1/{slow.p50 / fast.p50:.1f}"
            )


def row(name: str, address: str, kind: str, bodies: dict[str, Path], clients: int, seconds: int) -> Load:
    load = ask(address, bodies[kind], clients, seconds)
    print(f"{name:22}{clients:>8}{kind:>9}{load.rate:>10.1f}{load.p50:>9.1f}{load.p99:>9.1f}", flush=True)
    return load


def ask(address: str, body: Path, clients: int, seconds: int) -> Load:
    """Keep that many connections busy for some seconds.

    Raises:
        SystemExit: an answer was not 200.
    """
    table = Path(f"{body}.csv")
    command = ["ab", "-q", "-k", "-l", "-c", str(clients), "-t", str(seconds), "-n", "1000000", "-e", str(table)]
    command += ["-p", str(body), "-T", "application/json", f"{address}/invocations"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in output or not re.search(r"Failed requests:\s+0\b", output):
        sys.exit(output)
    rate = float(re.search(r"Requests per second:\s+([\d.]+)", output)[1])  # type: ignore[index]
    percentiles = dict(line.split(",") for line in table.read_text().splitlines()[1:])
    return Load(rate, float(percentiles["50"]), float(percentiles["99"]))


if __name__ == "__main__":
    main()
