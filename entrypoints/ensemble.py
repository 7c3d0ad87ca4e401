"""`mlflow run . -e ensemble`: make one network of finished trainings, which answers with their average."""

from imagelab.commands import main

if __name__ == "__main__":
    main("ensemble")
