"""The command `serve`: runs the web application until Ctrl-C."""

import logging
import os
import shlex
import socket
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import ProxyHandler, build_opener

import uvicorn

from imagelab.console import say
from imagelab.errors import Interrupted, RegistryError, SettingsError
from imagelab.registry.lookup import Lookup
from imagelab.serving.served_version import VersionName
from imagelab.serving.workers import REASON
from imagelab.settings import ServeSettings
from imagelab.tracking import use_tracking_store

SETTINGS = "IMAGELAB_SERVE"  # where each process finds the settings, as JSON
LONGEST_STOP = 30  # seconds that requests under way may take after Ctrl-C
LONGEST_START = 10  # seconds in which a worker may be too busy to answer its supervisor: TensorFlow loads slowly
MOST_CONNECTIONS = 1000  # more are answered with status 503


def serve(settings: ServeSettings) -> str:
    """Answer requests until Ctrl-C or SIGTERM, then finish those under way; return the line that says it has stopped.

    Raises:
        RegistryError: the version cannot be loaded.
        SettingsError: there is no such model or alias, or the address is in use or not this machine's.
    """
    refuse_used_address(settings.host, settings.port)
    lookup = Lookup(use_tracking_store(), settings.registered_model, "serve")
    version = VersionName.of(lookup.version_behind(settings.alias), settings.alias)
    say(f"loading version {version.version} of {version.model} ({version.alias})")
    try:
        with TemporaryDirectory() as folder:
            if settings.workers > 1:
                os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # before the library is imported
            run(settings, version)
            refuse_failed_workers(Path(folder))
    except Interrupted:
        pass
    return f"stopped; {version.model} is not served any more"


def run(settings: ServeSettings, version: VersionName) -> None:
    os.environ[SETTINGS] = settings.model_dump_json()
    threading.Thread(target=announce, args=(settings, version), daemon=True).start()
    # Why a worker failed to start is shown once, at the end.
    logging.getLogger("uvicorn.error").addFilter(lambda record: "failed to start" not in str(record.msg))
    uvicorn.run(
        "imagelab.serving.app:create",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=LONGEST_STOP,
        timeout_worker_healthcheck=LONGEST_START,
        limit_concurrency=MOST_CONNECTIONS,
    )


def refuse_failed_workers(folder: Path) -> None:
    """Fail if the workers could not load the model; uvicorn stops them without an error."""
    if (reason := folder / REASON).exists():
        raise RegistryError(reason.read_text())


def refuse_used_address(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise SettingsError(f"port={port}: cannot listen on {host} ({error.strerror or error})") from None


def announce(settings: ServeSettings, version: VersionName) -> None:
    """Show the address and what to type next as soon as the server is healthy."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    address = f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"
    while not is_healthy(address):
        time.sleep(0.2)
    header = ' -H "Content-Type: application/json"'
    if settings.token_file:
        header += f' -H "Authorization: Bearer $(cat {shlex.quote(str(settings.token_file))})"'
    body = """(printf '{"inputs": ["'; base64 < IMAGE.png; printf '"]}')"""
    say(f"{version.model} version {version.version} answers on {address} (Ctrl-C stops it); a page to try it is there")
    say(f"ask it: {body} | curl -s {address}/invocations{header} -d @-")


def is_healthy(address: str) -> bool:
    try:
        with build_opener(ProxyHandler({})).open(f"{address}/health", timeout=15) as response:
            return bool(response.status == 200)
    except OSError:
        return False
