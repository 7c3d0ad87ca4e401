"""`mlflow run . -e reproduce`: the reference's networks trained anew, its figures and findings beside ours."""

from imagelab.commands import main

if __name__ == "__main__":
    main("reproduce")
