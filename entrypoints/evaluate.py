"""`mlflow run . -e evaluate`: score a trained network, calibrate it, compare given images with its training images."""

from imagelab.commands import main

if __name__ == "__main__":
    main("evaluate")
