"""The settings of a promotion and of a rollback: which registered model, and what a new champion must be able to do."""

from typing import Any

from pydantic import Field, model_validator

from imagelab.settings.registered import RegisteredModelSettings
from imagelab.settings.values import DataFolder, RunId


class RegistrySettings(RegisteredModelSettings):
    """What a command that changes the registry can be told, or only shows what has changed."""

    history: bool = Field(False, description="only show every promotion and rollback so far, in order")

    @model_validator(mode="after")
    def shows_or_moves(self) -> "RegistrySettings":
        others = sorted(self.model_fields_set - {"dataset", "model", "history"})
        if self.history and others:
            raise ValueError(f"history=true: only shows what was; leave out {', '.join(others)}")
        return self

    def as_params(self) -> dict[str, Any]:
        """The settings as a run has them."""
        return self.model_dump(mode="json", exclude={"history"})


class PromoteSettings(RegistrySettings):
    """Make the best run's model the champion of its registered model, if it passes the gate."""

    run_id: RunId | None = Field(
        None, description="run whose model to promote; not given: the finished run with the best best_val_accuracy"
    )
    min_improvement: float = Field(
        0, ge=-1, le=1, description="validation accuracy that it must have more than the champion (0.01: one point)"
    )
    significance: float = Field(
        0.05, ge=0, lt=1, description="it is refused where it is worse and chance explains that with less probability"
    )
    min_accuracy: float | None = Field(None, ge=0, le=1, description="validation accuracy that it must have")
    max_latency_ms: float | None = Field(None, gt=0, description="milliseconds that one image may take (median)")
    max_size_mb: float | None = Field(None, gt=0, description="megabytes that the files of the model may take")
    data_dir: DataFolder = None


class RollbackSettings(RegistrySettings):
    """Make the previous champion the champion again, or any other version."""

    to_version: int | None = Field(None, ge=1, description="version to go to; not given: champion and previous swap")
