"""What kind of setting a field is: it stands with the field, and every list of settings is derived from it."""

from enum import Enum, auto

from pydantic import BaseModel


class Kind(Enum):
    """Stands in the annotation of a field: `Annotated[int, Kind.SPLIT]`."""

    BACKBONE = auto()  # only networks with a backbone have it
    SPLIT = auto()  # it decides which images there are, and which of them choose
    CHANCE = auto()  # it fixes all chance but the split
    RECIPE = auto()  # it fills in what is not given
    OPERATIONAL = auto()  # it changes no result


def names_of_kind(settings: type[BaseModel], *kinds: Kind) -> tuple[str, ...]:
    """The fields of any of these kinds, in the order of their declaration."""
    fields = settings.model_fields.items()
    return tuple(name for name, field in fields if any(kind in field.metadata for kind in kinds))
