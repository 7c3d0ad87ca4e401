"""Which registered model a command is about."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from imagelab.settings.values import DataSetName, RegisteredModelName


def alias(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,255}", text):
        raise ValueError("must be letters, digits, _ and - only")
    return text


Alias = Annotated[str, AfterValidator(alias)]


class RegisteredModelSettings(BaseModel):
    """The names that make up the name of a registered model."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    dataset: DataSetName = Field("cifar100", description="data set of the registered model DATASET-MODEL")
    model: RegisteredModelName = Field("resnet50", description="architecture of the registered model DATASET-MODEL")

    @property
    def registered_model(self) -> str:
        return f"{self.dataset}-{self.model}"
