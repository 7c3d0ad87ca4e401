"""`mlflow run . -e compare`: finished runs side by side, with tests of whether differences are luck."""

from imagelab.commands import main

if __name__ == "__main__":
    main("compare")
