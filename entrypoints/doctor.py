"""`mlflow run . -e doctor`: what this machine has, and what to type next."""

from imagelab.commands import main

if __name__ == "__main__":
    main("doctor")
