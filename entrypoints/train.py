"""`mlflow run . -e train`: train one network and leave a run that holds everything."""

from imagelab.command import command
from imagelab.settings import TrainSettings


def train(settings: TrainSettings) -> str:
    from imagelab.experiment import run_experiment

    return str(run_experiment(settings))


if __name__ == "__main__":
    command("train", TrainSettings, train)
