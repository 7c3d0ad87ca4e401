"""`mlflow run . -e empty_feature_cache`: delete the features of frozen backbones that earlier runs left on disk."""

from imagelab.commands import main

if __name__ == "__main__":
    main("empty_feature_cache")
