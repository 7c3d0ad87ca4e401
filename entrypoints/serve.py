"""`mlflow run . -e serve`: answer requests with the version that an alias names, and follow the alias."""

from imagelab.command import command
from imagelab.settings import ServeSettings


def serve(settings: ServeSettings) -> str:
    from imagelab.serving.server import serve as run_server

    return run_server(settings)


if __name__ == "__main__":
    command("serve", ServeSettings, serve)
