import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from imagelab.data.dataset import Split
from imagelab.errors import DivergedError, Interrupted, OutOfMemoryError, SettingsError
from imagelab.models import build_model
from imagelab.training import Checkpoints, precision
from imagelab.training.loop import predict, train
from imagelab.training.precision import choose_dtype_policy, refuse_impossible, under_policy
from imagelab.training.schedules import plateau_rate
from tests.conftest import thorough
from tests.training.plans import DIGITS, SPLITS, make_plan, skip_without

CURVES = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")


def fit(
    folder: Path, model: str = "basic_ann", policy: str = "float32", **settings: Any
) -> tuple[Checkpoints, keras.Model]:
    """Train a small network; settings not given are these."""
    on_epoch = settings.pop("on_epoch", lambda row: None)
    monitor = settings.pop("monitor", "val_loss")
    skip_without(policy)
    plan = make_plan(**{"seed": 1, "augmentation": "flip+shift", **settings})
    keras.utils.set_random_seed(plan.seed)
    with under_policy(policy):
        network = build_model(model, DIGITS.image_shape, 10)
    checkpoints = Checkpoints(folder, monitor)
    train(network, SPLITS, checkpoints, plan, on_epoch=on_epoch)
    return checkpoints, network


def curves(checkpoints: Checkpoints) -> list[list[float]]:
    return [[row[name] for name in CURVES] for row in checkpoints.rows]


@pytest.mark.parametrize(
    ("model", "policy"),
    [
        ("basic_cnn", "float32"),
        ("basic_ann", "mixed_bfloat16"),
        pytest.param("basic_ann", "float32", marks=thorough),
        pytest.param("deeper_cnn", "float32", marks=thorough),
        pytest.param("deeper_cnn", "mixed_bfloat16", marks=thorough),
        pytest.param("basic_cnn", "mixed_bfloat16", marks=thorough),
    ],
)
def test_the_same_seed_gives_the_same_bits(tmp_path: Path, model: str, policy: str) -> None:
    ends = []
    for name in ("first", "second"):
        checkpoints, network = fit(tmp_path / name, model, policy, epochs=2)
        ends.append((curves(checkpoints), [weight.tobytes() for weight in network.get_weights()]))
    assert ends[0] == ends[1]
    other, _ = fit(tmp_path / "other", model, policy, epochs=2, seed=2)
    assert curves(other) != ends[0][0]


@pytest.mark.parametrize(
    ("model", "policy", "schedule"),
    [
        ("basic_ann", "mixed_float16", "cosine"),
        pytest.param("deeper_cnn", "float32", "constant", marks=thorough),
        pytest.param("small_resnet", "float32", "one_cycle", marks=thorough),
        pytest.param("basic_ann", "float32", "constant", marks=thorough),
        pytest.param("basic_cnn", "mixed_bfloat16", "constant", marks=thorough),
        pytest.param("deeper_cnn", "float32", "cosine", marks=thorough),
        pytest.param("deeper_cnn", "mixed_bfloat16", "cosine", marks=thorough),
    ],
)
def test_a_resumed_training_ends_as_an_uninterrupted_one(
    tmp_path: Path, model: str, policy: str, schedule: str
) -> None:
    settings = {"learning_rate_schedule": schedule, "epochs": 4}
    whole, _ = fit(tmp_path / "whole", model, policy, **settings)

    def interrupt(row: dict[str, Any]) -> None:
        if row["epoch"] in (1, 3):
            raise Interrupted

    for epochs_done in (1, 3):
        with pytest.raises(Interrupted):
            fit(tmp_path / "parts", model, policy, on_epoch=interrupt, **settings)
        assert len(Checkpoints(tmp_path / "parts").rows) == epochs_done
    parts, _ = fit(tmp_path / "parts", model, policy, **settings)
    assert curves(parts) == curves(whole)
    weights = [keras.saving.load_model(c.best_path, compile=False).get_weights() for c in (whole, parts)]
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


TECHNIQUES: dict[str, dict[str, Any]] = {
    "plateau": {"learning_rate_schedule": "plateau", "learning_rate": 0.05, "epochs": 9, "warmup_epochs": 1},
    "average": {"ema": 0.9, "optimizer": "adamw", "learning_rate_schedule": "linear", "warmup_epochs": 1},
    "accumulation": {"gradient_accumulation": 7, "gradient_clipping": 0.5, "learning_rate_schedule": "one_cycle"},
    "mixed": {"mixup": 0.4, "cutmix": 0.5, "mix_off_epochs": 1, "optimizer": "lion", "learning_rate": 0.001},
    "images": {"augmentation": "rotation+zoom+randaugment+erasing", "optimizer": "sgd", "l2": 1e-3, "epochs": 2},
    "last epochs": {"average_epochs": 3, "learning_rate": 0.05},
    "balanced": {"class_weight": "balanced", "ema": 0.5, "gradient_accumulation": 2},
}


@pytest.mark.parametrize(
    "name", [name if name == "mixed" else pytest.param(name, marks=thorough) for name in TECHNIQUES]
)
def test_a_technique_goes_on_after_each_epoch_as_if_never_interrupted(tmp_path: Path, name: str) -> None:
    settings = {"epochs": 4, **TECHNIQUES[name]}
    whole, _ = fit(tmp_path / "whole", **settings)

    def interrupt(row: dict[str, Any]) -> None:
        raise Interrupted

    for _ in range(settings["epochs"]):
        with pytest.raises(Interrupted):
            fit(tmp_path / "parts", on_epoch=interrupt, **settings)
    parts, _ = fit(tmp_path / "parts", **settings)
    assert curves(parts) == curves(whole)
    weights = [keras.saving.load_model(c.best_path, compile=False).get_weights() for c in (whole, parts)]
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_too_little_memory_says_what_to_lower(tmp_path: Path) -> None:
    layers = [keras.layers.Flatten(), keras.layers.RepeatVector(2**28), keras.layers.GlobalAveragePooling1D()]
    network = keras.Sequential([keras.Input((8, 8, 1)), *layers, keras.layers.Dense(10, activation="softmax")])
    plan = make_plan(batch_size=50)
    with pytest.raises(OutOfMemoryError, match="steps of 50 images; take a batch_size below 50; gradient_acc"):
        train(network, SPLITS, Checkpoints(tmp_path), plan)


@pytest.mark.parametrize("average", [{"ema": 0.95}, {"average_epochs": 2}], ids=str)
def test_averaged_weights_are_those_that_are_validated_and_kept(tmp_path: Path, average: dict[str, Any]) -> None:
    checkpoints, network = fit(tmp_path, epochs=3, learning_rate=0.05, **average)
    assert checkpoints.best_row["epoch"] == 3
    network.load_weights(checkpoints.path_of(3))  # fit itself ends with the average in place
    last = predict(network, SPLITS[1])
    network.load_weights(checkpoints.best_path)
    averaged = predict(network, SPLITS[1])
    assert (averaged.argmax(1) == SPLITS[1].labels).mean() == pytest.approx(checkpoints.best_row["val_accuracy"])
    truth = averaged[np.arange(len(averaged)), SPLITS[1].labels]
    assert -np.log(truth).mean() == pytest.approx(checkpoints.best_row["val_loss"], rel=1e-3)
    assert np.abs(averaged - last).max() > 0.01


@thorough
def test_what_is_kept_is_the_mean_of_the_networks_after_the_last_epochs(tmp_path: Path) -> None:
    ends: list[list[np.ndarray]] = []

    def remember(row: dict[str, Any]) -> None:
        path = Checkpoints(tmp_path).path_of(row["epoch"])
        ends.append(keras.saving.load_model(path, compile=False).get_weights())

    settings = {"model": "resnet20", "augmentation": "none", "learning_rate": 0.001}
    checkpoints, _ = fit(tmp_path, epochs=4, average_epochs=3, on_epoch=remember, **settings)
    count = checkpoints.best_row["epoch"]
    assert count > 2
    kept = keras.saving.load_model(checkpoints.best_path, compile=False).get_weights()
    for mean, *after in zip(kept, *ends[1:count], strict=True):
        np.testing.assert_allclose(mean, np.mean(after, axis=0), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "technique",
    [
        *({"optimizer": name} for name in ("adamw", "sgd", "lion")),
        *({"weight_decay": 0.1}, {"gradient_clipping": 0.01}, {"gradient_accumulation": 2}, {"l2": 0.01}),
        *({"class_weight": "balanced"}, {"mixup": 0.2}, {"cutmix": 0.2}, {"ema": 0.5}, {"warmup_epochs": 1}),
        {"average_epochs": 2},
    ],
    ids=str,
)
def test_each_technique_alone_changes_the_training(tmp_path: Path, technique: dict[str, Any]) -> None:
    usual: dict[str, Any] = {"epochs": 2, "augmentation": "none"}
    assert curves(fit(tmp_path / "on", **usual, **technique)[0]) != curves(fit(tmp_path / "off", **usual)[0])


def test_batches_that_are_accumulated_count_in_the_schedule(tmp_path: Path) -> None:
    rates = [row["learning_rate"] for row in fit(tmp_path, learning_rate_schedule="cosine")[0].rows]
    settings = {"learning_rate_schedule": "cosine", "gradient_accumulation": 5}
    assert [row["learning_rate"] for row in fit(tmp_path / "5", **settings)[0].rows] == pytest.approx(rates)


def test_fewer_batches_than_one_update_takes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="gradient_accumulation=1000: there are 42 batches in all"):
        fit(tmp_path, epochs=2, gradient_accumulation=1000)


def test_what_changes_nothing_of_images_leaves_the_training_as_it_was(tmp_path: Path) -> None:
    off = {"mixup": 0.0, "cutmix": 0.0, "ema": 0.0, "l2": 0.0, "gradient_clipping": 0.0, "weight_decay": 0.0}
    assert curves(fit(tmp_path / "off", epochs=2, **off)[0]) == curves(fit(tmp_path / "plain", epochs=2)[0])


def test_early_stopping_counts_the_epochs_before_an_interruption(tmp_path: Path) -> None:
    settings = {"epochs": 100, "early_stopping_patience": 3, "learning_rate": 0.05}
    whole, _ = fit(tmp_path / "whole", **settings)
    stopped_after = len(whole.rows)
    assert stopped_after == whole.best_row["epoch"] + 3 < 100

    def interrupt(row: dict[str, Any]) -> None:
        if row["epoch"] == stopped_after - 1:
            raise Interrupted

    with pytest.raises(Interrupted):
        fit(tmp_path / "parts", on_epoch=interrupt, **settings)
    parts, _ = fit(tmp_path / "parts", **settings)
    assert curves(parts) == curves(whole)
    again, _ = fit(tmp_path / "parts", **settings)  # nothing is left to do
    assert curves(again) == curves(whole)


def test_the_best_epoch_is_kept(tmp_path: Path) -> None:
    checkpoints, network = fit(tmp_path, epochs=6, learning_rate=0.05)
    network.load_weights(checkpoints.best_path)
    accuracy = (predict(network, SPLITS[1]).argmax(1) == SPLITS[1].labels).mean()
    assert accuracy == pytest.approx(checkpoints.best_row["val_accuracy"])
    assert checkpoints.best_row["val_loss"] == min(row["val_loss"] for row in checkpoints.rows)
    files = {path.name for path in tmp_path.iterdir()}
    assert files == {"best.keras", "epoch-00006.keras", "progress.json"}


def test_accuracy_may_choose_stop_and_lower_the_rate(tmp_path: Path) -> None:
    settings = {"monitor": "val_accuracy", "epochs": 60, "early_stopping_patience": 6, "batch_size": 64}
    settings |= {"learning_rate": 0.05, "learning_rate_schedule": "plateau"}
    whole, network = fit(tmp_path / "whole", **settings)
    accuracies = [row["val_accuracy"] for row in whole.rows]
    best = accuracies.index(max(accuracies))
    losses = [row["val_loss"] for row in whole.rows]
    assert best != losses.index(min(losses))
    assert whole.best_row is whole.rows[best]
    assert len(whole.rows) == best + 1 + 6 < 60
    network.load_weights(whole.best_path)
    assert (predict(network, SPLITS[1]).argmax(1) == SPLITS[1].labels).mean() == pytest.approx(max(accuracies))
    rates = [plateau_rate(0.05, [-each for each in accuracies[:done]]) for done in range(len(accuracies))]
    assert [row["learning_rate"] for row in whole.rows] == pytest.approx(rates)
    assert rates != [plateau_rate(0.05, losses[:done]) for done in range(len(losses))]

    def interrupt(row: dict[str, Any]) -> None:
        if row["epoch"] in (best + 3, len(whole.rows)):
            raise Interrupted

    for _ in range(2):
        with pytest.raises(Interrupted):
            fit(tmp_path / "parts", on_epoch=interrupt, **settings)
    parts, _ = fit(tmp_path / "parts", **settings)
    assert curves(parts) == curves(whole)


def test_training_ends_when_the_time_is_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def take(row: dict[str, Any]) -> None:
        row["epoch_seconds"] = 20.0 if row["epoch"] != 2 else 15.0

    whole, _ = fit(tmp_path / "whole", epochs=3, learning_rate_schedule="cosine")
    assert len(fit(tmp_path / "none", epochs=3, time_limit=1e-9)[0].rows) == 1
    assert "the time is up: another epoch would end after time_limit=1e-09 minutes" in capsys.readouterr().err
    enough, _ = fit(tmp_path / "enough", epochs=3, time_limit=1, on_epoch=take, learning_rate_schedule="cosine")
    assert curves(enough) == curves(whole)  # 20 + 15 + 20 seconds
    assert "the time is up" not in capsys.readouterr().err
    shorter = {"epochs": 9, "time_limit": 0.9}
    assert len(fit(tmp_path / "shorter", on_epoch=take, **shorter)[0].rows) == 2
    assert capsys.readouterr().err.count("the time is up") == 1


@thorough
def test_schedules_span_the_epochs_that_fit_into_the_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And an interruption changes nothing of that."""
    settings = {"epochs": 50, "time_limit": 1.2, "learning_rate_schedule": "cosine", "average_epochs": 3}

    def keep(folder: Path, row: dict[str, Any]) -> None:
        """Each epoch takes 12 seconds, on disk, too."""
        row["epoch_seconds"] = 12.0
        path = folder / "progress.json"
        path.write_text(json.dumps([{**each, "epoch_seconds": 12.0} for each in json.loads(path.read_text())]))

    def interrupt(row: dict[str, Any]) -> None:
        keep(tmp_path / "parts", row)
        raise Interrupted

    whole, _ = fit(tmp_path / "whole", on_epoch=lambda row: keep(tmp_path / "whole", row), **settings)
    rates = [row["learning_rate"] for row in whole.rows]
    assert len(rates) == 6
    assert "6 of 50 epochs fit into time_limit=1.2 minutes" in capsys.readouterr().err
    assert rates[1] > 0.0099  # as if all 50 were to come
    assert rates[2:] == pytest.approx([0.01 * (1 + np.cos(np.pi * done / 6)) / 2 for done in (3, 4, 5, 6)], abs=1e-6)
    for _ in range(6):
        with pytest.raises(Interrupted):
            fit(tmp_path / "parts", on_epoch=interrupt, **settings)
    parts, _ = fit(tmp_path / "parts", **settings)
    assert curves(parts) == curves(whole)


def test_compiling_for_the_shorter_schedule_takes_time_too(tmp_path: Path) -> None:
    """Epochs 1 and 3 compile."""

    def take(row: dict[str, Any]) -> None:
        row["epoch_seconds"] = 4.0 if row["epoch"] in (1, 3) else 1.0

    settings = {"epochs": 500, "time_limit": 18 / 60, "learning_rate_schedule": "cosine", "gradient_accumulation": 250}
    settings["early_stopping_patience"] = 0
    rows = fit(tmp_path, on_epoch=take, **settings)[0].rows
    assert len(rows) == 2 + (18 - 4 - 4 - 3)
    assert rows[-1]["learning_rate"] == pytest.approx(0, abs=1e-7)


def test_no_phase_takes_the_time_of_the_one_before(tmp_path: Path) -> None:
    rows = [{"epoch": n, "phase": "head" if n < 4 else "fine_tune", "epoch_seconds": 10.0 * n} for n in range(1, 6)]
    (tmp_path / "progress.json").write_text(json.dumps(rows))
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.epochs_in_time("head", 2) == 2 + (120 - 10 - 20) // 20
    assert checkpoints.epochs_in_time("fine_tune", 5) == 2 + (300 - 60 - 40 - 50) // 50
    assert checkpoints.epochs_in_time("fine_tune", 1) == 2


def test_a_resumed_training_has_the_time_that_is_left(tmp_path: Path) -> None:
    checkpoints, _ = fit(tmp_path, epochs=2)
    rows = [{**row, "epoch_seconds": 25.0} for row in checkpoints.rows]
    (tmp_path / "progress.json").write_text(json.dumps(rows))
    assert len(fit(tmp_path, epochs=9, time_limit=1.2)[0].rows) == 2
    assert len(fit(tmp_path, epochs=3, time_limit=1.3)[0].rows) == 3


def test_a_loss_that_is_no_number_ends_the_training(tmp_path: Path) -> None:
    def burn(row: dict[str, Any]) -> None:
        if row["epoch"] == 2:
            network.layers[-2].kernel.assign(network.layers[-2].kernel * np.nan)

    keras.utils.set_random_seed(0)
    network = build_model("basic_ann", DIGITS.image_shape, 10)
    with pytest.raises(DivergedError, match=r"NaN or infinite in epoch 3; try a learning_rate below 0\.01"):
        train(network, SPLITS, Checkpoints(tmp_path), make_plan(epochs=9), on_epoch=burn)
    assert len(Checkpoints(tmp_path).rows) == 2


def test_rows_hold_every_curve(tmp_path: Path) -> None:
    rows = fit(tmp_path, epochs=2, learning_rate_schedule="cosine")[0].rows
    measured = {"epoch", "phase", "timestamp", "epoch_seconds", "epoch_processor_seconds", "images_per_second"}
    assert set(rows[0]) == {*CURVES, *measured}
    assert [(row["epoch"], row["phase"]) for row in rows] == [(1, "train"), (2, "train")]
    assert rows[1]["learning_rate"] == pytest.approx(0, abs=1e-9)


def test_more_than_ten_classes_bring_top_5(tmp_path: Path) -> None:
    train_split, val_split = SPLITS
    labels = np.arange(len(train_split)) % 12
    network = build_model("basic_ann", DIGITS.image_shape, 12)
    train(network, (Split(train_split.images, labels), val_split), Checkpoints(tmp_path), make_plan(epochs=1))
    assert {"top_5_accuracy", "val_top_5_accuracy"} <= set(Checkpoints(tmp_path).rows[0])


def test_a_checkpoint_cut_short_is_not_seen(tmp_path: Path) -> None:
    """Whatever is written beside and not moved, as after kill -9 or with a full disk, counts for nothing."""
    checkpoints, _ = fit(tmp_path, epochs=2)
    (tmp_path / "part-epoch-00003.keras").write_bytes(b"half")
    (tmp_path / "part-progress.json").write_text("[")
    again, _ = fit(tmp_path, epochs=2)
    assert again.rows == checkpoints.rows


@pytest.mark.parametrize("faster", [True, False])
def test_bfloat16_is_chosen_only_where_it_is_faster(monkeypatch: pytest.MonkeyPatch, faster: bool) -> None:
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.setattr(precision, "is_faster_in_bfloat16", lambda with_amx: faster and with_amx)
    assert choose_dtype_policy("auto") == ("mixed_bfloat16" if faster else "float32")
    assert choose_dtype_policy("float16") == "mixed_float16"
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")
    assert choose_dtype_policy("auto") == "float32"


def test_a_limit_of_onednn_below_bfloat16_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert choose_dtype_policy("auto") == "float32"
    refuse_impossible("float32")
    with pytest.raises(SettingsError, match="mixed_precision=bfloat16: ONEDNN_MAX_CPU_ISA=AVX2 keeps oneDNN from it"):
        refuse_impossible("mixed_bfloat16")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_AMX")
    refuse_impossible("mixed_bfloat16")


def test_a_limit_below_float16_is_respected_where_the_processor_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")
    monkeypatch.setattr(precision, "instruction_sets", lambda *_: ["avx512_fp16"])
    with pytest.raises(
        SettingsError, match="mixed_precision=float16: ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16 keeps oneDNN"
    ):
        refuse_impossible("mixed_float16")
    monkeypatch.setattr(precision, "instruction_sets", lambda *_: [])
    refuse_impossible("mixed_float16")  # it is converted
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_FP16")
    monkeypatch.setattr(precision, "instruction_sets", lambda *_: ["avx512_fp16"])
    refuse_impossible("mixed_float16")


def test_the_dtype_policy_is_left_as_it_was() -> None:
    before = keras.config.dtype_policy().name
    with under_policy("mixed_bfloat16"):
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    assert keras.config.dtype_policy().name == before
