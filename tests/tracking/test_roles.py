"""What a run is, by its tags; and that what `train` cannot go on with is refused with what it is."""

from typing import Any

import pytest

from imagelab.errors import SettingsError
from imagelab.settings import TrainSettings
from imagelab.tracking.resume import refuse_early
from imagelab.tracking.roles import existing_run, role_of


@pytest.mark.parametrize(
    ("tags", "role"),
    [
        ({"role": "evaluation", "trial_number": "3"}, "evaluation"),
        ({"trial_number": "3", "phase": "train"}, "trial"),
        ({"phase": "study"}, "parent"),
        *(({"phase": phase}, phase) for phase in ("promotion", "rollback", "history", "prediction", "evaluation")),
        ({"phase": "fine_tune"}, "final"),
        ({}, "final"),
    ],
)
def test_a_run_of_before_says_by_other_tags_what_it_is(client: Any, tags: dict[str, str], role: str) -> None:
    assert role_of(client.create_run("0", tags=tags)) == role


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"role": "trial"}, "a trial of a study; type the study's tune again, which goes on with it"),
        ({"trial_number": "1"}, "a trial of a study; type the study's tune again, which goes on with it"),
        ({"role": "parent"}, "the parent of other runs; type its command again, which goes on with it"),
        ({"phase": "study"}, "the parent of other runs; type its command again, which goes on with it"),
        ({"role": "promotion"}, "no training, but of the role promotion; type its command again"),
        ({"role": "final", "model": "ensemble"}, "an ensemble, which begins anew; type its command again"),
    ],
)
def test_what_is_no_training_is_not_resumed(client: Any, tags: dict[str, str], said: str) -> None:
    run_id = client.create_run("0", tags=tags).info.run_id
    client.set_terminated(run_id, "KILLED")
    with pytest.raises(SettingsError) as error:
        refuse_early(TrainSettings(resume=run_id))
    assert str(error.value) == f"resume={run_id}: that run is {said}"


def test_a_run_that_the_store_lacks_is_refused_with_the_setting(client: Any) -> None:
    with pytest.raises(SettingsError, match=r"^runs=0{32}: the tracking store has no such run$"):
        existing_run(client, "0" * 32, "runs")
