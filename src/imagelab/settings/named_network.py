"""How the network of a command is named that works on a finished one: by its run, or by its address in MLflow."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from imagelab.settings.values import RunId

URIS = ("models:/NAME@ALIAS", "models:/NAME/VERSION", "models:/m-MODEL_ID", "runs:/RUN_ID/model")
PATTERNS = (
    r"models:/[^/@]+@[A-Za-z0-9_-]+",
    r"models:/[^/@]+/[1-9]\d*",
    r"models:/m-[0-9a-f]+",
    r"runs:/[0-9a-f]{32}/model",
)


def is_address(text: str) -> bool:
    return any(re.fullmatch(pattern, text) for pattern in PATTERNS)


def model_address(text: str) -> str:
    if not is_address(text):
        raise ValueError(f"must be {', '.join(URIS[:-1])} or {URIS[-1]}")
    return text


def run_id_or_address(text: str) -> str:
    if re.fullmatch(r"[0-9a-f]{32}", text) or is_address(text):
        return text
    raise ValueError(f"must be an MLflow run id (32 hexadecimal digits), {', '.join(URIS[:-1])} or {URIS[-1]}")


ModelUri = Annotated[str, AfterValidator(model_address)]


class NamedNetworkSettings(BaseModel):
    """A finished network: one of `run_id` and `model_uri` is given."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    run_id: RunId | None = Field(None, description="run whose network is taken; or give model_uri")
    model_uri: ModelUri | None = Field(
        None, description="network that is taken; or give run_id", examples=["models:/NAME@champion", *URIS[1:]]
    )

    @model_validator(mode="after")
    def one_is_given(self) -> "NamedNetworkSettings":
        if (self.run_id is None) == (self.model_uri is None):
            given = "both are given" if self.run_id else "neither is given"
            raise ValueError(
                f"run_id, model_uri: {given}; give one: -P run_id=RUN_ID or -P model_uri=models:/NAME@champion"
            )
        return self
