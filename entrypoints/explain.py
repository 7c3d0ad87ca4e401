"""`mlflow run . -e explain`: where a trained network looks, on images that it gets right and that it gets wrong."""

from imagelab.commands import main

if __name__ == "__main__":
    main("explain")
