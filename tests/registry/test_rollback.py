"""Back to another version; aliases moved by hand; the history."""

import shutil

import pytest
from mlflow.entities import ViewType

from imagelab.errors import RegistryError, SettingsError
from imagelab.registry.version_comparison import VersionComparison
from imagelab.registry.version_scores import VersionScores
from tests.registry.conftest import DAMAGES, NAME, Registry


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_rollback_to_damaged_files_is_refused_before_an_alias_moves(registry: Registry, damage: str) -> None:
    registry.promote("weak")
    registry.promote("strong")
    DAMAGES[damage](registry.network("weak"))
    what = "missing" if damage == "missing" else "damaged"
    for settings in ({}, {"to_version": 1}):
        with pytest.raises(RegistryError, match=f"models:/{NAME}/1: its files are {what}"):
            registry.roll_back(**settings)
    assert registry.aliases == {"champion": 2, "previous": 1}
    shutil.rmtree(registry.network("strong").parents[1])
    with pytest.raises(RegistryError, match=f"models:/{NAME}/2: its files "):
        registry.promote("other")
    assert registry.aliases["champion"] == 2


def test_rollbacks_swap_and_go_to_any_version(registry: Registry) -> None:
    registry.promote("weak")
    with pytest.raises(SettingsError, match="no previous champion to go back to.*to_version=N"):
        registry.roll_back()
    assert not registry.client.search_runs(["0"], "tags.phase = 'rollback'")
    [deleted] = registry.client.search_runs(["0"], "tags.phase = 'rollback'", run_view_type=ViewType.DELETED_ONLY)
    assert deleted.info.status == "FAILED"
    registry.promote("strong")
    assert "version 1 is champion again, version 2 is previous" in registry.roll_back()
    assert registry.aliases == {"champion": 1, "previous": 2}
    assert registry.operation("rollback").data.tags["verdict"] == "rolled back"
    assert (
        registry.client.get_model_version(NAME, "1").tags["rollback_run"] == registry.operation("rollback").info.run_id
    )
    registry.roll_back()
    assert registry.aliases == {"champion": 2, "previous": 1}
    registry.promote("other", min_improvement=-1, significance=0)
    registry.roll_back(to_version=1)
    assert registry.aliases == {"champion": 1, "previous": 3}
    assert "already; nothing changed" in registry.roll_back(to_version=1)
    with pytest.raises(SettingsError, match="to_version=9: .*has no such version"):
        registry.roll_back(to_version=9)
    history = registry.promote(history=True).splitlines()
    kinds = [line.split("UTC  ")[1].split(":")[0] for line in history[:-1]]
    once = ["challenger", "promotion"]
    assert kinds == [*once, *once, "rollback", "rollback", *once, "rollback"]
    assert [line[:4] for line in history[:-1]] == [f"{number:04d}" for number in range(1, 10)]
    assert history[-1] == f"{NAME}: champion 1, previous 3, challenger -"


def test_what_was_rolled_back_comes_again_only_by_name(registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    registry.promote("weak")
    registry.promote("strong")
    registry.roll_back()
    said = registry.promote("other", min_improvement=-1, significance=0)
    assert "version 3 is champion" in said
    registry.roll_back()
    assert f"version 1 (run {registry.runs['weak']}) is the champion already" in registry.promote()
    said = capsys.readouterr().err
    assert "version 2 (" in said
    assert f"was rolled back, and is passed over; -P run_id={registry.runs['strong']}" in said
    assert f"-P run_id={registry.runs['other']}" in said
    assert "version 2 is champion" in registry.promote("strong")
    capsys.readouterr()
    assert f"version 2 (run {registry.runs['strong']}) is the champion already" in registry.promote()
    assert capsys.readouterr().err == ""


def test_an_alias_moved_by_hand_while_a_promotion_compares_is_written_down(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.promote("weak")
    registry.promote("strong")
    compare = VersionComparison.compare

    def move_and_compare(self: VersionComparison, challenger: str, champion: str | None) -> VersionScores:
        comparison = compare(self, challenger, champion)
        if champion == "2":
            registry.client.set_registered_model_alias(NAME, "champion", "1")
        return comparison

    monkeypatch.setattr(VersionComparison, "compare", move_and_compare)
    registry.promote("other", min_improvement=-1, significance=0)
    assert registry.aliases == {"champion": 3, "previous": 1}
    history = registry.promote(history=True)
    assert "moved by hand: champion 1, previous 1, challenger 3" in history
    assert registry.client.get_model_version(NAME, "3").tags["compared_with"] == "1"


def test_an_alias_moved_by_hand_is_honoured_and_written_down(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    registry.promote("weak")
    registry.promote("strong")
    registry.client.set_registered_model_alias(NAME, "champion", "1")
    history = registry.promote(history=True)
    assert "moved by hand: champion 1, previous 1" in history
    assert "moved by hand" in capsys.readouterr().err
    registry.promote("strong")
    assert registry.aliases == {"champion": 2, "previous": 1}
    registry.client.delete_model_version(NAME, "1")
    assert "champion 2, previous -" in registry.promote(history=True)
    registry.promote("weak", min_improvement=-1, significance=0)
    assert registry.aliases == {"champion": 3, "previous": 2}


def test_a_history_that_was_deleted_can_be_restored(registry: Registry) -> None:
    registry.promote("weak")
    run_id = registry.client.get_registered_model(NAME).tags["history_run"]
    registry.client.delete_run(run_id)
    with pytest.raises(RegistryError, match=f"mlflow runs restore --run-id {run_id}"):
        registry.promote("strong")
    registry.client.restore_run(run_id)
    registry.promote("strong")
    assert registry.aliases == {"champion": 2, "previous": 1}


@pytest.mark.parametrize(("settings", "champion"), [({}, 1), ({"to_version": 1}, 2)])
def test_only_a_swap_that_was_cut_off_is_taken_for_the_same_command(
    registry: Registry, settings: dict[str, int], champion: int
) -> None:
    registry.promote("weak")
    registry.promote("strong")
    registry.roll_back(**settings)
    registry.client.set_terminated(registry.operation("rollback").info.run_id, "KILLED")
    assert ("nothing else moved" in registry.roll_back()) == (champion == 1)
    assert registry.aliases == {"champion": champion, "previous": 3 - champion}
