"""Networks on a backbone: built, loaded, frozen, unfrozen, saved; MobileNetV2 stands for all where one is enough."""

import functools
import http.server
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras.src.applications import resnet
from keras.src.legacy.saving import legacy_h5_format

from imagelab.data import load_dataset
from imagelab.data.dataset import Split
from imagelab.errors import Interrupted, SettingsError, WeightsError
from imagelab.features import FeatureSource
from imagelab.models import BACKBONES, build_model
from imagelab.models.transfer import backbone_of, describe_features, first_layer, head_of, is_frozen, unfreeze
from imagelab.training import Checkpoints, fine_tune, predict, restore_best, train, under_policy

DIGITS = load_dataset("digits")
OPTIONS: dict[str, Any] = {"image_size": 32, "head": "linear", "pooled_stages": 1}


def build(name: str = "mobilenet_v2", shape: tuple[int, int, int] = (8, 8, 1), **options: Any) -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_model(name, shape, 10, **{**OPTIONS, **options})


@pytest.mark.parametrize("name", BACKBONES)
def test_each_backbone_trains_from_scratch(name: str, tmp_path: Path) -> None:
    network = build(name, weights="none", head="mlp")
    assert not is_frozen(network)
    fitted, validated = DIGITS.train.take(slice(0, 96)), DIGITS.train.take(slice(96, 128))
    before = network.get_weights()
    checkpoints = Checkpoints(tmp_path)
    train(network, fitted, validated, checkpoints, epochs=1, batch_size=32, learning_rate=0.001)
    assert [row["epoch"] for row in checkpoints.rows] == [1]
    changed = [not np.array_equal(a, b) for a, b in zip(before, network.get_weights(), strict=True)]
    assert np.mean(changed) > 0.95
    loaded = keras.saving.load_model(checkpoints.path_of(1), compile=False)
    np.testing.assert_allclose(predict(loaded, validated), predict(network, validated), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("shape", [(8, 8, 1), (32, 32, 3), (40, 50, 3)], ids=str)
def test_raw_pixels_of_any_shape_go_in(name: str, shape: tuple[int, int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, *shape), np.uint8)
    probabilities = build(name, shape, weights="none").predict(pixels, verbose=0)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_grey_images_are_seen_as_colour_images_of_three_equal_channels(mobilenet_weights: str) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 1), np.uint8)
    seen = [
        keras.Model(network.input, network.get_layer("features").output).predict(images, verbose=0)
        for network, images in (
            (build(shape=(32, 32, 1), weights=mobilenet_weights), grey),
            (build(shape=(32, 32, 3), weights=mobilenet_weights), np.repeat(grey, 3, axis=3)),
        )
    ]
    np.testing.assert_allclose(seen[0], seen[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet50", "vgg16", "mobilenet_v2"])
def test_preprocessing_is_the_applications_own(name: str) -> None:
    network = build(name, (32, 32, 3), weights="none")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    preprocess = getattr(keras.applications, name).preprocess_input
    (maps,) = keras.tree.flatten(backbone_of(network)(preprocess(pixels.astype(np.float32))))
    features = keras.Model(network.input, network.get_layer("features").output)
    np.testing.assert_allclose(features.predict(pixels, verbose=0), maps.numpy().mean((1, 2)), rtol=1e-3, atol=1e-4)


def test_features_of_several_stages_stand_side_by_side(mobilenet_weights: str) -> None:
    lengths = [
        build(weights=mobilenet_weights, pooled_stages=n).get_layer("features").output.shape[-1] for n in (1, 2, 3)
    ]
    assert lengths == [1280, 1280 + 576, 1280 + 576 + 192]
    with pytest.raises(SettingsError, match="pooled_stages=2: this backbone has 1"):
        build("vit", weights="none", pooled_stages=2)


@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
def test_weights_are_read_from_both_kinds_of_file_and_known_by_their_digest(tmp_path: Path, suffix: str) -> None:
    keras.utils.set_random_seed(2)
    other = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(64, 64, 3))
    path = tmp_path / f"file{suffix}"
    (other.save if suffix == ".keras" else other.save_weights)(path)
    network = build(weights=str(path))
    assert is_frozen(network)
    for mine, theirs in zip(backbone_of(network).get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    digest = describe_features(network)["weights_digest"]
    assert digest == describe_features(build(weights=str(path), image_size=64))["weights_digest"]
    assert digest != describe_features(build(weights="none"))["weights_digest"]


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        ("VGG16", r"layer conv1_conv has shape \(7, 7, 3, 64\), in the file \(3, 3, 3, 64\) \(10\d layers differ\)"),
        ("MobileNetV2", r"layer conv1_conv has 2 variables, in the file 1 "),
    ],
)
@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
def test_weights_of_another_network_are_refused(tmp_path: Path, other: str, difference: str, suffix: str) -> None:
    network = getattr(keras.applications, other)(include_top=False, weights=None, input_shape=(32, 32, 3))
    path = tmp_path / f"other{suffix}"
    (network.save if suffix == ".keras" else network.save_weights)(path)
    with pytest.raises(SettingsError, match=difference) as error:
        build("resnet50", weights=str(path))
    assert "\n" not in str(error.value)


def test_a_damaged_weights_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "damaged.weights.h5"
    path.write_bytes(b"no weights")
    with pytest.raises(SettingsError, match=f"weights={path}: not the weights of") as error:
        build(weights=str(path))
    assert "\n" not in str(error.value)


@pytest.fixture
def imagenet_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Keras's own download of ResNet50's weights, from a folder served here in the format that Keras's server has."""
    served = tmp_path / "served"
    served.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(served))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(resnet, "BASE_WEIGHTS_PATH", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setattr(keras.config, "keras_home", lambda: str(tmp_path / "home"), raising=False)
        monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
        monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path / "home"))
        yield served
        server.shutdown()


def test_imagenet_weights_are_downloaded_once_and_checked(
    imagenet_server: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import h5py

    keras.utils.set_random_seed(3)
    published = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(32, 32, 3))
    file = imagenet_server / "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
    with h5py.File(file, "w") as content:
        legacy_h5_format.save_weights_to_hdf5_group(content, published)
    with pytest.raises(WeightsError, match="weights=PATH") as error:  # Keras's hash is not this file's
        build("resnet50", weights="imagenet")
    assert "\n" not in str(error.value)
    digest = keras.src.utils.file_utils.hash_file(str(file), algorithm="md5")
    monkeypatch.setitem(resnet.WEIGHTS_HASHES, "resnet50", ("", digest))
    network = build("resnet50", weights="imagenet")
    file.unlink()
    again = build("resnet50", weights="imagenet")
    for one in (network, again):
        for mine, theirs in zip(backbone_of(one).get_weights(), published.get_weights(), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_there_are_no_imagenet_weights_of_the_small_vision_transformer() -> None:
    with pytest.raises(WeightsError, match="weights=none"):
        build("vit", weights="imagenet")


@pytest.mark.parametrize(("text", "index"), [("b", 1), ("2", 2), ("0.5", 2), ("0", 0), ("0.0", 0)])
def test_fine_tune_at_is_a_name_a_number_or_a_share(text: str, index: int) -> None:
    assert first_layer(["a", "b", "c", "d"], text) == index


@pytest.mark.parametrize("text", ["x", "4", "-1", "1.0", "nan", "inf", ""])
def test_a_wrong_fine_tune_at_says_what_there_is(text: str) -> None:
    with pytest.raises(SettingsError, match=f"fine_tune_at={text}"):
        first_layer(["a", "b", "c", "d"], text)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_the_whole_network_says_what_its_head_says_of_features(
    mobilenet_weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    monkeypatch.setenv("IMAGELAB_FEATURE_CACHE", str(tmp_path))
    best = build(weights=mobilenet_weights, image_size=48, pooled_stages=3)
    with under_policy(policy):
        network = build(weights=mobilenet_weights, image_size=48, pooled_stages=3)
    source = FeatureSource(best, network, describe_features(best), 1.0)
    features = source.features("test", DIGITS.test, limit=10_000)
    assert len(features) == len(DIGITS.test)
    whole = predict(best, DIGITS.test)
    np.testing.assert_allclose(predict(head_of(best), features), whole, atol=1e-4)
    assert whole.std(axis=0).max() > 0.1  # images differ, so the agreement says something

    learned = source.features("train", DIGITS.train, limit=60)
    row = learned.read(np.arange(60), np.zeros(60, int))
    extractor = keras.Model(best.input, best.get_layer("features").output)
    exact = extractor.predict(DIGITS.train.images[:60], verbose=0)
    assert row.dtype == (np.float32 if policy == "float32" else np.float16)
    if policy == "float32":
        np.testing.assert_allclose(row, exact, rtol=1e-3, atol=1e-3)
    else:  # a network of random weights amplifies what bfloat16 rounds off
        assert np.corrcoef(row.ravel(), exact.ravel())[0, 1] > 0.9


@dataclass
class Phases:
    """A head on the features of a few digits and, after it, fine-tuning, as experiment.py does it."""

    best: keras.Model
    network: keras.Model
    checkpoints: Checkpoints

    def train(self, on_epoch: Callable[[Any], None] = lambda row: None) -> None:
        fitted, validated = DIGITS.train.take(slice(0, 96)), DIGITS.train.take(slice(96, 128))
        extractor = keras.Model(self.best.input, self.best.get_layer("features").output)
        seen = [Split(extractor.predict(split.images, verbose=0), split.labels) for split in (fitted, validated)]
        settings: dict[str, Any] = {"epochs": 2, "batch_size": 32, "learning_rate": 0.01, "on_epoch": on_epoch}
        train(head_of(self.best), seen[0], seen[1], self.checkpoints, phase="head", **settings)
        settings |= {"fine_tune_epochs": 2, "fine_tune_learning_rate": 0.001}
        fine_tune(self.network, self.best, fitted, validated, self.checkpoints, **settings)


@pytest.fixture
def phases(mobilenet_weights: str) -> Callable[[Path], Phases]:
    def make(folder: Path) -> Phases:
        best, network = build(weights=mobilenet_weights), build(weights=mobilenet_weights)
        unfreeze(network, "block_16_project")
        return Phases(best, network, Checkpoints(folder))

    return make


def test_fine_tuning_changes_what_is_unfrozen_and_no_statistics(
    phases: Callable[[Path], Phases], tmp_path: Path
) -> None:
    both = phases(tmp_path)
    before = {w.path: w.numpy() for w in both.network.weights}
    both.train()
    assert [(row["epoch"], row["phase"]) for row in both.checkpoints.rows] == [
        (1, "head"), (2, "head"), (3, "fine_tune"), (4, "fine_tune"),
    ]  # fmt: skip
    changed = {w.path for w in both.network.weights if not np.array_equal(w.numpy(), before[w.path])}
    assert any("block_16_project/kernel" in path for path in changed)
    assert not any("moving" in path and "block" in path for path in changed)
    assert not any("block_15" in path or "Conv1/" in path for path in changed)


def test_two_phases_end_alike_though_interrupted_after_each_epoch(
    phases: Callable[[Path], Phases], tmp_path: Path
) -> None:
    whole = phases(tmp_path / "whole")
    whole.train()

    def interrupt(row: Any) -> None:
        raise Interrupted

    for epochs_done in (1, 2, 3, 4):
        with pytest.raises(Interrupted):
            phases(tmp_path / "parts").train(interrupt)
        assert len(Checkpoints(tmp_path / "parts").rows) == epochs_done
    parts = phases(tmp_path / "parts")
    parts.train()
    for name in ("loss", "val_loss", "accuracy", "phase", "learning_rate"):
        assert [row[name] for row in parts.checkpoints.rows] == [row[name] for row in whole.checkpoints.rows]
    kept = [restore_best(one.best, one.checkpoints).get_weights() for one in (whole, parts)]
    for mine, theirs in zip(*kept, strict=True):
        np.testing.assert_array_equal(mine, theirs)
