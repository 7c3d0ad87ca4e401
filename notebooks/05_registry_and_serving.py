# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 5. From a run to a server
#
# A good run is not yet a model that others use. Somebody must say *this one*, check that it is not worse than the one
# in use, be able to take it back, and let it answer. This page promotes a model, lets a worse one be refused, serves
# the champion over HTTP, exchanges it while the server runs, and takes that back.
#
# The networks learn from a few thousand images only (`limit`), so that the page is made in minutes.

# %% tags=["parameters"]
import os

QUICK = bool(os.environ.get("IMAGELAB_NOTEBOOK_QUICK"))  # the tests run this page on tiny data
NAMES = {"dataset": "digits" if QUICK else "fashion_mnist", "model": "basic_ann" if QUICK else "basic_cnn"}
LIMIT = 400 if QUICK else 4_000
EPOCHS = {"good": 8, "poor": 1, "better": 16} if QUICK else {"good": 2, "poor": 1, "better": 5}

# %%
# %matplotlib inline
from imagelab.keras_startup import start_keras

start_keras()

import atexit
import base64
import io
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import requests
from matplotlib.figure import Figure
from PIL import Image

import imagelab
from imagelab.data import load_dataset
from imagelab.errors import RegistryError
from imagelab.experiment import run_experiment
from imagelab.registry.promotion import promote
from imagelab.registry.rollback import roll_back
from imagelab.settings import PromoteSettings, RollbackSettings, TrainSettings
from imagelab.tracking import use_tracking_store

# %% [markdown]
# ## Three runs
#
# Of one network, trained for longer or shorter. (For such an example the poor one has a tiny learning rate, too.)

# %%
# %%capture
# The lines of the epochs are not shown here: see notebook 1.
slow = {"good": {}, "poor": {"learning_rate": 1e-5}, "better": {}}
runs = {
    name: run_experiment(TrainSettings(**NAMES, limit=LIMIT, epochs=epochs, **slow[name]))
    for name, epochs in EPOCHS.items()
}

# %%
pd.DataFrame(
    {
        name: {"validation accuracy": f"{run.best_val_accuracy:.2%}", "test accuracy": f"{run.test_accuracy:.2%}"}
        for name, run in runs.items()
    }
).T

# %% [markdown]
# ## Promote
#
# `promote` registers the model of a run, compares it with the champion on validation images that neither has learned
# from, and moves the alias `champion` if it is not worse. The first one has nobody to beat.

# %%
first = promote(PromoteSettings(**NAMES, run_id=runs["good"].run_id))
print(first.split("; run ")[0])

# %% [markdown]
# A worse one is refused, with the reason. It stays in the registry as `challenger`; the champion has not moved.

# %%
try:
    promote(PromoteSettings(**NAMES, run_id=runs["poor"].run_id))
except RegistryError as error:
    print(f"refused: {str(error).split('; run ')[0]}")

# %% [markdown]
# ## Serve
#
# The server is a command; in a terminal it runs until Ctrl-C. Here it is a process beside this page.

# %%
use_tracking_store()  # from here on MLFLOW_TRACKING_URI says where the runs are, for the server, too
project = Path(imagelab.__file__).parents[2]
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))  # a port that nobody uses
    port = free.getsockname()[1]
address = f"http://127.0.0.1:{port}"
names = [f"--{name}={value}" for name, value in NAMES.items()]
command = [sys.executable, "-m", "entrypoints.serve", *names, f"--port={port}", "--poll_seconds=0.5"]
said = Path(tempfile.mkdtemp()) / "server.log"
with said.open("w") as log:
    server = subprocess.Popen(command, cwd=project, stdout=log, stderr=log)
atexit.register(server.terminate)  # it ends with this page at the latest


def until(condition, seconds=300):
    """Wait until something holds, as long as the server lives."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert server.poll() is None, said.read_text()
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.2)


def is_healthy():
    """Whether the server answers, and the model behind it."""
    try:
        return requests.get(f"{address}/health", timeout=10).ok
    except requests.ConnectionError:
        return False


until(is_healthy)
print("status of /health:", requests.get(f"{address}/health", timeout=10).status_code)


# %% [markdown]
# Pictures go in as people have them: PNG, JPEG and so on, of any size, as base64 text. `top_k` says how many guesses
# come back.


# %%
def png(image):
    """An image, uint8 (height, width, channels), as base64 text of a PNG file."""
    content = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode()


def ask(images):
    """The server's answer to some images, and which version has answered."""
    body = {"inputs": [png(image) for image in images], "params": {"top_k": 3}}
    response = requests.post(f"{address}/invocations", json=body, timeout=60)
    response.raise_for_status()
    return response.json()["predictions"], response.headers["X-Model-Version"]


dataset = load_dataset(NAMES["dataset"])
images, labels = dataset.test.images[:6], dataset.test.labels[:6]
answers, version = ask(images)
print(f"version {version} says of the first image:")
answers[0]

# %%
figure = Figure(figsize=(10, 4.2), layout="constrained")
pictures, bars = figure.subplots(2, 6)
for image, label, answer, picture, bar in zip(images, labels, answers, pictures, bars, strict=True):
    picture.imshow(image.squeeze(), cmap="gray")
    picture.axis("off")
    truth = dataset.class_names[label]
    picture.set_title(f"truly {truth}", fontsize=9, y=1)
    guesses = answer["top"][::-1]
    colors = ["#2a7a2a" if guess["label"] == truth else "#999999" for guess in guesses]
    bar.barh([guess["label"] for guess in guesses], [guess["probability"] for guess in guesses], color=colors)
    bar.set(xlim=(0, 1), xticks=[0, 1])
    bar.tick_params(labelsize=8)
figure.suptitle(f"What the server says of six test images (version {version}); the true class in green")
figure

# %% [markdown]
# What cannot be answered is refused in one sentence, such as pixels that were scaled already:

# %%
wrong = {"inputs": (images[:1] / 255).tolist()}
response = requests.post(f"{address}/invocations", json=wrong, timeout=60)
print(response.status_code, response.json()["message"])

# %% [markdown]
# ## A better one, while the server runs
#
# The server follows the alias. Nobody restarts it, and no request fails meanwhile, however many there are:
# `test_the_alias_moves_under_load` in `tests/serving/` tries that.

# %%
second = promote(PromoteSettings(**NAMES, run_id=runs["better"].run_id))
print(second.split("; run ")[0])

# %%
before = version
until(lambda: ask(images)[1] != before)
print(f"version {before} has answered; now it is version {ask(images)[1]}")

# %% [markdown]
# ## Take it back
#
# `rollback` makes the previous champion the champion again, without a question about accuracy: whoever needs it is in a
# hurry.

# %%
back = roll_back(RollbackSettings(**NAMES))
print(back.split("; run ")[0])
until(lambda: ask(images)[1] == before)
print(f"the server answers with version {ask(images)[1]} again")

# %%
server.terminate()
server.wait(timeout=60)
print("the server has stopped; exit code", server.returncode)

# %% [markdown]
# ## Without the server
#
# The champion is an ordinary MLflow model. Anybody with access to the registry loads it by its name; it needs nothing
# of this project.

# %%
model = mlflow.pyfunc.load_model(f"models:/{NAMES['dataset']}-{NAMES['model']}@champion")
table = model.predict(images)[["label", "probability"]]
table["truth"] = np.array(dataset.class_names)[labels]
table

# %% [markdown]
# ## The command that does the same
#
# ```bash
# mlflow run . -e train --env-manager local -P dataset=fashion_mnist -P model=basic_cnn -P limit=4000 -P epochs=5
# mlflow run . -e promote --env-manager local -P dataset=fashion_mnist -P model=basic_cnn -P run_id=RUN_ID
# mlflow run . -e serve --env-manager local -P dataset=fashion_mnist -P model=basic_cnn
# ```
#
# In another terminal, once a second run was promoted in the same way:
#
# ```bash
# mlflow run . -e rollback --env-manager local -P dataset=fashion_mnist -P model=basic_cnn
# ```
#
# Without `run_id`, `promote` takes the finished run with the best validation accuracy that was trained on all images.
