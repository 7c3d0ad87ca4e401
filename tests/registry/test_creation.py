"""A registered model is made once, whoever else makes or deletes one of its name at the same moment."""

from typing import Any

import pytest
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

from imagelab.registry.creation import create_once
from tests.conftest import Project


def test_the_second_is_told_that_there_was_one(project: Project) -> None:
    assert create_once(project.client, "claim", "history_claim", "a")
    assert not create_once(project.client, "claim", "history_claim", "b")
    assert project.client.get_registered_model("claim").tags == {"history_claim": "a"}


def test_one_that_is_deleted_while_mlflow_looks_at_it(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    create_once(project.client, "claim", "history_claim", "a")
    look = SqlAlchemyStore.get_registered_model

    def delete_and_look(store: Any, name: str) -> Any:
        monkeypatch.undo()
        store.delete_registered_model(name)
        return look(store, name)

    monkeypatch.setattr(SqlAlchemyStore, "get_registered_model", delete_and_look)
    assert not create_once(project.client, "claim", "history_claim", "b")
