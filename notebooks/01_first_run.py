# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 1. A first run
#
# One network learns to tell ten kinds of clothing apart: what the data look like, what is done to them, what the
# network is, how it learns, and where it is wrong. All code is that of the package `imagelab`; nothing happens behind
# the scenes.
#
# The network learns from a part of the training images only (`limit` below), so that this page is made in a minute. On
# all of them it is a few points better: the README has those results.

# %% tags=["parameters"]
import os

QUICK = bool(os.environ.get("IMAGELAB_NOTEBOOK_QUICK"))  # the tests run this page on tiny data
DATASET, MODEL = ("digits", "basic_cnn") if QUICK else ("fashion_mnist", "basic_cnn")
LIMIT, EPOCHS = (200, 2) if QUICK else (10_000, 5)

# %%
# %matplotlib inline
from imagelab.keras_startup import start_keras

start_keras()  # imports Keras and TensorFlow: quietly, and with the kernels that are fast on this processor

import keras
import mlflow
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from imagelab.data import load_dataset
from imagelab.data.batches import make_batches
from imagelab.data.split import SplitSpec
from imagelab.experiment import run_experiment
from imagelab.figures.confusion import draw_confusion
from imagelab.figures.curves import draw_curves
from imagelab.figures.galleries import draw_samples
from imagelab.models import build_model
from imagelab.settings import TrainSettings
from imagelab.tracking import use_tracking_store

# %% [markdown]
# ## The data
#
# A data set is two arrays twice: images and labels, to learn from and to test by. A label is the number of a class. The
# loader has checked every pixel by SHA-256, so nobody trains on a damaged file.

# %%
dataset = load_dataset(DATASET)
parts = {"train": dataset.train, "test": dataset.test}
pd.DataFrame(
    {
        name: {
            "images": str(part.images.shape),
            "labels": str(part.labels.shape),
            "type of a pixel": str(part.images.dtype),
            "pixels from": part.images.min(),
            "to": part.images.max(),
        }
        for name, part in parts.items()
    }
).T

# %% [markdown]
# The shape is (images, height, width, channels); grey pictures have one channel. The first image of each class:

# %%
draw_samples(dataset.train.images, dataset.train.labels, dataset.class_names, f"{dataset.name}: one of each class")

# %% [markdown]
# **Balance.** If one class had most of the images, a network could be right most of the time by always naming that one.
# So the first thing to look at is how many images each class has.

# %%
counts = pd.DataFrame(
    {name: np.bincount(part.labels, minlength=dataset.num_classes) for name, part in parts.items()},
    index=pd.Index(dataset.class_names, name="class"),
)
figure = Figure(figsize=(9, 2.8), layout="constrained")
axes = figure.subplots()
counts.plot.bar(ax=axes, rot=30, xlabel="", ylabel="images", color=["#4c72b0", "#dd8452"])
figure

# %%
share = counts["test"].max() / counts["test"].sum()
print(f"images of a class: {counts['train'].min():,} to {counts['train'].max():,} to learn from")
print(f"who always names the most frequent class is right in {share:.1%} of the test images")

# %% [markdown]
# **Three parts, not two.** Some training images are kept to *choose* by: after which epoch the network was best, which
# settings are better. They are called the validation split. The test images are looked at once, at the end; whoever
# chooses by them reports luck.

# %%
split = SplitSpec(split_seed=0, validation_fraction=0.1, limit=LIMIT)
train_split, val_split = split.split(dataset.train)
print(f"{len(train_split):,} images to learn from, {len(val_split):,} to choose by, {len(dataset.test):,} to test")

# %% [markdown]
# ## What is done to the data
#
# **Normalisation.** Pixels are whole numbers from 0 to 255. Networks learn better from small numbers, so they are
# divided by 255. Here that is the first layer of the network itself: whoever uses the network later gives it pixels as
# they are and cannot forget the division or do it twice.

# %%
keras.utils.set_random_seed(0)  # the network begins with random weights: the same ones each time
network = build_model(MODEL, dataset.image_shape, dataset.num_classes)
pixels = train_split.images[:1]
scaled = np.asarray(network.layers[0](pixels))
print(f"before: {pixels.dtype}, {pixels.min()} to {pixels.max()}, mean {pixels.mean():.1f}")
print(
    f"after the layer {network.layers[0].name}: {scaled.dtype}, {scaled.min()} to {scaled.max()}, mean {scaled.mean():.3f}"
)

# %% [markdown]
# **One-hot.** The network gives a probability for each class. To say how wrong it was, the truth needs the same form: 1
# at the place of the true class and 0 elsewhere. The loss (categorical cross-entropy) is then minus the logarithm of
# the probability that the true class got. Classes 2 and 3 are not "closer" to each other than 2 and 9, as plain numbers
# would say.

# %%
_, one_hot = next(iter(make_batches(train_split, dataset.num_classes, batch_size=4)))
table = pd.DataFrame(one_hot.numpy().astype(int), columns=dataset.class_names)
table.insert(0, "label", train_split.labels[:4])
table

# %% [markdown]
# ## The network
#
# Two convolutions find small patterns, wherever they are in the picture; pooling keeps the strongest of four
# neighbours; one dense layer puts them together. Dropout switches off half of that layer's numbers at random while it
# learns, so that it relies on no single one.

# %%
network.summary(print_fn=lambda line, **_: print(line), line_length=90)

# %% [markdown]
# Untrained, it guesses. Its loss is near the logarithm of the number of classes:

# %%
probabilities = network.predict(val_split.images, verbose=0)
of_truth = probabilities[np.arange(len(val_split)), val_split.labels]
print(f"loss {-np.log(of_truth).mean():.2f}; log({dataset.num_classes}) = {np.log(dataset.num_classes):.2f}")
print(f"right: {(probabilities.argmax(axis=1) == val_split.labels).mean():.1%}")

# %% [markdown]
# ## Training
#
# One call does the rest and leaves an MLflow run. What is not given (batch size, learning rate and so on) comes from
# the recipe of this data set and network. Each line is an epoch: once through all images to learn from.

# %%
settings = TrainSettings(dataset=DATASET, model=MODEL, limit=LIMIT, epochs=EPOCHS)
settings.with_recipe().model_dump(include={"batch_size", "learning_rate", "learning_rate_schedule", "epochs", "seed"})

# %%
result = run_experiment(settings)

# %%
print(f"best epoch {result.best_epoch}: validation accuracy {result.best_val_accuracy:.2%}")
print(f"test accuracy {result.test_accuracy:.2%}")

# %% [markdown]
# ## What the run holds
#
# Everything from here on is read from the run, as anybody can who finds it a year later.

# %%
client = use_tracking_store()
run = client.get_run(result.run_id)
pd.Series({name: value for name, value in sorted(run.data.metrics.items()) if name.startswith("test_")}).round(4)


# %%
def artifacts(path=None):
    """The paths of all files of the run."""
    for entry in client.list_artifacts(result.run_id, path):
        yield from artifacts(entry.path) if entry.is_dir else [entry.path]


def table_of(path):
    """A table of the run."""
    return pd.read_csv(mlflow.artifacts.download_artifacts(run_id=result.run_id, artifact_path=path))


print(*sorted(path for path in artifacts() if not path.startswith(("checkpoints", "images"))), sep="\n")

# %% [markdown]
# **Curves.** Where the training curve goes on improving and the validation curve does not, the network learns the
# images by heart. (The training curve may lie below: dropout is at work while the network learns, not while it answers.)
# The learning rate, which is the size of its steps, falls towards zero: large steps first, small ones
# at the end.

# %%
rows = table_of("curves.csv").to_dict("records")
draw_curves(rows, result.best_epoch, f"{MODEL} on {DATASET}")

# %% [markdown]
# **Confusion matrix.** A row is a true class, a column what the network took it for. All that is not on the diagonal is
# a mistake.

# %%
confusion = table_of("evaluation/confusion_matrix.csv").set_index("true")
title = f"{MODEL} on {DATASET}: test split, accuracy {result.test_accuracy:.2%}"
draw_confusion(confusion, np.arange(len(confusion)), [], title)

# %%
table_of("evaluation/most_confused.csv").head(6)

# %% [markdown]
# What these mistakes look like, and what to make of them, is the story of [notebook 6](06_reading_mistakes.ipynb).
#
# ## The command that does the same
#
# ```bash
# mlflow run . -e train --env-manager local -P dataset=fashion_mnist -P model=basic_cnn -P limit=10000 -P epochs=5
# make ui
# ```
