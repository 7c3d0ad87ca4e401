"""What is loaded, kept and let go while an alias moves, without a server around it."""

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import mlflow
import numpy as np
import pytest
from starlette.requests import Request

from imagelab.errors import RegistryError
from imagelab.serving.alias_watcher import AliasWatcher
from imagelab.serving.app import Server
from imagelab.serving.prometheus import ServingMetrics
from imagelab.settings import ServeSettings
from tests.conftest import Project

NAME, ALIAS = "digits-basic_cnn", "followed"
IMAGES = np.full((3, 8, 8, 1), 200, np.uint8)


@pytest.fixture
def watcher(shop: Project) -> Iterator[AliasWatcher]:
    mlflow.set_tracking_uri(shop.uri)
    shop.client.set_registered_model_alias(NAME, ALIAS, "1")
    watcher = AliasWatcher(shop.client, NAME, ALIAS, ServingMetrics())
    yield watcher
    watcher.end()
    gc.unfreeze()
    shop.client.delete_registered_model_alias(NAME, ALIAS)


def move(watcher: AliasWatcher, version: str) -> None:
    watcher.lookup.client.set_registered_model_alias(NAME, ALIAS, version)
    watcher.check()


def word(watcher: AliasWatcher) -> str:
    return str(watcher.current.answer(IMAGES, None, None)["label"][0].split()[0])


def test_the_old_version_is_let_go(watcher: AliasWatcher) -> None:
    old = weakref.ref(watcher.current.model.served.network)
    move(watcher, "2")
    assert word(watcher) == "second"
    assert watcher.is_frozen is False
    watcher.check()
    assert old() is None
    assert gc.get_freeze_count() > 100_000  # what stays is not looked through again and again


def test_a_request_keeps_to_the_version_that_it_began_with(watcher: AliasWatcher) -> None:
    began_with = watcher.current
    move(watcher, "2")
    assert began_with.answer(IMAGES, None, None)["label"][0] == "first 7"


def test_threads_end_with_their_versions(watcher: AliasWatcher) -> None:
    before = threading.active_count()
    for version in ("2", "3", "4", "1", "2", "1"):
        move(watcher, version)
    deadline = time.monotonic() + 30  # a thread ends a moment after its version is let go
    while threading.active_count() > before + 1 and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.1)
    assert threading.active_count() <= before + 1, [each.name for each in threading.enumerate()]


def test_nothing_is_loaded_after_the_end(watcher: AliasWatcher) -> None:
    watcher.watch(0.01)
    watcher.lookup.client.set_registered_model_alias(NAME, ALIAS, "2")
    watcher.end()
    assert not [each for each in threading.enumerate() if each.name == "imagelab-alias-watcher"]


@pytest.mark.parametrize("version", ["3", "4"])
def test_a_version_that_failed_is_not_loaded_at_every_look(watcher: AliasWatcher, version: str) -> None:
    move(watcher, version)
    assert f"models:/{NAME}/{version}: " in str(watcher.problem)
    planned = watcher.next_attempt
    watcher.check()
    assert (watcher.next_attempt, word(watcher)) == (planned, "first")
    assert watcher.problem
    watcher.next_attempt = 0.0  # its time has come
    watcher.check()
    assert watcher.next_attempt > planned
    move(watcher, "2")  # another version need not wait
    assert word(watcher) == "second"
    assert [watcher.problem] == [None]


@pytest.mark.parametrize("version", ["3", "4"])
def test_a_version_that_does_not_answer_is_not_begun_with(shop: Project, version: str) -> None:
    mlflow.set_tracking_uri(shop.uri)
    shop.client.set_registered_model_alias(NAME, "unusable", version)
    try:
        with pytest.raises(RegistryError, match=f"models:/{NAME}/{version}: "):
            AliasWatcher(shop.client, NAME, "unusable", ServingMetrics())
    finally:
        shop.client.delete_registered_model_alias(NAME, "unusable")


def status(server: Server) -> int:
    response: Any = asyncio.run(server.health(Request({"type": "http"})))
    return int(response.status_code)


def test_health_is_that_of_the_model(watcher: AliasWatcher) -> None:
    """Its weights go bad in memory, and good again."""
    server = Server(ServeSettings(dataset="digits", model="basic_cnn"), watcher, ServingMetrics())
    assert status(server) == 200
    network = watcher.current.model.served.network
    weights = network.get_weights()
    network.set_weights([weight * np.nan for weight in weights])
    assert status(server) == 503
    network.set_weights(weights)
    assert status(server) == 200
    server.pool.shutdown()


def test_all_threads_share_what_explains(watcher: AliasWatcher) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: watcher.current.explainer, range(16)))
    assert len(set(map(id, found))) == 1
