"""`mlflow run . -e find_lr`: let the learning rate rise over a few batches, and say which rate to train with."""

from imagelab.commands import main

if __name__ == "__main__":
    main("find_lr")
