# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 6. Reading mistakes
#
# An accuracy says how often a network is right. This page asks the rest: *which* classes are hard, whether mistakes are
# near misses, *where* the network looked, and whether it knows when it is unsure.
#
# Two networks are trained, on clothing and on the hundred classes of CIFAR-100, each from a part of the training images
# only (`limit`), so that the page is made in minutes. With all images there are fewer mistakes.

# %% tags=["parameters"]
import os

QUICK = bool(os.environ.get("IMAGELAB_NOTEBOOK_QUICK"))  # the tests run this page on tiny data
CLOTHES, HUNDRED = ("digits", "digits") if QUICK else ("fashion_mnist", "cifar100")
LIMITS, EPOCHS = ((300, 300), (3, 3)) if QUICK else ((8_000, 10_000), (5, 6))

# %%
# %matplotlib inline
from imagelab.keras_startup import start_keras

start_keras()

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from imagelab.data import load_dataset
from imagelab.data.split import SplitSpec
from imagelab.evaluation.scores import Evaluation
from imagelab.evaluation.temperature import fit_temperature, soften
from imagelab.explanation.grad_cam import GradCam
from imagelab.explanation.pictures import overlay
from imagelab.figures.confusion import draw_confusion
from imagelab.figures.galleries import draw_predictions
from imagelab.settings import ExperimentSettings
from imagelab.training import Checkpoints, FitEvents, FitPlan, Fitter

# %% [markdown]
# ## Two networks
#
# `Evaluation` holds what a network says of images: probabilities beside the truth. It knows all tables of this page.


# %%
@dataclass
class Trained:
    """A data set, a network, and what the network says of the images to choose by and of the test images."""

    dataset: Any
    network: Any
    validation: Evaluation
    test: Evaluation


def train(dataset, limit, epochs):
    """Train basic_cnn with the data set's recipe, on the first `limit` images."""
    settings = ExperimentSettings(dataset=dataset.name, model="basic_cnn", epochs=epochs).with_recipe()
    plan = FitPlan(dtype_policy="float32", **settings.arguments_of(FitPlan))
    fitter = Fitter(dataset, SplitSpec(split_seed=0, validation_fraction=0.1, limit=limit), feature_cache_limit=20)
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder), settings.monitor)
        fitter.fit(plan, checkpoints, FitEvents())
        network = fitter.best_network(plan, checkpoints)
    return Trained(dataset, network, ask(network, dataset, fitter.splits[1]), ask(network, dataset, dataset.test))


def ask(network, dataset, split):
    """What a network says of images."""
    probabilities = network.predict(split.images, batch_size=500, verbose=0)
    names = (dataset.class_names, dataset.superclasses, dataset.superclass_names)
    return Evaluation(split.labels, probabilities, *names)


clothes, hundred = load_dataset(CLOTHES), load_dataset(HUNDRED)
if QUICK:  # digits have no superclasses: odd and even
    hundred = replace(hundred, superclasses=(0, 1) * 5, superclass_names=("even", "odd"))

# %%
# %%capture
# The lines of the epochs are not shown here: see notebook 1.
of_clothes = train(clothes, LIMITS[0], EPOCHS[0])
of_hundred = train(hundred, LIMITS[1], EPOCHS[1])

# %%
scores = {each.dataset.name: each.test.scores() for each in (of_clothes, of_hundred)}
pd.DataFrame(scores).T.round(4)

# %% [markdown]
# ## Hard classes and easy ones
#
# Worst first: how often each class is recognised, and what it is taken for.

# %%
test = of_clothes.test
table = test.per_class()
table.round(3)

# %%
hardest, easiest = table.iloc[0], table.iloc[-1]
print(
    f"hardest: {hardest['class']} ({hardest['accuracy']:.1%}), most often taken for {hardest['most_often_taken_for']}"
)
print(f"easiest: {easiest['class']} ({easiest['accuracy']:.1%})")

# %%
draw_confusion(test.confusion, test.display_order(), [], f"{clothes.name}: accuracy {test.correct.mean():.1%}")

# %% [markdown]
# Shirts, T-shirts, pullovers and coats are all a torso with sleeves.
# The mistakes of which the network was surest:

# %%
wrong = np.flatnonzero(~test.correct)
surest = wrong[np.argsort(-test.confidence[wrong], kind="stable")][:16]


def show(images, numbers, title):
    """Images with what the network says of them; `numbers` are those of the test images."""
    of_them = (test.labels[numbers], test.predicted[numbers], test.confidence[numbers])
    return draw_predictions(images, *of_them, clothes.class_names, title)


show(clothes.test.images[surest], surest, "wrong, and sure of it")

# %% [markdown]
# ## Where it looked: Grad-CAM
#
# Grad-CAM asks which places of the last feature maps the answer depends on, and paints them red. It does not
# say why the network was right or wrong. It weighs a feature by its mean over places, but this network weighs each
# place by itself (Flatten, then Dense): a red background is no proof that the network uses it. The first of these
# mistakes again, each explained for the class that was named:

# %%
images = clothes.test.images[surest[:8]]
heat = GradCam(of_clothes.network).heat(images)
pictures = np.stack([overlay(image, each) for image, each in zip(images, heat, strict=True)])
show(pictures, surest[:8], "wrong: where the network looked for the class that it named")

# %% [markdown]
# The same images, but asked for the *true* class. In some of them it lies elsewhere; in most, the same places speak for
# both classes.

# %%
heat = GradCam(of_clothes.network).heat(images, test.labels[surest[:8]])
pictures = np.stack([overlay(image, each) for image, each in zip(images, heat, strict=True)])
show(pictures, surest[:8], "the same images: what speaks for the true class")

# %% [markdown]
# ## Near misses: superclasses
#
# The hundred classes of CIFAR-100 belong to twenty superclasses: a maple taken for an oak is a smaller mistake than a
# maple taken for a bus.

# %%
test = of_hundred.test
found = test.scores()
others = (np.bincount(hundred.superclasses)[np.array(hundred.superclasses)] - 1).mean() / (hundred.num_classes - 1)
print(f"right class: {found['accuracy']:.1%}; right superclass: {found['superclass_accuracy']:.1%}")
print(
    f"of the mistakes {found['errors_inside_superclass']:.1%} stay inside the superclass; by chance it would be {others:.1%}"
)

# %%
coarse = np.arange(len(hundred.superclass_names))
title = f"{hundred.name}: superclasses, accuracy {found['superclass_accuracy']:.1%}"
draw_confusion(test.superclass_confusion, coarse, [], title)

# %%
superclasses = test.superclass_table()
pd.concat([superclasses.head(4), superclasses.tail(4)]).round(3)

# %% [markdown]
# The superclasses whose classes are told apart worst and best. And the pairs of classes that are mistaken most:

# %%
test.most_confused().head(8).round(3)

# %% [markdown]
# ## Does it know when it is unsure? Calibration
#
# If a network is 80 % sure, it should be right 80 times of 100. The calibration error is the average gap between the
# two. One number, the *temperature*, mends much of a large gap: all answers are made less sure (above 1) or surer (below
# 1), in the same way. It is fitted on the validation images and changes no answer, only how sure the network is of it.
# Where the gap is small already there is little to gain, and a little can be lost: look at both data sets.

# %%
rows, after = {}, {}
for each in (of_clothes, of_hundred):
    temperature = fit_temperature(each.validation.labels, each.validation.probabilities)
    after[each.dataset.name] = replace(each.test, probabilities=soften(each.test.probabilities, temperature))
    for when, evaluation in (("before", each.test), ("after", after[each.dataset.name])):
        known = {name: evaluation.scores()[name] for name in ("accuracy", "calibration_error", "loss")}
        rows[each.dataset.name, when] = {"temperature": temperature if when == "after" else 1.0, **known}
pd.DataFrame(rows).T.round(4)

# %%
figure = Figure(figsize=(9, 4), layout="constrained")
for axes, each in zip(figure.subplots(1, 2), (of_clothes, of_hundred), strict=True):
    axes.plot([0, 1], [0, 1], ":", color="gray", label="knows what it knows")
    for label, evaluation in (("before", each.test), ("after", after[each.dataset.name])):
        table = evaluation.calibration()
        axes.plot(table["confidence"], table["accuracy"], "o-", label=label)
    axes.set(title=each.dataset.name, xlabel="how sure", ylabel="how often right", xlim=(0, 1), ylim=(0, 1))
    axes.grid(alpha=0.3)
    axes.legend()
figure

# %% [markdown]
# Below the dotted line a network is too sure of itself, above it too modest. Where the points jump there are only a few
# images: hardly any answer of that network has such a probability.
#
# ## The command that does the same
#
# Every training leaves the tables in its run. `evaluate` makes them for a finished network, with `calibrate=true` it
# fits the temperature, too. `explain` makes the Grad-CAM maps. `RUN_ID` is the training of which data set you like:
#
# ```bash
# mlflow run . -e train --env-manager local -P dataset=fashion_mnist -P model=basic_cnn -P limit=8000 -P epochs=5
# mlflow run . -e train --env-manager local -P dataset=cifar100 -P model=basic_cnn -P limit=10000 -P epochs=6
# mlflow run . -e evaluate --env-manager local -P run_id=RUN_ID -P calibrate=true
# mlflow run . -e explain --env-manager local -P run_id=RUN_ID
# ```
