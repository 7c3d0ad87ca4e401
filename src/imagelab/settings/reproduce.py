"""The settings of a reproduction: with which recipe and seeds the reference's networks are trained."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from imagelab.models import BACKBONES
from imagelab.reference import BEYOND_REFERENCE, MODELS_OF
from imagelab.settings.compare import OutputFolder, names_of
from imagelab.settings.train import MOST_SEEDS, TrainSettings, list_of_seeds
from imagelab.settings.values import UPLOAD_PATIENCE, Note, UploadPatience, WeightsName

Pair = tuple[str, str]  # a data set and a model
MODELS = tuple(dict.fromkeys(model for models in (*MODELS_OF.values(), *BEYOND_REFERENCE.values()) for model in models))


class ReproduceSettings(BaseModel):
    """Train every network of the reference on its data set, compare them, and put its figures beside ours."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    recipe: Literal["quick", "standard", "best"] = Field(
        "standard", description="recommended settings of each training: a first look, the usual, the best"
    )
    seeds: Annotated[str, AfterValidator(partial(list_of_seeds, least=1))] = Field(
        "1",
        validate_default=True,
        description="train each network once with each seed",
        examples=[f"a number of seeds (1 to {MOST_SEEDS})", "seeds such as 0,1,2"],
    )
    dataset: Annotated[str, names_of(tuple(MODELS_OF))] | None = Field(
        None,
        description="only these data sets; joined by commas; not given: those of the reference",
        examples=[", ".join(MODELS_OF)],
    )
    model: Annotated[str, names_of(MODELS)] | None = Field(
        None, description="only these networks; joined by commas", examples=[", ".join(MODELS)]
    )
    weights: WeightsName | None = Field(
        None,
        description="weights of the pretrained network: Keras's, none to train all of it from scratch, or a file",
        examples=["imagenet", "none", "the path of a .weights.h5 or .keras file"],
    )
    output: OutputFolder = Field(
        Path("reproduction"),
        validate_default=True,
        description="folder for the report and the tables",
        examples=["the path of a folder"],
    )
    note: Note = ""
    upload_patience: UploadPatience = UPLOAD_PATIENCE

    @model_validator(mode="after")
    def goes_together(self) -> "ReproduceSettings":
        for name in (self.dataset or "").split(","):
            if name and name not in {dataset for dataset, _ in self.pairs}:
                raise ValueError(
                    f"model={self.model}: reproduce trains none of these on {name}, but only: "
                    f"{', '.join((*MODELS_OF[name], *BEYOND_REFERENCE.get(name, ())))}"
                )
        for name in (self.model or "").split(","):
            if name and name not in {model for _, model in self.pairs}:
                raise ValueError(f"model={name}: reproduce does not train it on {self.dataset}; leave it out")
        return self

    @property
    def pairs(self) -> list[Pair]:
        """What is trained, in this order."""
        datasets = self.dataset.split(",") if self.dataset else [name for name in MODELS_OF if name != "digits"]
        return [(dataset, model) for dataset in datasets for model in self.models_of(dataset)]

    def models_of(self, dataset: str) -> list[str]:
        """The networks that are trained on a data set."""
        known = (*MODELS_OF[dataset], *BEYOND_REFERENCE.get(dataset, ()))
        if self.model is not None:
            return [model for model in known if model in self.model.split(",")]
        return list(known if self.recipe == "best" else MODELS_OF[dataset])

    @property
    def seed_list(self) -> list[int]:
        return [int(seed) for seed in self.seeds.split(",")]

    @property
    def seeds_text(self) -> str:
        return f"seed{'s' if len(self.seed_list) > 1 else ''} {self.seeds}"

    def trainings(self) -> list[TrainSettings]:
        """The settings of every training: those of one network one after the other."""
        return [self.training(pair, seed) for pair in self.pairs for seed in self.seed_list]

    def training(self, pair: Pair, seed: int) -> TrainSettings:
        dataset, model = pair
        weights = {"weights": self.weights} if self.weights and model in BACKBONES else {}
        given: dict[str, Any] = {"dataset": dataset, "model": model, "recipe": self.recipe, "seed": seed}
        return TrainSettings.model_validate({**given, "upload_patience": self.upload_patience, **weights})

    def record(self) -> dict[str, Any]:
        """What the parent run records, as plain values; data sets and models by name."""
        datasets, models = (",".join(dict.fromkeys(names)) for names in zip(*self.pairs, strict=True))
        return self.model_dump(mode="json") | {"dataset": datasets, "model": models}

    def as_tag(self) -> str:
        """What decides the result, as one line of JSON."""
        shown = self.model_copy(update={name: str(self.record()[name]) for name in ("dataset", "model")})
        return shown.model_dump_json(exclude={"output", "note", "upload_patience"})
