"""A lock that every process with the same study database respects; it ends with the process that holds it."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy
from filelock import FileLock
from sqlalchemy.exc import SQLAlchemyError

from imagelab.tracking import database_path
from imagelab.tuning.outage import Patience

# A client of PostgreSQL notices a server that has vanished without a word (seconds; the last one milliseconds).
ALIVE = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
# The server, too, soon notices a client that lost its power while it held the lock.
KEEPALIVES = "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3"
LOCKING: dict[str, Any] = {"connect_args": {**ALIVE, "options": KEEPALIVES}, "isolation_level": "AUTOCOMMIT"}


@contextmanager
def lock_database(url: str, name: str, patience: Patience) -> Iterator[Callable[[], bool]]:
    """Hold the lock `name` of this database; it ends with the process that holds it, or with its connection.

    A file beside a SQLite database, an advisory lock of a PostgreSQL one. Gives a function that says whether it is
    still held.

    Raises:
        TrackingError: the database was away for too long.
    """
    if path := database_path(url):
        with FileLock(lock_file(path, name)):
            yield lambda: True
        return
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool, **LOCKING)
    connection = patience.wait_for(lambda: locked_connection(engine, name))
    try:
        yield lambda: is_alive(connection)
    finally:
        connection.invalidate()  # closes it even where the server is gone
        connection.close()


def locked_connection(engine: sqlalchemy.Engine, name: str) -> sqlalchemy.Connection:
    """A connection that holds the advisory lock `name`, once no other process does."""
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
    connection = engine.connect()
    try:
        connection.execute(sqlalchemy.text("select pg_advisory_lock(:key)"), {"key": key})
    except BaseException:
        connection.invalidate()  # or the server might give the lock to a connection that is no longer looked at
        connection.close()
        raise
    return connection


def is_alive(connection: sqlalchemy.Connection) -> bool:
    try:
        connection.execute(sqlalchemy.text("select 1"))
    except SQLAlchemyError:
        return False
    return True


def lock_file(database: Path, name: str) -> Path:
    return database.with_name(f".{database.name}.{hashlib.sha256(name.encode()).hexdigest()[:8]}.lock")
