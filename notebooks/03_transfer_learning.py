# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 3. Transfer learning
#
# CIFAR-100 has a hundred classes and small colour pictures. A network that begins from nothing has a hard time with a
# few images a class. ResNet50 has seen 1.2 million pictures of ImageNet: its layers know edges, fur and wheels already.
# This page lets it stay as it is and trains only a small *head* on top (frozen), asks what the size of the images does,
# and then lets its last layers learn, too (fine-tuning).
#
# Everything here learns from 1,200 images (of 50,000) and is scored on 600 other ones, so that the page is made in a
# few minutes. So the numbers are lower than in the README, and uncertain by about 2 points: smaller differences may be
# luck. The same 600 images choose the best epoch, which flatters all networks a little.

# %% tags=["parameters"]
import os

QUICK = bool(os.environ.get("IMAGELAB_NOTEBOOK_QUICK"))  # the tests run this page on tiny data
DATASET, MODEL = ("digits", "mobilenet_v2") if QUICK else ("cifar100", "resnet50")
LIMIT, SIZES, EPOCHS = (90, (32, 48), 2) if QUICK else (1_800, (32, 64, 96), 15)
FINE_TUNED_SIZE, FINE_TUNE_AT = (32, "block_16_project") if QUICK else (64, "conv5_block1_1_conv")
FINE_TUNE_EPOCHS = 1 if QUICK else 2
OWN_WEIGHTS = (
    "mobilenet.weights.h5" if QUICK else "resnet50_imagenet_notop.weights.h5"
)  # taken where there is such a file

# %%
# %matplotlib inline
from imagelab.keras_startup import start_keras

start_keras()

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from imagelab.data import load_dataset
from imagelab.data.cache import weights_folder
from imagelab.data.split import SplitSpec
from imagelab.figures.curves import draw_curves
from imagelab.figures.galleries import draw_samples
from imagelab.models import build_model
from imagelab.models.transfer import backbone_of, head_of, unfreeze
from imagelab.settings import ExperimentSettings
from imagelab.training import Checkpoints, FitEvents, FitPlan, Fitter

# %%
dataset = load_dataset(DATASET)
split = SplitSpec(split_seed=0, validation_fraction=1 / 3, limit=LIMIT)
fitter = Fitter(dataset, split, feature_cache_limit=20)
print(
    f"{len(fitter.splits[0]):,} images to learn from, {len(fitter.splits[1]):,} to score by, {dataset.num_classes} classes"
)
some = dataset.train.labels < 20
draw_samples(
    dataset.train.images[some], dataset.train.labels[some], dataset.class_names, f"{dataset.name}: some classes"
)

# %% [markdown]
# ## From nothing
#
# First what an ordinary network makes of so few images. `Fitter` is the part of the package that trains; settings that
# are not named come from the recipe.


# %%
def fit(model, **changes):
    """Train a network; return a row an epoch, and the seconds that the features of a frozen backbone took."""
    settings = ExperimentSettings(dataset=DATASET, model=model, epochs=EPOCHS, **changes).with_recipe()
    plan = FitPlan(dtype_policy="float32", **settings.arguments_of(FitPlan))
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder), settings.monitor)
        fitter.fit(plan, checkpoints, FitEvents(on_features=lambda features: seconds.append(features.spent.computing)))
    return checkpoints.rows, sum(seconds)


def best(rows):
    """The row of the epoch with the lowest loss on the images to score by."""
    return min(rows, key=lambda row: row["val_loss"])


# %%
# %%capture
# The lines of the epochs are not shown here: see notebook 1.
from_nothing, _ = fit("basic_cnn")

# %%
print(f"basic_cnn from nothing: {best(from_nothing)['val_accuracy']:.1%}; guessing: {1 / dataset.num_classes:.1%}")

# %% [markdown]
# ## Frozen: a backbone and a head
#
# The pretrained part is called the backbone. Frozen, its weights do not change; only the head learns. Pictures are
# enlarged to the size that the backbone is to see, and get the preprocessing that it was trained with: that, too, is
# part of the network, because with another one (such as pixels / 255 for ResNet50) a frozen backbone is nearly blind.
#
# Keras's own weights are used where they can be had, or a file in Keras's folder for models. The outputs below were
# made with the pruned ResNet50 that [docs/results.md](../docs/results.md#a-pretrained-network) describes: a little
# weaker than Keras's own.

# %%
own = next((path for path in (Path(OWN_WEIGHTS), weights_folder() / OWN_WEIGHTS) if path.exists()), None)
weights = {"weights": str(own) if own else "imagenet"}
recipe = ExperimentSettings(dataset=DATASET, model=MODEL, **weights).with_recipe()
of_network = {**weights, "head": recipe.head, "pooled_stages": recipe.pooled_stages}
network = build_model(MODEL, dataset.image_shape, dataset.num_classes, image_size=SIZES[0], **of_network)


def sizes(network):
    """Parameters of backbone and head, and how many of them can learn."""
    return pd.DataFrame(
        {
            name: {
                "parameters": f"{part.count_params():,}",
                "can learn": f"{sum(int(np.prod(weight.shape)) for weight in part.trainable_weights):,}",
            }
            for name, part in {"backbone": backbone_of(network), "head": head_of(network)}.items()
        }
    ).T


sizes(network)

# %% [markdown]
# A frozen backbone always says the same about the same image. So it is asked once, and its answers (*features*) are
# kept on disk; the head then learns from them in seconds, as often as one likes.
#
# ## What the size of the images does
#
# The pictures have 32 x 32 pixels. ResNet50 halves its input five times: of 32 pixels one remains, and nothing of
# *where* anything was. It has learned from pictures of 224 pixels. Enlarging adds no information, but puts edges and
# textures at the size that its layers know. It costs: twice the side is four times
# the arithmetic. (With as few images as here, part of the seconds below is the start.)

# %%
# %%capture
# The lines of the epochs are not shown here: see notebook 1.
frozen = {size: fit(MODEL, image_size=size, **weights) for size in SIZES}

# %%
table = pd.DataFrame(
    {
        f"{size} pixels": {
            "accuracy": best(rows)["val_accuracy"],
            "top-5 accuracy": best(rows).get("val_top_5_accuracy", np.nan),
            "seconds for the features": round(seconds, 1),
            "seconds for the head": round(sum(row["epoch_seconds"] for row in rows), 1),
        }
        for size, (rows, seconds) in frozen.items()
    }
).T
table.style.format({"accuracy": "{:.1%}", "top-5 accuracy": "{:.1%}"}, precision=1)

# %%
figure = Figure(figsize=(6.5, 3.6), layout="constrained")
axes = figure.subplots()
axes.plot(list(SIZES), 100 * table["accuracy"], "o-", label=f"{MODEL}, frozen")
axes.axhline(100 * best(from_nothing)["val_accuracy"], linestyle="--", color="C1", label="basic_cnn from nothing")
axes.set(xlabel="side of the images that the backbone sees, in pixels", ylabel="accuracy in %", xticks=list(SIZES))
axes.set_ylim(bottom=0)
axes.grid(alpha=0.3)
axes.legend()
figure

# %%
gain = 100 * (table["accuracy"].max() - best(from_nothing)["val_accuracy"])
print(f"the pretrained backbone, at the best of these sizes, against basic_cnn from nothing: {gain:+.1f} points")

# %% [markdown]
# ## Fine-tuning
#
# Once the head knows something, the last layers of the backbone may learn as well, in small steps, so that they do not
# forget what they knew. (With an untrained head, its errors would spoil them; that is why the head comes first.) Batch
# normalisation keeps its pretrained statistics.

# %%
network = build_model(MODEL, dataset.image_shape, dataset.num_classes, image_size=FINE_TUNED_SIZE, **of_network)
unfreeze(network, FINE_TUNE_AT)
sizes(network)

# %%
# %%capture
# The lines of the epochs are not shown here: see notebook 1.
fine_tuning = {"fine_tune_epochs": FINE_TUNE_EPOCHS, "fine_tune_at": FINE_TUNE_AT, "fine_tune_learning_rate": 1e-4}
fine_tuned, _ = fit(MODEL, image_size=FINE_TUNED_SIZE, **weights, **fine_tuning)

# %%
draw_curves(fine_tuned, best(fine_tuned)["epoch"], f"{MODEL} at {FINE_TUNED_SIZE} pixels: the head, then fine-tuning")

# %%
head_rows = [row for row in fine_tuned if row["phase"] == "head"]
later_rows = [row for row in fine_tuned if row["phase"] == "fine_tune"]
change = 100 * (best(later_rows)["val_accuracy"] - best(head_rows)["val_accuracy"])
print(
    f"fine-tuning at {FINE_TUNED_SIZE} pixels: {change:+.1f} points, {later_rows[-1]['epoch_seconds']:.0f} s an epoch"
)
print(f"an epoch of the head: {head_rows[-1]['epoch_seconds']:.1f} s")

# %% [markdown]
# A difference of a point or two can be luck here, as above. A larger picture is the better bargain here, as the table
# above shows: it is paid once, and every head after that is cheap.
#
# ## The command that does the same
#
# On all images, and with the test images read once at the end:
#
# ```bash
# mlflow run . -e train --env-manager local -P dataset=cifar100 -P model=resnet50 -P image_size=64
# mlflow run . -e train --env-manager local -P dataset=cifar100 -P model=resnet50 -P image_size=64 -P fine_tune_epochs=2 -P fine_tune_at=conv5_block1_1_conv -P fine_tune_learning_rate=0.0001
# ```
