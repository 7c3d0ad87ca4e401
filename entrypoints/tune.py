"""`mlflow run . -e tune`: look for better settings of a network, in as many processes and sessions as it takes."""

from imagelab.commands import main

if __name__ == "__main__":
    main("tune")
