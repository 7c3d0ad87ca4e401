"""Typed, frozen settings: one line is one field, one --flag, one -P of `mlflow run` and one MLflow parameter.

Kept light (no TensorFlow, no MLflow): `--help` and a wrong value answer at once.
"""

import argparse
import difflib
import inspect
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, TypeVar, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from imagelab.data import DATASETS
from imagelab.errors import SettingsError
from imagelab.models import MODELS
from imagelab.recipes import recommended


def one_of(table: Sequence[str]) -> AfterValidator:
    """A validator for the names of a table; its error lists them and names the nearest."""

    def check(name: str) -> str:
        if name in table:
            return name
        raise ValueError(f"must be one of {', '.join(table)}{did_you_mean(name, table)}")

    return AfterValidator(check)


def did_you_mean(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name.replace("-", "_").lower(), known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""


def run_id(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{32}", text):
        raise ValueError("must be an MLflow run id, 32 hexadecimal digits")
    return text


def readable_folder(path: Path) -> Path:
    if path == Path() or not path.is_dir():
        raise ValueError("must be an existing folder")
    return path


LONGEST_ECHO = 100  # characters of a wrong value that an error repeats
SettingsT = TypeVar("SettingsT", bound=BaseModel)
RunId = Annotated[str, AfterValidator(run_id)]
DataSetName = Annotated[str, one_of(DATASETS), Field(examples=list(DATASETS))]
ModelName = Annotated[str, one_of(MODELS), Field(examples=list(MODELS))]
Folder = Annotated[Path, AfterValidator(readable_folder)]


class TrainSettings(BaseModel):
    """Train one network on one data set and leave a run that holds everything."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    dataset: DataSetName = Field("fashion_mnist", description="data set to learn")
    model: ModelName = Field("basic_cnn", description="architecture to train")
    epochs: int | None = Field(None, ge=1, le=10_000, description="most passes over the training split")
    batch_size: int | None = Field(None, ge=1, le=65_536, description="images a step")
    learning_rate: float | None = Field(None, gt=0, le=10, description="step size of Adam (its peak, under a schedule)")
    learning_rate_schedule: Literal["constant", "cosine"] | None = Field(
        None, description="how it changes: not at all, or down to 0 along a cosine over all epochs"
    )
    dropout_rate: float | None = Field(
        None, ge=0, lt=1, description="replaces the rate of every dropout layer; not given: the network's own rates"
    )
    label_smoothing: float | None = Field(None, ge=0, lt=1, description="share of the target spread over all classes")
    augmentation: Literal["none", "shift", "flip", "flip_shift"] | None = Field(
        None, description="random changes of training images: mirrored, moved by up to a tenth, both or neither"
    )
    seed: int = Field(0, ge=0, lt=2**31, description="fixes split, weights, shuffling and dropout")
    validation_fraction: float = Field(
        0.1, gt=0, lt=1, description="share of the training images, stratified, that chooses the best epoch"
    )
    early_stopping_patience: int = Field(
        5, ge=0, le=10_000, description="epochs without a better val_loss before stopping; 0: never stop early"
    )
    mixed_precision: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="number format of the layers; auto: bfloat16 where the processor or GPU has it, else float32",
    )
    limit: int | None = Field(None, ge=20, description="train on the first n images only, for a quick look")
    data_dir: Folder | None = Field(
        None, description="folder to look for the data set's files in, before Keras's cache"
    )
    note: str = Field("", max_length=5000, description="free text, shown as the run's description")
    upload_patience: float = Field(
        300, ge=0, description="seconds to wait at the end for a tracking server that has gone away"
    )
    resume: RunId | None = Field(None, description="id of an interrupted run to continue with its own settings")

    @field_validator("limit")
    @classmethod
    def leaves_images_to_validate_on(cls, limit: int | None, info: ValidationInfo) -> int | None:
        fraction = info.data.get("validation_fraction")
        if limit is not None and fraction is not None and not 0 < round(limit * fraction) < limit:
            raise ValueError(f"with validation_fraction={fraction:g} no images are left to train or to validate on")
        return limit

    def with_recipe(self) -> "TrainSettings":
        """These settings, with what was not given taken from the recipe for this data set and model."""
        recipe = recommended(self.dataset, self.model)
        missing = {name: value for name, value in recipe.items() if getattr(self, name) is None}
        return type(self).model_validate({**self.model_dump(), **missing})

    def given(self) -> dict[str, Any]:
        """What the user has set to something else than its default, as plain values (`resume` itself left out).

        A value equal to the default cannot be told from none: `mlflow run` passes the defaults of MLproject too.
        """
        values = self.model_dump(mode="json", exclude={"resume"}, exclude_unset=True)
        return {name: value for name, value in values.items() if value != type(self).model_fields[name].default}

    def arguments_of(self, function: Callable[..., Any]) -> dict[str, Any]:
        """The settings that a function takes under the same name; data set and model are things to it, not names."""
        wanted = set(inspect.signature(function).parameters) - {"dataset", "model"}
        return {name: getattr(self, name) for name in type(self).model_fields if name in wanted}


def parse(kind: type[SettingsT], command: str, arguments: Sequence[str]) -> SettingsT:
    """Turn `--name value`, `--name=value` and `-P name=value` into validated settings.

    Raises:
        SettingsError: a name or value is wrong; says what was given and what is allowed.
        SystemExit: after `--help`.
    """
    parser = _Parser(prog=f"mlflow run . -e {command}", description=kind.__doc__, allow_abbrev=False, add_help=False)
    parser.add_argument("-h", "--help", action="help", help="show this list")
    for name, field in kind.model_fields.items():
        parser.add_argument(f"--{name}", action=_StoreOnce, metavar="VALUE", help=_help(name, field))
    given, unknown = parser.parse_known_args(_joined(arguments))
    if unknown:
        _refuse_unknown(unknown[0], list(kind.model_fields))
    return validate(kind, {name: value for name, value in vars(given).items() if value is not None})


def validate(kind: type[SettingsT], values: dict[str, Any]) -> SettingsT:
    """Build settings from plain values; a `SettingsError` names the first setting that is wrong."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name, given = str(first["loc"][0]), shortened(first["input"])
        if first["type"] == "extra_forbidden":
            _refuse_unknown(name, list(kind.model_fields))
        reason = str(first["ctx"]["error"]) if first["type"] == "value_error" else first["msg"]
        allowed = describe_allowed(kind.model_fields[name])
        message = f"{name}={given}: {reason[0].lower()}{reason[1:]}"
        raise SettingsError(message + (f" (allowed: {allowed})" if allowed not in message else "")) from None


def shortened(value: Any) -> str:
    text = str(value)
    return text if len(text) <= LONGEST_ECHO else f"{text[:LONGEST_ECHO]}..."


def describe_allowed(field: Any) -> str:
    """The type and range of a field in words, for `--help` and for errors."""
    kinds = [kind for kind in get_args(field.annotation) or (field.annotation,) if kind is not type(None)]
    if get_origin(field.annotation) is Literal:
        return ", ".join(map(str, kinds))
    if len(kinds) == 1 and get_origin(kinds[0]) is Literal:
        return ", ".join(get_args(kinds[0]))
    if field.examples:
        return ", ".join(field.examples)
    kind = get_args(kinds[0])[0] if get_origin(kinds[0]) is Annotated else kinds[0]
    words = {int: "a whole number", float: "a number", str: "text", Path: "a folder"}[kind]
    bounds = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    limits = [f"{sign} {getattr(m, key)}" for m in field.metadata for key, sign in bounds.items() if hasattr(m, key)]
    return " ".join([words, " and ".join(limits)]).strip()


def _help(name: str, field: Any) -> str:
    if field.default is None:
        default = "the recipe's" if name in recommended("fashion_mnist", "basic_cnn") else "not set"
    else:
        default = field.default if field.default != "" else "empty"
    return f"{field.description} [{describe_allowed(field)}; default: {default}]".replace("%", "%%")


def _joined(arguments: Sequence[str]) -> list[str]:
    """Bring every spelling to `--name=value`, so that a value may begin with a dash."""
    joined, words = [], iter(arguments)
    for word in words:
        if word == "-P":
            pair = next(words, "")
            if "=" not in pair:
                raise SettingsError(f"-P needs name=value, not {pair!r}")
            joined.append(f"--{pair}")
        elif word.startswith("--") and "=" not in word and word != "--help":
            value = next(words, None)
            joined.append(word if value is None else f"{word}={value}")
        else:
            joined.append(word)
    return joined


def _refuse_unknown(word: str, known: list[str]) -> NoReturn:
    name = word.lstrip("-").split("=")[0]
    if name in known:
        value = word.partition("=")[2] or "VALUE"
        raise SettingsError(f"{word}: settings are given as --{name}={value} or -P {name}={value}")
    hint = did_you_mean(name, known) or f"; known settings: {', '.join(known)}"
    raise SettingsError(f"{word}: there is no setting named {name!r}{hint}")


class _StoreOnce(argparse.Action):
    def __call__(self, parser: Any, namespace: Any, value: Any, option: str | None = None) -> None:
        if getattr(namespace, self.dest) is not None:
            first = getattr(namespace, self.dest)
            raise SettingsError(f"{self.dest} is given twice: {first} and {value}; give it once")
        setattr(namespace, self.dest, value)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SettingsError(message.replace("argument ", ""))
