"""`mlflow run . -e train`: train one network and leave a run that holds everything."""

from imagelab.commands import main

if __name__ == "__main__":
    main("train")
