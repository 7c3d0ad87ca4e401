"""`mlflow run . -e predict`: classify many images by a registered model, here or on Apache Spark."""

from imagelab.command import command
from imagelab.settings import PredictSettings


def predict(settings: PredictSettings) -> str:
    from imagelab.prediction.session import predict as run_session

    return run_session(settings)


if __name__ == "__main__":
    command("predict", PredictSettings, predict)
