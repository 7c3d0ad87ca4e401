"""The settings of a tuning session: those of every trial, and those of the study."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from imagelab.data import num_classes_of
from imagelab.settings.command_line import did_you_mean
from imagelab.settings.experiment import ExperimentSettings

DIRECTIONS: dict[str, Literal["maximize", "minimize"]] = {
    "val_accuracy": "maximize",
    "val_top_5_accuracy": "maximize",
    "val_loss": "minimize",
    "parameter_count": "minimize",
    "training_seconds": "minimize",
}


def known_objective(text: str) -> str:
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name.startswith("test_"):
            raise ValueError(f"test images are looked at once, to report; choose by one of {', '.join(DIRECTIONS)}")
        if name not in DIRECTIONS:
            raise ValueError(f"must be among {', '.join(DIRECTIONS)}{did_you_mean(name, list(DIRECTIONS))}")
    if len(set(names)) < len(names):
        raise ValueError("names an objective twice")
    return ",".join(names)


def known_storage(url: str) -> str:
    if not re.match(r"(sqlite:///[^:]|postgresql(\+psycopg)?://.)", url):
        raise ValueError("must be sqlite:///FILE or postgresql://USER@HOST/DATABASE")
    return url


def study_name(name: str) -> str:
    if not re.fullmatch(r"[\w.@ -]{1,200}", name) or name != name.strip():
        raise ValueError("must be letters, digits, blanks and any of _ . @ -, 200 at most")
    return name


class TuneSettings(ExperimentSettings):
    """Look for better settings of one network on one data set; every setting of train may be given, too.

    The same command goes on with the same study, after an interruption and on other machines.
    """

    n_trials: int = Field(30, ge=1, le=100_000, description="trials in all; a resumed study reaches it")
    timeout: float | None = Field(None, gt=0, description="seconds after which no more trials are begun")
    study: Annotated[str, AfterValidator(study_name)] | None = Field(
        None, description="name of the study", examples=["text; dataset-model if not given"]
    )
    storage: Annotated[str, AfterValidator(known_storage)] | None = Field(
        None,
        description="database of studies; not given: optuna.db beside the tracking database",
        examples=["sqlite:///FILE", "postgresql://USER@HOST/DATABASE (password: ~/.pgpass)"],
    )
    workers: int = Field(1, ge=1, le=256, description="processes on this machine that work on trials")
    sampler: Literal["tpe", "gp", "random", "grid", "cmaes"] = Field("tpe", description="what proposes settings")
    pruner: Literal["hyperband", "median", "none"] | None = Field(
        None, description="what ends hopeless trials; not given: median, or none where several objectives are"
    )
    objective: Annotated[str, AfterValidator(known_objective)] = Field(
        "val_accuracy",
        description="what to improve, of the best epoch; several, separated by commas, give a Pareto front",
        examples=list(DIRECTIONS),
    )
    search: str | None = Field(
        None,
        description="what to vary: name=low:high, name=log:low:high, name=low:high:step or name=a|b|c, "
        "separated by commas; or a YAML file of them; not given: learning_rate and dropout_rate",
    )
    refit: bool = Field(True, description="train the best settings in full at the end, as a run like any other")
    grace_period: int = Field(
        60, ge=3, le=86_400, description="seconds without a sign of life after which a trial elsewhere counts as dead"
    )

    @field_validator("objective")
    @classmethod
    def is_measured(cls, objective: str, info: Any) -> str:
        dataset = info.data.get("dataset")
        if "val_top_5_accuracy" in objective and dataset is not None and num_classes_of(dataset) <= 10:
            raise ValueError(f"dataset={dataset} has too few classes for a top-5 accuracy")
        return objective

    @model_validator(mode="after")
    def goes_together(self) -> "TuneSettings":
        if len(self.objectives) > 1:
            if self.pruner not in (None, "none"):
                raise ValueError(f"pruner={self.pruner}: trials with several objectives cannot be ended early")
            if self.sampler == "cmaes":
                raise ValueError("sampler=cmaes: knows one objective only; take tpe, gp, random or grid")
        return self

    @property
    def left_open(self) -> set[str]:
        """What is searched; what a file of `search` names is not known here, and must not be fixed."""
        return {"learning_rate", "dropout_rate"} if self.search is None else set(re.findall(r"(\w+)\s*=", self.search))

    @property
    def objectives(self) -> list[str]:
        return self.objective.split(",")

    @property
    def directions(self) -> list[Literal["maximize", "minimize"]]:
        return [DIRECTIONS[name] for name in self.objectives]

    @property
    def study_name(self) -> str:
        return self.study or f"{self.dataset}-{self.model}"

    @property
    def pruner_name(self) -> str:
        return self.pruner or ("median" if len(self.objectives) == 1 else "none")
