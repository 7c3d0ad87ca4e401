"""The settings of a search for a learning rate: those of the training that it is for, and which rates are tried."""

from typing import Any, ClassVar

from pydantic import Field, ValidationInfo, field_validator, model_validator

from imagelab.settings.experiment import ExperimentSettings

REFUSED = (
    *("learning_rate", "learning_rate_schedule", "warmup_epochs", "epochs", "early_stopping_patience", "monitor"),
    *("time_limit", "mix_off_epochs", "progressive", "average_epochs"),
    *("fine_tune_epochs", "fine_tune_at", "fine_tune_learning_rate"),
)
LEAST_RANGE = 10  # the highest rate over the lowest


class FindLrSettings(ExperimentSettings):
    """Let the learning rate rise over a few batches, watch the loss, and say which rate to train with."""

    refused: ClassVar[tuple[str, ...]] = REFUSED

    lowest: float = Field(1e-6, gt=0, le=10, description="learning rate of the first batch")
    highest: float = Field(1.0, gt=0, le=10, description="learning rate of the last batch")
    steps: int = Field(150, ge=50, le=10_000, description="batches over which the rate rises, by the same factor each")

    @field_validator(*REFUSED)
    @classmethod
    def has_no_effect(cls, value: Any, info: ValidationInfo) -> Any:
        raise ValueError(
            "has no effect on find_lr, which lets the rate rise batch by batch and ends after them; leave it out, and "
            "give it to train"
        )

    @property
    def left_open(self) -> set[str]:
        return set(REFUSED)

    @model_validator(mode="after")
    def is_a_range(self) -> "FindLrSettings":
        if self.highest < LEAST_RANGE * self.lowest:
            raise ValueError(
                f"lowest={self.lowest:g} and highest={self.highest:g}: highest must be at least {LEAST_RANGE} times "
                "lowest"
            )
        return self
