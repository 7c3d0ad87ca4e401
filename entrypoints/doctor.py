"""`mlflow run . -e doctor`: what this machine has, and what to type next."""

from pydantic import BaseModel, ConfigDict

from imagelab.command import command
from imagelab.console import show


class DoctorSettings(BaseModel):
    """Tell what this machine has of what the project can use, and what to type next."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def doctor(settings: DoctorSettings) -> str:
    from imagelab.doctor import examine

    for what, found in examine():
        show(f"{what:>22}  {found}")
    return ""


if __name__ == "__main__":
    command("doctor", DoctorSettings, doctor)
