"""A lock that every process with the same study database respects; it ends with the process that holds it."""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy
from filelock import FileLock
from sqlalchemy.exc import OperationalError

from imagelab.errors import TrackingError
from imagelab.tracking import database_path

# A client of PostgreSQL notices a server that has vanished without a word (seconds; the last one milliseconds).
ALIVE = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


@contextmanager
def lock_database(url: str, name: str, patience: float = 0) -> Iterator[Callable[[], bool]]:
    """Hold the lock `name` of this database; it ends with the process that holds it, or with its connection.

    A file beside a SQLite database, an advisory lock of a PostgreSQL one. Gives a function that says whether it is
    still held.
    """
    if path := database_path(url):
        with FileLock(lock_file(path, name)):
            yield lambda: True
        return
    connection = locked_connection(url, name, patience)
    try:
        yield lambda: is_alive(connection)
    finally:
        connection.invalidate()  # closes it even where the server is gone
        connection.close()


def locked_connection(url: str, name: str, patience: float) -> sqlalchemy.Connection:
    """A connection that holds the advisory lock `name`, waited for."""
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
    # So that the server soon notices a machine that lost its power while it held the lock.
    keepalives = "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
    connecting = {**ALIVE, "options": keepalives}
    options: dict[str, Any] = {"connect_args": connecting, "isolation_level": "AUTOCOMMIT"}
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool, **options)
    deadline = None
    while True:
        try:
            connection = engine.connect()
            connection.execute(sqlalchemy.text("select pg_advisory_lock(:key)"), {"key": key})
            return connection
        except OperationalError as error:
            deadline = deadline or time.monotonic() + patience
            if time.monotonic() > deadline:
                raise TrackingError(f"the study database has not answered for {patience:g} s") from error
            time.sleep(1)


def is_alive(connection: sqlalchemy.Connection) -> bool:
    try:
        connection.execute(sqlalchemy.text("select 1"))
    except sqlalchemy.exc.DBAPIError:
        return False
    return True


def lock_file(database: Path, name: str) -> Path:
    return database.with_name(f".{database.name}.{hashlib.sha256(name.encode()).hexdigest()[:8]}.lock")
