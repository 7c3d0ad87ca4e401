"""The settings of one training, or of several that differ in nothing but their seed."""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from imagelab.data import TEACHER_VIEWS
from imagelab.errors import SettingsError
from imagelab.settings.experiment import ExperimentSettings
from imagelab.settings.named_network import URIS, run_id_or_address
from imagelab.settings.values import RunId

MOST_SEEDS = 100
WEIGHT, TEMPERATURE = 0.7, 4.0  # of distillation


def list_of_seeds(text: str, least: int = 2) -> str:
    """`3` as `0,1,2`; a list as it is, in the order of its numbers."""
    numbers = text.replace(" ", "").split(",")
    if not all(number.isdecimal() and int(number) < 2**31 for number in numbers):
        raise ValueError(f"must be how many seeds ({least} to {MOST_SEEDS}), or the seeds, such as 0,1,2")
    seeds = [int(number) for number in numbers]
    if len(set(seeds)) < len(seeds):
        raise ValueError("names a seed twice; each must be another one")
    if len(seeds) == 1:
        if not least <= seeds[0] <= MOST_SEEDS:
            one = "; seed trains with one" if least > 1 else ""
            raise ValueError(f"must be {least} to {MOST_SEEDS} seeds, or a list of them such as 0,1,2{one}")
        seeds = list(range(seeds[0]))
    if len(seeds) > MOST_SEEDS:
        raise ValueError(f"must be at most {MOST_SEEDS} seeds")
    return ",".join(map(str, sorted(seeds)))


class TrainSettings(ExperimentSettings):
    """Train one network on one data set and leave a run that holds everything."""

    resume: RunId | None = Field(None, description="id of an interrupted run to continue with its own settings")
    seeds: Annotated[str, AfterValidator(list_of_seeds)] | None = Field(
        None,
        description="train once with each seed, and report mean and spread; the same command goes on with them",
        examples=[f"a number of seeds (2 to {MOST_SEEDS})", "seeds such as 0,1,2"],
    )

    teacher: Annotated[str, AfterValidator(run_id_or_address)] | None = Field(
        None,
        description="trained network whose answers to the training images are learned from, too (distillation)",
        examples=["a run id", *URIS],
    )
    distillation_weight: float | None = Field(
        None, gt=0, le=1, description=f"share of the loss that is the teacher's; with a teacher {WEIGHT} if not given"
    )
    distillation_temperature: float | None = Field(
        None, ge=1, le=100, description=f"how much both answers are softened; with a teacher {TEMPERATURE} if not given"
    )

    @model_validator(mode="after")
    def goes_together(self) -> "TrainSettings":
        for name in ("distillation_weight", "distillation_temperature"):
            if not self.teacher and (value := getattr(self, name)) is not None:
                raise ValueError(f"{name}={value:g}: has no effect without a teacher; give that too")
        if self.seeds and "seed" in self.model_fields_set:
            raise ValueError(f"seed={self.seed}: does not go with seeds={self.seeds}; leave one of them out")
        if self.seeds and self.resume:
            raise ValueError(
                f"resume={self.resume}: does not go with seeds={self.seeds}; leave resume out: the same command with "
                "seeds goes on where it was interrupted"
            )
        for name in ("like", "settings"):
            if self.resume and (value := getattr(self, name)):
                raise ValueError(f"{name}={value}: does not go with resume={self.resume}, which has its own settings")
        return self

    def with_recipe(self) -> Self:
        """As every experiment's; a teacher goes only with what its answers can be kept for.

        Raises:
            SettingsError: it does not.
        """
        complete = super().with_recipe()
        if not complete.teacher:
            return complete
        if complete.weights not in (None, "none"):
            raise SettingsError(
                f"teacher: a frozen backbone cannot be taught; model={complete.model} with weights=none can"
            )
        if complete.class_weight == "balanced":
            raise SettingsError("class_weight=balanced: does not go with a teacher, whose answers know no weights")
        if complete.progressive != "none":
            raise SettingsError(
                f"progressive={complete.progressive}: does not go with a teacher, who is asked about whole images"
            )
        if complete.augmentation not in TEACHER_VIEWS:
            raise SettingsError(
                f"augmentation={complete.augmentation}: with a teacher, who is asked about each view once, it must be "
                f"{', '.join(TEACHER_VIEWS)}"
            )
        filled = {"distillation_weight": WEIGHT, "distillation_temperature": TEMPERATURE}
        missing = {name: value for name, value in filled.items() if getattr(complete, name) is None}
        return complete.model_copy(update=missing)

    @property
    def seed_list(self) -> list[int]:
        """The seeds of `seeds`, ascending; empty where there is one training only."""
        return [int(number) for number in self.seeds.split(",")] if self.seeds else []

    def of_seed(self, seed: int) -> "TrainSettings":
        """The settings of the training with one of the seeds."""
        given = self.model_dump(exclude_unset=True, exclude={"seeds", "resume"})
        return TrainSettings.model_validate({**given, "seed": seed})

    def resuming(self, run_id: str | None) -> "TrainSettings":
        """The same, to go on with a run that was begun with them; None: to begin one."""
        given = self.model_dump(exclude_unset=True, exclude={"resume"})
        return TrainSettings.model_validate({**given, **({"resume": run_id} if run_id else {})})

    def given(self) -> dict[str, Any]:
        """As every experiment's, without `resume` itself."""
        return {name: value for name, value in super().given().items() if name != "resume"}

    def record(self) -> dict[str, Any]:
        """What a run records of its settings, as plain values: all but `resume`, and `seeds` or `seed`."""
        return self.model_dump(mode="json", exclude={"resume", "seed" if self.seeds else "seeds"})
