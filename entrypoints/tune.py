"""`mlflow run . -e tune`: look for better settings of a network, in as many processes and sessions as it takes."""

from imagelab.command import command
from imagelab.settings import TuneSettings


def tune(settings: TuneSettings) -> str:
    from imagelab.tuning.session import tune as run_session

    return run_session(settings)


if __name__ == "__main__":
    command("tune", TuneSettings, tune)
