"""The model without us: MLflow's own commands, and a Python that does not have our package."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import LONGEST, ROOT, Project, answers, free_port, thorough, wait_until
from tests.serving import grey_levels
from tests.serving.pictures import file_of, header_only, noise, plain, text_of
from tests.serving.test_served_model import ARRAY, BRIGHT, PICTURE, full

pytestmark = thorough
MLFLOW = str(Path(sys.executable).with_name("mlflow"))
OK: dict[str, Any] = {
    "text": {"inputs": [PICTURE]},
    "texts under instances": {"instances": [PICTURE, PICTURE]},
    "records": {"dataframe_records": [{"image": PICTURE}]},
    "split": {"dataframe_split": {"columns": ["image"], "data": [[PICTURE]]}},
    "array": {"inputs": ARRAY.tolist()},
    "array of floats": {"instances": full(200.0)},
    "top_k": {"inputs": [PICTURE], "params": {"top_k": 2}},
}
REFUSED: dict[str, Any] = {
    "0-1": {"inputs": full(0.5)},
    "negative": {"inputs": full(-3)},
    "wrong shape": {"inputs": full(3, (1, 9, 9, 3))},
    "no base64": {"inputs": ["cat.png"]},
    "half a picture": {"inputs": [text_of(file_of(noise())[:500])]},
    "50,000 x 50,000": {"inputs": [text_of(header_only(50_000, 50_000))]},
    "another column": {"dataframe_records": [{"picture": PICTURE}]},
    "null": {"inputs": None},
    "top_k 101": {"inputs": [PICTURE], "params": {"top_k": 101}},
    "no JSON": "{",
}


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose `sitecustomize` hides our package from every Python started with it."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "sitecustomize.py").write_text("import sys\nsys.modules['imagelab'] = None\n")
    return folder


@pytest.fixture(scope="module")
def environment(elsewhere: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PYTHONPATH": str(elsewhere), "PATH": path, "TF_CPP_MIN_LOG_LEVEL": "3"}


@pytest.fixture(scope="module")
def address(colour_path: Path, elsewhere: Path, environment: dict[str, str]) -> Iterator[str]:
    port = free_port()
    command = [MLFLOW, "models", "serve", "-m", str(colour_path), "--env-manager", "local", "-p", str(port)]
    with (elsewhere / "log").open("w") as log:
        server = subprocess.Popen(
            command, cwd=elsewhere, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        address = f"http://127.0.0.1:{port}"
        wait_until(lambda: answers(address))
        yield address
        os.killpg(server.pid, 15)
        server.wait(LONGEST)


def test_our_package_is_not_there(environment: dict[str, str], elsewhere: Path) -> None:
    found = subprocess.run([sys.executable, "-c", "import imagelab"], cwd=elsewhere, env=environment, check=False)
    assert found.returncode == 1


@pytest.mark.parametrize("name", OK)
def test_mlflow_models_serve_answers(address: str, name: str) -> None:
    response = requests.post(f"{address}/invocations", json=OK[name], timeout=LONGEST)
    assert response.status_code == 200, response.text
    assert grey_levels.level(response.text) == BRIGHT
    if name == "top_k":
        assert len(response.json()["predictions"][0]["top"]) == 2


@pytest.mark.parametrize("name", REFUSED)
def test_mlflow_models_serve_refuses(address: str, name: str) -> None:
    body = REFUSED[name] if isinstance(REFUSED[name], str) else json.dumps(REFUSED[name])
    response = requests.post(
        f"{address}/invocations", body, headers={"Content-Type": "application/json"}, timeout=LONGEST
    )
    assert response.status_code == 400, response.text


def test_mlflow_models_predict_by_alias(
    shop: Project, tmp_path: Path, elsewhere: Path, environment: dict[str, str]
) -> None:
    asked, answered = tmp_path / "asked.json", tmp_path / "answered.json"
    asked.write_text(json.dumps({"inputs": [PICTURE, text_of(plain(255))]}))
    uri = ["-m", "models:/digits-basic_cnn@champion", "--env-manager", "local"]
    command = [MLFLOW, "models", "predict", *uri, "-i", str(asked), "-o", str(answered), "-t", "json"]
    env = {**environment, "MLFLOW_TRACKING_URI": shop.uri}
    subprocess.run(command, cwd=elsewhere, env=env, check=True, capture_output=True, timeout=LONGEST)
    rows = json.loads(answered.read_text())["predictions"]
    assert [row["label"] for row in rows] == ["first 7", "first 9"]


def test_load_model_needs_nothing_of_ours(colour_path: Path, elsewhere: Path, environment: dict[str, str]) -> None:
    code = f"""
import sys, mlflow, numpy as np
model = mlflow.pyfunc.load_model({str(colour_path)!r})
print(model.predict(np.full((1, 8, 8, 3), 200, np.uint8)).to_json(orient="records"))
network = mlflow.keras.load_model({str(colour_path)!r})
assert network(np.full((1, 8, 8, 3), 200.0)).shape == (1, 100)
assert sys.modules["imagelab"] is None
"""
    command = [sys.executable, "-c", code]
    options: dict[str, Any] = {"cwd": elsewhere, "env": environment, "text": True, "capture_output": True}
    found = subprocess.run(command, check=False, timeout=LONGEST, **options)
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)[0]["label"] == f"level {BRIGHT}"


def test_the_folder_of_the_model_is_all_that_an_image_needs(
    colour_path: Path, tmp_path: Path, elsewhere: Path, environment: dict[str, str]
) -> None:
    """`mlflow models build-docker` builds what generate-dockerfile writes; here is no Docker to do it."""
    folder = tmp_path / "context"
    command = [MLFLOW, "models", "generate-dockerfile", "-m", str(colour_path), "-d", str(folder)]
    subprocess.run(command, cwd=elsewhere, env=environment, check=True, capture_output=True, timeout=LONGEST)
    [model] = [path.parent for path in folder.rglob("MLmodel")]
    assert f"COPY {model.parent.relative_to(folder)}" in (folder / "Dockerfile").read_text()
    files = {str(path.relative_to(model)) for path in model.rglob("*") if path.is_file()}
    assert {"MLmodel", "requirements.txt", "served_model.py", "artifacts/model.keras"} <= files
    assert not [name for name in files if name.endswith((".pkl", ".pickle", ".lock", "pyproject.toml"))]
    pins = (model / "requirements.txt").read_text().split()
    assert {pin.split("==")[0] for pin in pins} == {"keras", "mlflow", "numpy", "pandas", "pillow", "tensorflow"}
    assert all(pin.count("==") == 1 for pin in pins)
    for name in ("served_model.py", "requirements.txt", "conda.yaml", "python_env.yaml"):
        assert "imagelab" not in (model / name).read_text()
    assert "imagelab" in (ROOT / "pyproject.toml").read_text()  # so the search above would find it
