"""The settings of an explanation: which network, of which classes, how many images."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from imagelab.settings.named_network import NamedNetworkSettings
from imagelab.settings.values import DataFolder


def names(text: str) -> str:
    """Names joined by commas, each once."""
    words = [word.strip() for word in text.split(",")]
    if not all(words):
        raise ValueError("must be names of classes joined by commas, as in -P classes=Shirt,Coat")
    return ",".join(dict.fromkeys(words))


class ExplainSettings(NamedNetworkSettings):
    """Show where a trained network looks, on images that it gets right and on images that it gets wrong."""

    classes: Annotated[str, AfterValidator(names)] | None = Field(
        None,
        description="classes that are shown; not given: the two that are most confused, and those that it knows worst",
        examples=["names or numbers of classes joined by commas"],
    )
    images_per_class: int = Field(
        4, ge=1, le=20, description="images of each class that it gets right, and as many that it gets wrong"
    )
    split: Literal["test", "validation"] = Field(
        "test", description="part of its own data set that the images are from: the split that its run has stored"
    )
    data_dir: DataFolder = None

    @property
    def class_list(self) -> list[str]:
        return self.classes.split(",") if self.classes else []
