# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 2. Comparing runs: is it luck?
#
# Two networks, two numbers, and one is larger. Is that network better, or was it lucky? The same network trained with
# another seed gives another number, too. This page trains four configurations, three of them with three seeds each, and
# lets tests decide.
#
# All use the first 12,000 images only (`LIMIT`), so that the page is made in minutes: a tenth of them validates, the
# others teach.

# %% tags=["parameters"]
import os

QUICK = bool(os.environ.get("IMAGELAB_NOTEBOOK_QUICK"))  # the tests run this page on tiny data
DATASET, LIMIT = ("digits", 200) if QUICK else ("fashion_mnist", 12_000)
SEEDS = (0, 1) if QUICK else (0, 1, 2)
ALL = {  # what each is trained with: settings, and its seeds
    "ANN": ({"model": "basic_ann", "epochs": 2 if QUICK else 10}, SEEDS),
    "ANN, another learning rate": ({"model": "basic_ann", "epochs": 10, "learning_rate": 0.0011}, SEEDS),
    "CNN": ({"model": "basic_cnn", "epochs": 2 if QUICK else 6}, SEEDS),
    "deeper CNN": ({"model": "deeper_cnn", "epochs": 6}, SEEDS[:1]),
}
TRAINED = {name: ALL[name] for name in ("ANN", "CNN")} if QUICK else ALL

# %%
# %matplotlib inline
from imagelab.keras_startup import start_keras

start_keras()

from dataclasses import replace

import pandas as pd
from matplotlib.figure import Figure

from imagelab.comparison.compare import compare_selection
from imagelab.comparison.pairs import frame_of_pairs
from imagelab.comparison.selection import select
from imagelab.comparison.table import labelled, rows_to_read
from imagelab.experiment import run_experiment
from imagelab.fit_from_settings import load_fitter
from imagelab.settings import CompareSettings, TrainSettings
from imagelab.tracking import use_tracking_store

# %% [markdown]
# ## Training
#
# Each training is an MLflow run. They have one split of the data in common, because `split_seed` is the same in all;
# `seed` fixes the first weights, the order of the images and what dropout switches off.

# %%
# %%capture
# The lines of the epochs are not shown here: see notebook 1.
first = TrainSettings(dataset=DATASET, limit=LIMIT)
fitter = load_fitter(first.with_recipe())  # the data, loaded and split once for all
results = {
    (name, seed): run_experiment(TrainSettings(dataset=DATASET, limit=LIMIT, seed=seed, **settings), fitter=fitter)
    for name, (settings, seeds) in TRAINED.items()
    for seed in seeds
}

# %%
pd.Series({key: f"{result.test_accuracy:.2%}" for key, result in results.items()}).unstack().fillna("")

# %% [markdown]
# A column is a seed. Look along a row: that is the size of luck. Only what differs by clearly more is worth talking
# about.
#
# The deeper CNN has one seed here, because it takes the longest; so nothing is known of its luck. It is behind after
# six epochs of 12,000 images. With all 60,000 images and its recommended settings it is ahead of the others
# ([docs/results.md](../docs/results.md)).
#
# ## Side by side
#
# `compare` reads the runs back from MLflow. What differs in nothing but the seed is one configuration; of all settings
# only those that differ are shown.

# %%
client = use_tracking_store()
wanted = CompareSettings(runs=",".join(result.run_id for result in results.values()))
selection = select(client, wanted)
selection = replace(selection, configurations=labelled(selection.configurations))
comparison = compare_selection(client, selection)
pd.DataFrame(rows_to_read(selection.configurations, comparison.results.epochs))

# %%
figure = Figure(figsize=(10, 3.8), layout="constrained")
accuracy, curves = figure.subplots(1, 2, width_ratios=[3, 4])
for place, configuration in enumerate(comparison.compared):
    values, color = configuration.values_of("test_accuracy"), f"C{place}"
    accuracy.barh(place, sum(values) / len(values), color=color, alpha=0.4)
    accuracy.plot(values, [place] * len(values), "o", color=color)
    for training in configuration.trainings:
        curve = comparison.results.curves[training.run_id]["val_accuracy"]
        label = configuration.label if training is configuration.trainings[0] else None
        curves.plot(curve.index, curve, marker=".", color=color, label=label)
names = [each.label.replace(", ", "\n") for each in comparison.compared]
accuracy.set_yticks(range(len(names)), names)
accuracy.invert_yaxis()
every = [value for each in comparison.compared for value in each.values_of("test_accuracy")]
accuracy.set(title="test accuracy: mean, and each seed", xlim=(min(every) - 0.02, max(every) + 0.01))
curves.set(title="validation accuracy", xlabel="epoch")
curves.grid(alpha=0.3)
curves.legend(fontsize=8)
figure

# %% [markdown]
# (The left axis does not begin at 0.)
#
# ## Is it luck?
#
# Two tests, for two questions:
#
# - **Over seeds** (paired t-test): do the *settings* differ? It needs several seeds of both.
# - **On the same images** (McNemar's exact test): do these two *networks* differ? It looks only at the images that
#   exactly one of them gets right. It says nothing of other seeds.
#
# Whoever tests many pairs finds a "significant" one by chance, so all p-values of pairs are corrected (Holm).

# %%
for pair in comparison.pairs:
    print(f"- {pair}")

# %%
shown = ["first", "second", "points", "only_first_right", "only_second_right", "mcnemar_p_holm", "t_test_p_holm"]
pairs = frame_of_pairs(comparison.pairs)
pairs[[name for name in shown if name in pairs]].round(4)

# %% [markdown]
# Pairs in which one side was trained with a single seed can only be told apart as networks, and the sentences say so.
#
# ## Findings
#
# Computed from the runs, each with the test that bears it:

# %%
for finding in comparison.findings:
    print(f"- {finding.text}")

# %% [markdown]
# ## The command that does the same
#
# ```bash
# mlflow run . -e train --env-manager local --experiment-name fashion_mnist -P model=basic_ann -P limit=12000 -P epochs=10 -P seeds=3
# mlflow run . -e train --env-manager local --experiment-name fashion_mnist -P model=basic_ann -P limit=12000 -P epochs=10 -P learning_rate=0.0011 -P seeds=3
# mlflow run . -e train --env-manager local --experiment-name fashion_mnist -P model=basic_cnn -P limit=12000 -P epochs=6 -P seeds=3
# mlflow run . -e train --env-manager local --experiment-name fashion_mnist -P model=deeper_cnn -P limit=12000 -P epochs=6
# mlflow run . -e compare --env-manager local -P experiment=fashion_mnist -P all=true
# ```
#
# `compare` writes all of this, and more, into one page that is opened from disk: `comparison/report.html`.
