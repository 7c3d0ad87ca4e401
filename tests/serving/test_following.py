"""What is loaded, kept and let go while an alias moves, without a server around it."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import mlflow
import numpy as np
import pytest
from starlette.requests import Request

from imagelab.errors import RegistryError
from imagelab.serving.application import Server
from imagelab.serving.following import FollowingModel
from imagelab.serving.metrics import Metrics
from imagelab.settings import ServeSettings
from tests.conftest import Project

NAME, ALIAS = "digits-basic_cnn", "followed"
IMAGES = np.full((3, 8, 8, 1), 200, np.uint8)


@pytest.fixture
def following(shop: Project) -> Iterator[FollowingModel]:
    mlflow.set_tracking_uri(shop.uri)
    shop.client.set_registered_model_alias(NAME, ALIAS, "1")
    following = FollowingModel(shop.client, NAME, ALIAS, Metrics())
    yield following
    following.end()
    gc.unfreeze()
    shop.client.delete_registered_model_alias(NAME, ALIAS)


def move(following: FollowingModel, version: str) -> None:
    following.client.set_registered_model_alias(NAME, ALIAS, version)
    following.look()


def word(following: FollowingModel) -> str:
    return str(following.loaded.answer(IMAGES, None, None)["label"][0].split()[0])


def test_the_old_version_is_let_go(following: FollowingModel) -> None:
    old = weakref.ref(following.loaded.served.network)
    move(following, "2")
    assert word(following) == "second"
    assert following.settled is False
    following.look()
    assert old() is None
    assert gc.get_freeze_count() > 100_000  # what stays is not looked through again and again


def test_a_request_keeps_to_the_version_that_it_began_with(following: FollowingModel) -> None:
    began_with = following.loaded
    move(following, "2")
    assert began_with.answer(IMAGES, None, None)["label"][0] == "first 7"


def test_threads_end_with_their_versions(following: FollowingModel) -> None:
    before = threading.active_count()
    for version in ("2", "3", "4", "1", "2", "1"):
        move(following, version)
    gc.collect()
    batchers = [each for each in threading.enumerate() if each.name == "imagelab-batcher"]
    for each in batchers[:-1]:
        each.join(1)
    assert threading.active_count() <= before + 1


def test_nothing_is_loaded_after_the_end(following: FollowingModel) -> None:
    following.follow(0.01)
    following.client.set_registered_model_alias(NAME, ALIAS, "2")
    following.end()
    assert not [each for each in threading.enumerate() if each.name == "imagelab-follow"]


@pytest.mark.parametrize("version", ["3", "4"])
def test_a_version_that_failed_is_not_loaded_at_every_look(following: FollowingModel, version: str) -> None:
    move(following, version)
    assert f"version {version} of" in str(following.trouble)
    planned = following.next_attempt
    following.look()
    assert (following.next_attempt, word(following)) == (planned, "first")
    assert following.trouble
    following.next_attempt = 0.0  # its time has come
    following.look()
    assert following.next_attempt > planned
    move(following, "2")  # another version need not wait
    assert word(following) == "second"
    assert [following.trouble] == [None]


@pytest.mark.parametrize("version", ["3", "4"])
def test_a_version_that_does_not_answer_is_not_begun_with(shop: Project, version: str) -> None:
    mlflow.set_tracking_uri(shop.uri)
    shop.client.set_registered_model_alias(NAME, "unusable", version)
    try:
        with pytest.raises(RegistryError, match=f"version {version} of digits-basic_cnn"):
            FollowingModel(shop.client, NAME, "unusable", Metrics())
    finally:
        shop.client.delete_registered_model_alias(NAME, "unusable")


def status(server: Server) -> int:
    response: Any = asyncio.run(server.health(Request({"type": "http"})))
    return int(response.status_code)


def test_health_is_that_of_the_model(following: FollowingModel) -> None:
    """Its weights go bad in memory, and good again."""
    server = Server(ServeSettings(dataset="digits", model="basic_cnn"), following, Metrics())
    assert status(server) == 200
    network = following.loaded.served.network
    weights = network.get_weights()
    network.set_weights([weight * np.nan for weight in weights])
    assert status(server) == 503
    network.set_weights(weights)
    assert status(server) == 200
    server.pool.shutdown()


def test_all_threads_share_what_explains(following: FollowingModel) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: following.loaded.attention, range(16)))
    assert len(set(map(id, found))) == 1
