"""`mlflow run . -e cross_validate`: train once a fold, and score each image by the network that has not seen it."""

from imagelab.commands import main

if __name__ == "__main__":
    main("cross_validate")
