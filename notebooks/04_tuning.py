# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 4. Tuning
#
# Which learning rate, how much dropout, how many images a step? Guessing is slow. A *study* tries settings one after
# the other, learns from what it saw where to look next, ends hopeless trials early, and compares the best with the
# recipe, which is its first trial.
#
# The trials learn from a few thousand images for a few epochs (see the parameters), so that the page is made in
# minutes. What is best for so short a training need not be best for a long one.

# %% tags=["parameters"]
import os

QUICK = bool(os.environ.get("IMAGELAB_NOTEBOOK_QUICK"))  # the tests run this page on tiny data
SETTINGS = {
    "dataset": "digits" if QUICK else "fashion_mnist",
    "model": "basic_ann" if QUICK else "basic_cnn",
    "limit": 200 if QUICK else 3_000,
    "epochs": 2 if QUICK else 3,
    "n_trials": 3 if QUICK else 10,
    "study": "notebook-4",
    "search": "learning_rate=log:1e-4:3e-2, dropout_rate=0:0.7, batch_size=32|64|128",
    "refit": False,
}

# %%
import mlflow
import pandas as pd
from IPython.display import Image, display

from imagelab.settings import TuneSettings
from imagelab.tracking import use_tracking_store
from imagelab.tuning.tune import tune

# %% [markdown]
# ## What is searched
#
# `learning_rate=log:1e-4:3e-2` is any number between, on a logarithmic scale: from 0.0001 to 0.001 is as far as from
# 0.001 to 0.01. `dropout_rate=0:0.7` is any number between; `batch_size=32|64|128` one of three. Trials are compared by
# their accuracy on the validation images. The test images play no part in a study.

# %%
settings = TuneSettings(**SETTINGS)
settings.model_dump(include={"search", "objective", "sampler", "pruner", "n_trials", "epochs", "limit"})

# %% [markdown]
# ## The search
#
# The work is done by processes of its own (`workers`, here one), which take one trial after the other from a database.
# So a study can be interrupted, go on, and be worked on by several machines. A line a finished trial:

# %%
summary = tune(settings)

# %%
print(summary.split("; look at it")[0].replace("; ", "\n"))

# %% [markdown]
# ## What came out
#
# The study is a run in MLflow, and below it each trial is one. The table and the figures are in the study's run:

# %%
client = use_tracking_store()
query = "tags.phase = 'study' and tags.study = 'notebook-4'"
[study] = mlflow.search_runs(search_all_experiments=True, filter_string=query, output_format="list", max_results=1)


def file_of(path):
    """A file of the study's run."""
    return mlflow.artifacts.download_artifacts(run_id=study.info.run_id, artifact_path=path)


trials = pd.read_csv(file_of("trials.csv")).drop(columns=["run_id", "failure"])
trials.sort_values("val_accuracy", ascending=False).round(4)

# %% [markdown]
# A *pruned* trial was worse than the median of the earlier ones after as many epochs, and was ended there; its value is
# that of its last epoch. The time that this saves goes into other trials.

# %%
counts = trials["state"].value_counts()
print(", ".join(f"{count} {state}" for state, count in counts.items()))
print(f"epochs trained: {trials['epochs'].sum():.0f} of {len(trials) * settings.epochs} without pruning")

# %% [markdown]
# **The best so far**, trial by trial (the figures show the trials that were completed):

# %%
display(Image(file_of("figures/optimization_history.png"), width=600))

# %% [markdown]
# **Each setting against the accuracy.** A point is a trial that was completed; later ones are darker. The first is the
# recipe, the next ones are drawn by chance; only then does the sampler choose, so that ten trials show little of it:

# %%
display(Image(file_of("figures/slice.png"), width=900))

# %% [markdown]
# ## What to make of it
#
# The best of many trials on one validation split is partly luck: of ten equally good settings one is always ahead.
# So the study says how far it is from the recipe, and the honest next step is to train both with several seeds and
# compare them, as in [notebook 2](02_compare_runs.ipynb). [docs/tuning.md](../docs/tuning.md#what-it-found) has a study
# whose winner lost that comparison.
#
# ## The command that does the same
#
# ```bash
# mlflow run . -e tune --env-manager local -P dataset=fashion_mnist -P model=basic_cnn -P limit=3000 -P epochs=3 -P n_trials=10 -P refit=false -P search="learning_rate=log:1e-4:3e-2, dropout_rate=0:0.7, batch_size=32|64|128"
# ```
#
# Without `refit=false` it also trains the best settings once more, as a run with a model and all figures.
