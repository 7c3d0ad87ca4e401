"""`mlflow run . -e rollback`: make the previous champion the champion again, or any other version."""

from imagelab.commands import main

if __name__ == "__main__":
    main("rollback")
