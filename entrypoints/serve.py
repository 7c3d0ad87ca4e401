"""`mlflow run . -e serve`: answer requests with the version that an alias names, and follow the alias."""

from imagelab.commands import main

if __name__ == "__main__":
    main("serve")
