"""A real PostgreSQL server for tests, to stop and start again; Debian's package has its programs."""

import os
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import psutil

from tests.conftest import absent, free_port

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
OWNER = "postgres"  # PostgreSQL refuses to run as root


class PostgreSQL:
    """A cluster in a folder of its own, not pytest's: that is closed to other users, as the owner is."""

    def __init__(self) -> None:
        if not PROGRAMS:
            absent("PostgreSQL (Debian: postgresql)")
        self.folder, self.port = Path(tempfile.mkdtemp(prefix="imagelab-postgresql-")), free_port()
        if os.geteuid() == 0:
            shutil.chown(self.folder, OWNER)
        self.run("initdb", "-D", self.data, "-U", "tuner", "--auth=trust", "--no-sync")

    @property
    def data(self) -> str:
        return str(self.folder / "data")

    def run(self, program: str, *arguments: str) -> None:
        command = [str(PROGRAMS[-1] / program), *arguments]
        if os.geteuid() == 0:
            command = ["setpriv", f"--reuid={OWNER}", f"--regid={OWNER}", "--clear-groups", *command]
        subprocess.run(command, check=True, cwd=self.folder, stdout=subprocess.DEVNULL)

    def start(self) -> None:
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        self.run("pg_ctl", "-D", self.data, "-w", "-l", str(self.folder / "log"), "-o", options, "start")

    def stop(self, mode: str = "immediate") -> None:
        """End it as a crash would: connections break in the middle of whatever they do; `fast` says good-bye first."""
        self.run("pg_ctl", "-D", self.data, "-w", "-m", mode, "stop")

    def kill(self) -> None:
        """End it as a machine that loses its power."""
        server = psutil.Process(int((self.folder / "data" / "postmaster.pid").read_text().split()[0]))
        processes = [server, *server.children(recursive=True)]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes)

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def make(self, database: str) -> str:
        """Make a database; its URL."""
        self.run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "tuner", database)
        return f"postgresql://tuner@127.0.0.1:{self.port}/{database}"
