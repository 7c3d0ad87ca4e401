"""Luck and more than luck, told apart, and said in words that the tests bear."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from imagelab.comparison.findings import extreme, find, most_confused, price
from imagelab.comparison.mistakes import mistakes_by_class
from imagelab.comparison.pairs import compare_pairs, frame_of_pairs, p_text
from imagelab.comparison.results import Results
from imagelab.comparison.sections import row_of_pair
from imagelab.comparison.training import Configuration, Training, training_of, with_features
from imagelab.settings import TrainSettings


def configuration(accuracies: dict[int, float], **settings: Any) -> Configuration:
    """With a test accuracy for each seed."""
    trainings = []
    for seed, accuracy in accuracies.items():
        given = TrainSettings(**{"dataset": "digits", "seed": seed, **settings}).with_recipe()
        metrics = {"test_accuracy": accuracy, "best_val_accuracy": accuracy, "parameter_count": 1000 * accuracy}
        run_id = f"{given.model}-{settings.get('learning_rate', '')}-{seed}"
        trainings.append(Training(run_id, "", given.model_dump(mode="json"), "d", metrics, 0))
    return Configuration(tuple(trainings), trainings[0].run_id.rsplit("-", 1)[0].rstrip("-"))


def answers(right: np.ndarray) -> pd.DataFrame:
    labels = np.arange(len(right)) % 10
    predicted = np.where(right, labels, (labels + 1) % 10)
    frame = {"label": labels, "class": labels.astype(str), "predicted": predicted, "correct": right}
    return pd.DataFrame({**frame, "predicted_class": predicted.astype(str), "probability": 0.5})


def first_wrong(of: int, wrong: int, at: int = 0) -> pd.DataFrame:
    places = np.arange(of)
    return answers((places < at) | (places >= at + wrong))


def test_one_seed_each_says_something_of_two_networks_only() -> None:
    ann, cnn = configuration({0: 0.8}, model="basic_ann"), configuration({0: 0.9}, model="basic_cnn")
    results = Results({"basic_ann--0": first_wrong(100, 20), "basic_cnn--0": first_wrong(100, 10)})
    [pair] = compare_pairs([ann, cnn], results)
    assert pair.verdict == "of these two networks only"
    assert str(pair) == (
        "the network of basic_cnn (seed 0) is better than that of basic_ann (seed 0) by 10.0 points on the same 100 "
        "images, p = 0.002 (McNemar); of one seed each: about these two networks only"
    )
    results = Results({"basic_ann--0": first_wrong(100, 5), "basic_cnn--0": first_wrong(100, 4, at=50)})
    [pair] = compare_pairs([ann, cnn], results)
    assert pair.verdict == "not shown"
    assert "by 1.0 points on the same 100 images, which can be luck: p = 1 (McNemar)" in str(pair)


def test_what_differs_by_the_seed_alone_is_luck_whatever_the_images_say() -> None:
    one, other = configuration({0: 0.9}, model="basic_ann"), configuration({1: 0.8}, model="basic_ann")
    results = Results({"basic_ann--0": first_wrong(100, 10), "basic_ann--1": first_wrong(100, 20)})
    [pair] = compare_pairs([one, other], results)
    assert pair.verdict == "no: the seed's doing"
    assert str(pair).endswith("p = 0.002 (McNemar); their settings are equal, so it is the luck of the seed")


def test_seeds_decide_where_there_are_some() -> None:
    cnn = configuration({0: 0.91, 1: 0.92, 2: 0.93}, model="basic_cnn")
    ann = configuration({0: 0.81, 1: 0.83, 2: 0.82}, model="basic_ann")
    near = configuration({0: 0.90, 1: 0.94, 2: 0.91}, model="basic_cnn", learning_rate=0.5)
    pairs = compare_pairs([cnn, ann, near], Results())
    words = {(pair.first.label, pair.second.label): str(pair) for pair in pairs}
    assert words["basic_cnn", "basic_ann"] == (
        "basic_cnn is better than basic_ann by 10.0 points over 3 seeds, p = 0.01 after correction for 3 pairs "
        "(paired t-test)"
    )
    assert "which can be luck" in words["basic_cnn", "basic_cnn-0.5"]
    assert sorted(pair.verdict for pair in pairs) == ["not shown", "yes, over seeds", "yes, over seeds"]


def test_what_no_test_was_made_of_is_not_claimed() -> None:
    ann, cnn = configuration({0: 0.2}, model="basic_ann"), configuration({1: 0.9}, model="basic_cnn")
    [pair] = compare_pairs([ann, cnn], Results())
    assert str(pair).endswith("not tested, for lack of answers to the same images")
    assert pair.verdict == "not tested"


def test_findings_are_computed_and_say_their_test() -> None:
    basic, deeper = configuration({0: 0.8}, model="basic_cnn"), configuration({0: 0.9}, model="deeper_cnn")
    hard = answers(np.arange(1000) % 10 != 3)  # all of class 3 wrong, which nothing else is
    results = Results({"basic_cnn--0": first_wrong(1000, 500), "deeper_cnn--0": hard})
    found = find([deeper, basic], compare_pairs([basic, deeper], results), results, {})
    text = "\n".join(map(str, found))
    assert "deeper against basic: the network of deeper_cnn (seed 0) is better than that of basic_cnn" in text
    assert "deeper_cnn has 1.1 times the parameters (900 to 800)" in text
    assert "hardest class for deeper_cnn, seed 0: 3 (0.0 % of 100 images right)" in text
    assert "highest accuracy by class of deeper_cnn, seed 0: 100.0 %, shared by 9, 8, 7, 6, 5 and 4 more" in text
    near = extreme("easiest", "highest", [("a", 90, 100), ("b", 89, 100)], "basic_cnn")
    assert near.startswith(
        "highest accuracy by class of basic_cnn: a (90.0 % of 100 images right), next is b with 89.0 %"
    )
    assert near.endswith("that a is the easiest is not shown (Fisher's exact test, p = 1)")
    alike = extreme("easiest", "highest", [("a", 36, 36), ("b", 37, 37), ("c", 1, 2)], "basic_cnn")
    assert alike == "highest accuracy by class of basic_cnn: 100.0 %, shared by a, b"
    assert "3 taken for 4 (100 of 100 images)" in text
    assert "CNN against ANN" not in text
    assert {each.figure for each in found} == {"pairs", "cost", "mistakes-on-digits"}


def test_the_table_of_mistakes_holds_what_the_findings_say() -> None:
    first, *others = mistakes_by_class(answers(np.arange(1000) % 10 != 3), np.arange(10) % 2)
    assert (first["class"], first["right"], first["accuracy"]) == ("3", "0", "0.0%")
    assert first["most often taken for"] == "4 (100)"
    assert first["errors inside the superclass"] == "0 of 100"
    assert {row["accuracy"] for row in others} == {"100.0%"}


def test_near_the_limit_a_p_value_shows_on_which_side_it_is() -> None:
    assert [p_text(p) for p in (0.0496, 0.0504, 0.42, 0.00001)] == ["= 0.0496", "= 0.0504", "= 0.42", "< 0.0001"]


def test_a_single_image_is_no_habit_and_ties_are_said() -> None:
    assert most_confused(first_wrong(100, 10), "cnn") == "cnn confuses no pair of classes more than once"
    said = most_confused(first_wrong(100, 20), "cnn")
    assert said.startswith("confused most often by cnn: 0 taken for 1 (2 of 10 images), 1 taken for 2 (2 of 10 images)")
    assert said.endswith(", and 7 more as often as the last")


def test_networks_that_are_right_equally_often_are_not_ahead_of_each_other() -> None:
    ann, cnn = configuration({0: 0.9}, model="basic_ann"), configuration({0: 0.9}, model="basic_cnn")
    [pair] = compare_pairs(
        [ann, cnn], Results({"basic_ann--0": first_wrong(100, 10), "basic_cnn--0": first_wrong(100, 10, 50)})
    )
    assert str(pair) == (
        "the networks of basic_ann (seed 0) and basic_cnn (seed 0) are right on equally many of the same 100 images"
    )
    ann, cnn = (configuration({0: one, 1: other}, model="basic_ann") for one, other in ((0.7, 0.9), (0.9, 0.7)))
    [pair] = compare_pairs([ann, cnn], Results())
    assert str(pair) == "basic_ann and basic_ann are right equally often over 2 seeds"


def test_a_table_of_pairs_has_the_points_of_all_seeds_and_of_the_two_networks() -> None:
    ann, cnn = configuration({0: 0.8, 1: 0.7}, model="basic_ann"), configuration({0: 0.9, 2: 0.9}, model="basic_cnn")
    results = Results({"basic_ann--0": first_wrong(100, 20), "basic_cnn--0": first_wrong(100, 10)})
    [pair] = compare_pairs([ann, cnn], results)
    [row] = frame_of_pairs([pair]).to_dict("records")
    assert (round(row["points"], 6), row["points_of_networks"], row["only_first_right"]) == (15, 10, 10)
    shown = row_of_pair(pair)
    assert (shown["points, all seeds"], shown["points, two networks"]) == ("15.00", "10.00")
    assert (shown["McNemar p"], shown["t-test p"]) == ("0.002", "not tested")


def test_a_network_whose_label_holds_its_seed_is_not_given_it_twice() -> None:
    one = configuration({0: 0.8})
    assert one.name_of_network(0) == "basic_cnn, seed 0"
    assert replace(one, label="basic_cnn, seed 0").name_of_network(0) == "basic_cnn, seed 0"


def test_the_price_of_features_counts_whoever_computed_them() -> None:
    metrics = {"best_val_accuracy": 0.5, "test_accuracy": 0.5, "training_seconds": 10.0}
    metrics |= {"feature_seconds": 5.0, "feature_seconds_saved": 85.0}
    tags = {"settings": '{"dataset": "digits", "model": "resnet50"}'}
    info = SimpleNamespace(run_id="r", run_name="", lifecycle_stage="active", status="FINISHED", start_time=0)
    found = training_of(SimpleNamespace(info=info, data=SimpleNamespace(tags=tags, metrics=metrics)))
    assert isinstance(found, Training)
    scratch = Training("s", "", {"dataset": "digits", "model": "basic_cnn"}, "", {"seconds_with_features": 50.0}, 0)
    assert "processor_seconds_with_features" not in found.metrics  # nobody has measured those of the features
    one, other = Configuration((found,)), Configuration((scratch,))
    assert price(one, other) == "resnet50 has 2 times the seconds of training (100 to 50)"


def test_processor_seconds_are_of_training_and_features() -> None:
    measured = {"training_processor_seconds": 10.0}
    assert with_features(measured)["processor_seconds_with_features"] == 10
    of_features = {"feature_seconds": 5.0, "feature_processor_seconds": 9.0}
    assert with_features(measured | of_features)["processor_seconds_with_features"] == 19
    not_known = {"feature_seconds": 0.0, "feature_seconds_saved": 0.0}
    assert "processor_seconds_with_features" not in with_features(measured | not_known)


def test_a_price_that_is_not_known_is_not_said() -> None:
    one = configuration({0: 0.8})
    assert price(one, one) == "basic_cnn has 1 times the parameters (800 to 800)"


@pytest.mark.parametrize("seeds", [1, 2])
def test_different_data_sets_are_no_pair(seeds: int) -> None:
    each = dict.fromkeys(range(seeds), 0.5)
    assert compare_pairs([configuration(each), configuration(each, dataset="cifar100")], Results()) == []
