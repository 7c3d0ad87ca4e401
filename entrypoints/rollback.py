"""`mlflow run . -e rollback`: make the previous champion the champion again, or any other version."""

from imagelab.command import command
from imagelab.settings import RollbackSettings


def rollback(settings: RollbackSettings) -> str:
    from imagelab.registry.rollback import roll_back

    return roll_back(settings)


if __name__ == "__main__":
    command("rollback", RollbackSettings, rollback)
