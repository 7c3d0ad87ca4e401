"""Settings that begin with those of another run (`like`) or of a file (`settings`); what is typed wins over them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from imagelab.errors import SettingsError
from imagelab.mlflow_command import was_typed
from imagelab.settings.command_line import validate
from imagelab.settings.experiment import ExperimentSettings

Settings = TypeVar("Settings", bound=ExperimentSettings)
NOT_GIVEN = ("", "null")  # of a value in YAML
ONE_OF = {"seed": "seeds", "seeds": "seed"}  # a setting, and the other one with which it does not go


def over(settings: Settings, values: Mapping[str, Any], source: str) -> Settings:
    """What was typed, over these values.

    Args:
        source: where the values are from, as `settings=FILE`.

    Raises:
        SettingsError: names the source and the setting that is wrong.
    """
    typed = typed_of(settings)
    replaced = {*typed, *(ONE_OF[name] for name in ONE_OF if name in typed)}
    taken = {name: value for name, value in values.items() if name not in replaced}
    try:
        return validate(type(settings), {**taken, **typed})
    except SettingsError as error:
        raise SettingsError(f"{source}: {error}") from error


def typed_of(settings: ExperimentSettings) -> dict[str, Any]:
    """What was typed; `mlflow run` also passes the defaults of MLproject."""
    fields = type(settings).model_fields
    values = settings.model_dump(exclude_unset=True)
    return {name: value for name, value in values.items() if value != fields[name].default or was_typed(name)}


def over_file(settings: Settings) -> Settings:
    """What was typed, over the file that `settings` names."""
    source = f"settings={settings.settings}"
    values = read_yaml(settings.settings or Path(), source)
    for name, value in values.items():
        if not isinstance(value, str):
            raise SettingsError(f"{source}: {name}: must be one value, as on the command line")
    return over(settings, {name: value for name, value in values.items() if value not in NOT_GIVEN}, source)


def read_yaml(path: Path, source: str) -> dict[str, Any]:
    """The values of a YAML file by name, as plain text.

    Raises:
        SettingsError: there is none; begins with `source`.
    """
    try:
        content = yaml.load(path.read_text(), yaml.BaseLoader)  # plain text: to YAML 1.1, 2:4 is 124
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{source}: cannot be read ({error})") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"{source}: is no YAML ({' '.join(str(error).split())})") from None
    if not isinstance(content, dict) or not content:
        raise SettingsError(f"{source}: must hold one or more lines `name: values`")
    return {str(name): value for name, value in content.items()}
