"""`mlflow run . -e predict`: classify many images by a registered model, here or on Apache Spark."""

from imagelab.commands import main

if __name__ == "__main__":
    main("predict")
