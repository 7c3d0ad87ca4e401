"""`mlflow run . -e promote`: make the best run's model the champion, if it passes the gate."""

from imagelab.command import command
from imagelab.settings import PromoteSettings


def promote(settings: PromoteSettings) -> str:
    from imagelab.registry.promotion import promote as promote_best

    return promote_best(settings)


if __name__ == "__main__":
    command("promote", PromoteSettings, promote)
