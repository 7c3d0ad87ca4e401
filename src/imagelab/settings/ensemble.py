"""The settings of an ensemble: of which finished runs it is made, and how their answers are weighted."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from imagelab.settings.compare import quotable, split
from imagelab.settings.values import UPLOAD_PATIENCE, DataFolder, DataSetName, Note, RunId, UploadPatience, run_id

FEWEST, MOST = 2, 20  # networks of an ensemble


def member_ids(text: str) -> str:
    ids = [run_id(word) for word in split(text)]
    if len(set(ids)) < len(ids):
        raise ValueError("names a run twice; each must be another one")
    if not FEWEST <= len(ids) <= MOST:
        raise ValueError(f"must be {FEWEST} to {MOST} run ids joined by commas")
    return ",".join(ids)


class EnsembleSettings(BaseModel):
    """Make one network of finished trainings, which answers with the average of their probabilities."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    runs: Annotated[str, AfterValidator(member_ids)] | None = Field(
        None,
        description="trainings that it is made of; or give parent, or best",
        examples=[f"{FEWEST} to {MOST} MLflow run ids joined by commas"],
    )
    parent: RunId | None = Field(None, description="take every finished training below this run, of seeds or of folds")
    best: int | None = Field(
        None,
        ge=FEWEST,
        le=MOST,
        description="take so many trainings of an experiment, of one data set and split: those with the highest "
        "validation accuracy",
    )
    experiment: Annotated[str, AfterValidator(quotable)] | None = Field(
        None, description="MLflow experiment that best looks in", examples=["its name"]
    )
    dataset: DataSetName | None = Field(None, description="data set that best looks for, where there are several")
    weights: Literal["equal", "validation"] = Field(
        "equal", description="of the members: all the same, or those with the least log loss on the validation images"
    )
    batch_size: int = Field(128, ge=1, le=4096, description="images that go through a network at once")
    data_dir: DataFolder = None
    note: Note = ""
    upload_patience: UploadPatience = UPLOAD_PATIENCE

    @model_validator(mode="after")
    def goes_together(self) -> "EnsembleSettings":
        given = [f"{name}={value}" for name in ("runs", "parent", "best") if (value := getattr(self, name))]
        if len(given) != 1:
            what = f"{' and '.join(given)}: give one of them" if given else "runs, parent, best: none is given"
            raise ValueError(f"{what}; for example -P runs=RUN_ID,RUN_ID or -P best=3 -P experiment=NAME")
        for name in ("experiment", "dataset"):
            if self.best is None and (value := getattr(self, name)):
                raise ValueError(f"{name}={value}: has no effect without best; the runs that are named say it")
        if self.best and not self.experiment:
            raise ValueError(f"best={self.best}: needs the experiment to look in; give experiment=NAME")
        return self
