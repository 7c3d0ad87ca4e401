"""From the words of a command line to validated settings; every mistake is one line that helps."""

import argparse
import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from imagelab.errors import SettingsError
from imagelab.recipes import RECIPE_SETTINGS

LONGEST_ECHO = 100  # characters of a wrong value that an error repeats
SettingsT = TypeVar("SettingsT", bound=BaseModel)


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """The known name that is nearest, or has these initials (lr, bs), as a question; empty where none is near."""
    typed = name.replace("-", "_").lower()
    abbreviated = [each for each in known if "".join(word[:1] for word in each.split("_")) == typed]
    near = abbreviated or difflib.get_close_matches(typed, known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def parse(kind: type[SettingsT], command: str, arguments: Sequence[str]) -> SettingsT:
    """Turn `--name value`, `--name=value` and `-P name=value` into validated settings.

    Raises:
        SettingsError: a name or value is wrong; says what was given and what is allowed.
        SystemExit: after `--help`.
    """
    parser = _Parser(prog=f"mlflow run . -e {command}", description=kind.__doc__, allow_abbrev=False, add_help=False)
    parser.add_argument("-h", "--help", action="help", help="show this list")
    refused = getattr(kind, "refused", ())  # settings that a command has from others, and has no use for
    for name, field in kind.model_fields.items():
        text = argparse.SUPPRESS if name in refused else _help(name, field)
        parser.add_argument(f"--{name}", action=_StoreOnce, metavar="VALUE", help=text)
    given, unknown = parser.parse_known_args(_joined(arguments, command))
    if unknown:
        _refuse_unknown(unknown[0], list(kind.model_fields))
    return validate(kind, {name: value for name, value in vars(given).items() if value is not None})


def validate(kind: type[SettingsT], values: dict[str, Any]) -> SettingsT:
    """Build settings from plain values; a `SettingsError` names the first setting that is wrong."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:  # several settings that do not go together; the message names them
            raise SettingsError(str(first["ctx"]["error"])) from None
        name, given = str(first["loc"][0]), shortened(first["input"])
        if first["type"] == "extra_forbidden":
            _refuse_unknown(name, list(kind.model_fields))
        reason = str(first["ctx"]["error"]) if first["type"] == "value_error" else first["msg"]
        message = f"{name}={given}: {reason[0].lower()}{reason[1:]}"
        if first["type"] != "value_error":  # pydantic's words, not ours, which say themselves what is allowed
            message += f" (allowed: {describe_allowed(kind.model_fields[name])})"
        raise SettingsError(message) from None


def shortened(value: Any) -> str:
    """A value as an error repeats it: not endless, and without the password of a URL."""
    text = re.sub(r"(://[^/@\s]*?):[^@\s]*@", r"\1:***@", str(value))
    text = re.sub(r"(password=)[^&\s]*", r"\1***", text)
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
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a folder"}[kind]
    bounds = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
    limits = [f"{sign} {getattr(m, key)}" for m in field.metadata for key, sign in bounds.items() if hasattr(m, key)]
    return " ".join([words, " and ".join(limits)]).strip()


def _help(name: str, field: Any) -> str:
    if field.default is None:
        default = "the recipe's" if name in RECIPE_SETTINGS else "not set"
    else:
        default = field.default if field.default != "" else "empty"
    return f"{field.description} [{describe_allowed(field)}; default: {default}]".replace("%", "%%")


def _joined(arguments: Sequence[str], command: str) -> list[str]:
    """Bring every spelling to `--name=value`, so that a value may begin with a dash."""
    joined, words = [], iter(arguments)
    for word in words:
        if word == "-P":
            pair = next(words, "")
            if "=" not in pair:
                raise SettingsError(f"-P needs name=value, not {pair!r}")
            joined.append(f"--{pair}")
        elif word == "--help":
            _refuse_value(next(words, "--"), command)
            joined.append(word)
        elif word.startswith("--") and "=" not in word:
            value = next(words, None)
            joined.append(word if value is None else f"{word}={value}")
        else:
            joined.append(word)
    return joined


def _refuse_value(word: str, command: str) -> None:
    """`-P help=x` of `mlflow run` arrives as `--help x`: it would be a run that trains nothing."""
    if not word.startswith("-"):
        raise SettingsError(
            f"help={word}: help takes no value; see every setting by: python -m entrypoints.{command} --help"
        )


def _refuse_unknown(word: str, known: list[str]) -> NoReturn:
    name = word.lstrip("-").split("=")[0]
    if name in known:
        value = word.partition("=")[2] or "VALUE"
        raise SettingsError(f"{word}: settings are given as --{name}={value} or -P {name}={value}")
    hint = did_you_mean(name, known) or (
        f"; known settings: {', '.join(known)}" if known else "; this command has none"
    )
    raise SettingsError(f"{word}: there is no setting named {name!r}{hint}")


class _StoreOnce(argparse.Action):
    def __call__(self, parser: Any, namespace: Any, value: Any, option: str | None = None) -> None:
        if getattr(namespace, self.dest) is not None:
            first = getattr(namespace, self.dest)
            raise SettingsError(f"{self.dest} is given twice: {shortened(first)} and {shortened(value)}; give it once")
        setattr(namespace, self.dest, value)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SettingsError(message.replace("argument ", ""))
