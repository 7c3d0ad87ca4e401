"""`mlflow run . -e promote`: make the best run's model the champion, if it passes the gate."""

from imagelab.commands import main

if __name__ == "__main__":
    main("promote")
