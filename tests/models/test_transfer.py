"""Networks on a backbone: built, loaded, frozen, unfrozen, saved; MobileNetV2 stands for all where one is enough."""

import functools
import http.server
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras.src.applications import resnet
from keras.src.applications.convnext import ConvNeXt
from keras.src.applications.efficientnet_v2 import EfficientNetV2
from keras.src.legacy.saving import legacy_h5_format

from imagelab.data.split import SplitSpec
from imagelab.errors import Interrupted, SettingsError, WeightsError
from imagelab.features import FeatureSource, WantedFeatures
from imagelab.models import BACKBONES, build_model
from imagelab.models.transfer import (
    backbone_of,
    describe_features,
    first_layer,
    head_of,
    transfer_network,
    unfreeze,
)
from imagelab.training import Checkpoints, FitEvents, FitPlan, Fitter
from imagelab.training.loop import predict, train
from imagelab.training.precision import under_policy
from tests.conftest import thorough
from tests.training.plans import DIGITS, make_plan, skip_without

OPTIONS: dict[str, Any] = {"image_size": 32, "head": "linear", "pooled_stages": 1}


def build(name: str = "mobilenet_v2", shape: tuple[int, int, int] = (8, 8, 1), **options: Any) -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_model(name, shape, 10, **{**OPTIONS, **options})


@thorough
@pytest.mark.parametrize("name", BACKBONES)
def test_each_backbone_trains_from_scratch(name: str, tmp_path: Path) -> None:
    network = build(name, weights="none", head="mlp")
    assert network.get_layer("backbone").trainable
    splits = DIGITS.train.take(slice(0, 96)), DIGITS.train.take(slice(96, 128))
    before = network.get_weights()
    checkpoints = Checkpoints(tmp_path)
    train(network, splits, checkpoints, make_plan(epochs=1, batch_size=32, learning_rate=0.001))
    assert [row["epoch"] for row in checkpoints.rows] == [1]
    changed = [not np.array_equal(a, b) for a, b in zip(before, network.get_weights(), strict=True)]
    assert np.mean(changed) > 0.95
    loaded = keras.saving.load_model(checkpoints.path_of(1), compile=False)
    np.testing.assert_allclose(predict(loaded, splits[1]), predict(network, splits[1]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name",
    [name if name in ("mobilenet_v2", "resnet50") else pytest.param(name, marks=thorough) for name in BACKBONES],
)
@pytest.mark.parametrize("shape", [(8, 8, 1), pytest.param((32, 32, 3), marks=thorough), (40, 50, 3)], ids=str)
def test_raw_pixels_of_any_shape_go_in(name: str, shape: tuple[int, int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, *shape), np.uint8)
    probabilities = np.asarray(build(name, shape, weights="none")(pixels))
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


def test_weights_of_efficientnet_from_a_file_see_the_pixels_that_keras_own_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import h5py

    published = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(32, 32, 3))
    standardise = next(layer for layer in published.layers if isinstance(layer, keras.layers.Normalization))
    standardise.set_weights([np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225]), np.int64(0)])
    published.save_weights(tmp_path / "b0.weights.h5")
    with h5py.File(tmp_path / "b0.h5", "w") as content:
        legacy_h5_format.save_weights_to_hdf5_group(content, published)
    monkeypatch.setattr(
        "keras.src.applications.efficientnet.file_utils.get_file", lambda *_, **__: str(tmp_path / "b0.h5")
    )
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    features = [
        keras.Model(network.input, network.get_layer("features").output).predict(pixels, verbose=0)
        for weights in ("imagenet", str(tmp_path / "b0.weights.h5"))
        for network in [build("efficientnet_b0", (32, 32, 3), weights=weights)]
    ]
    largest = np.abs(features[0]).max()
    np.testing.assert_allclose(features[0] / largest, features[1] / largest, atol=1e-3)


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
    assert not network.get_layer("backbone").trainable
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


@pytest.mark.parametrize("policy", ["float32", pytest.param("mixed_bfloat16", marks=thorough)])
def test_the_whole_network_says_what_its_head_says_of_features(
    mobilenet_weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    skip_without(policy)
    monkeypatch.setenv("IMAGELAB_FEATURE_CACHE", str(tmp_path))
    best = build(weights=mobilenet_weights, image_size=48, pooled_stages=3)
    with under_policy(policy):
        network = build(weights=mobilenet_weights, image_size=48, pooled_stages=3)
    source = FeatureSource(best, network, describe_features(best), 1.0)
    [features] = source.features([WantedFeatures("test", DIGITS.test, limit=10_000)])
    assert len(features) == len(DIGITS.test)
    whole = predict(best, DIGITS.test)
    np.testing.assert_allclose(predict(head_of(best), features), whole, atol=1e-4)
    assert whole.std(axis=0).max() > 0.1  # images differ, so the agreement says something

    [some] = source.features([WantedFeatures("train", DIGITS.train, limit=60)])
    row = some.read(np.arange(60), np.zeros(60, int))
    extractor = keras.Model(best.input, best.get_layer("features").output)
    whole_floats = extractor.predict(DIGITS.train.images[:60], verbose=0)
    assert row.dtype == (np.float32 if policy == "float32" else np.float16)
    if policy == "float32":
        np.testing.assert_allclose(row, whole_floats, rtol=1e-3, atol=1e-3)
    else:  # a network of random weights amplifies what bfloat16 rounds off
        assert np.corrcoef(row.ravel(), whole_floats.ravel())[0, 1] > 0.9


@pytest.fixture
def fitter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fitter:
    """Of 96 digits to learn from and 32 to choose by."""
    monkeypatch.setenv("IMAGELAB_FEATURE_CACHE", str(tmp_path / "features"))
    return Fitter(DIGITS, SplitSpec(split_seed=0, validation_fraction=0.25, limit=128), feature_cache_limit=20)


@pytest.fixture
def plan(mobilenet_weights: str) -> FitPlan:
    """Two epochs of a head, two of fine-tuning."""
    options = {**OPTIONS, "model": "mobilenet_v2", "weights": mobilenet_weights, "epochs": 2, "batch_size": 32}
    fine_tuning = {"fine_tune_epochs": 2, "fine_tune_at": "block_16_project", "fine_tune_learning_rate": 0.001}
    return make_plan(**options, **fine_tuning)


def test_fine_tuning_changes_what_is_unfrozen_and_no_statistics(fitter: Fitter, plan: FitPlan, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    fitter.fit(plan, checkpoints, FitEvents())
    assert [(row["epoch"], row["phase"]) for row in checkpoints.rows] == [
        (1, "head"), (2, "head"), (3, "fine_tune"), (4, "fine_tune"),
    ]  # fmt: skip
    before = fitter.build(plan, "float32").weights
    after = keras.saving.load_model(checkpoints.path_of(4), compile=False).weights
    changed = {w.path for w, now in zip(before, after, strict=True) if not np.array_equal(w.numpy(), now.numpy())}
    assert any("block_16_project/kernel" in path for path in changed)
    assert not any("moving" in path and "block" in path for path in changed)
    assert not any("block_15" in path or "Conv1/" in path for path in changed)

    told: list[float] = []  # another training on the same features is told of network and features, which cost nothing
    fitter.features(
        replace(plan, seed=1),
        FitEvents(
            on_network=lambda network: told.append(network.count_params()),
            on_features=lambda features: told.append(features.spent.computing),
        ),
    )
    assert told == [fitter.build(plan, "float32").count_params(), 0]


def test_folds_share_the_features_of_all_images(fitter: Fitter, plan: FitPlan, tmp_path: Path) -> None:
    head, spent, shared = replace(plan, fine_tune_epochs=0), [], []
    events = FitEvents(on_features=lambda features: spent.append(features.spent.computing))
    for number in range(2):
        fold = replace(fitter, split=replace(fitter.split, fold=number, folds=2))
        checkpoints = Checkpoints(tmp_path / str(number))
        fold.fit(head, checkpoints, events)
        images = DIGITS.train.take(fold.split.fold_indices(DIGITS.train.labels))
        network = fold.best_network(head, checkpoints)
        said = fold.fold_probabilities(head, network, "head")
        np.testing.assert_allclose(said, predict(network, images), atol=1e-4)
        features = fold.features(head, events)
        np.testing.assert_array_equal(features.splits[0].labels, fold.splits[0].labels)
        shared.append(features.train)
    assert spent[0] > 0
    assert set(spent[1:]) == {0}
    assert shared[0] is shared[1]  # not read from the disk again either


def efficientnet(**arguments: Any) -> keras.Model:
    """One of two blocks, with stochastic depth."""
    names = ("kernel_size", "num_repeat", "input_filters", "output_filters", "expand_ratio", "se_ratio", "strides")
    block = {**dict(zip(names, (3, 2, 8, 8, 1, 0, 1), strict=True)), "conv_type": 1}
    return EfficientNetV2(1, 1, 32, drop_connect_rate=0.75, blocks_args=[block], name="tiny", **arguments)


def convnext(**arguments: Any) -> keras.Model:
    return ConvNeXt(
        [2, 1, 1, 1], [4, 4, 8, 8], drop_path_rate=0.75, layer_scale_init_value=1.0, name="tiny", **arguments
    )


@pytest.mark.parametrize("application", [efficientnet, convnext])
def test_a_pretrained_backbone_drops_nothing_in_fine_tuning(
    application: Callable[..., keras.Model], tmp_path: Path
) -> None:
    path = tmp_path / "tiny.weights.h5"
    application(include_top=False, weights=None, input_shape=(32, 32, 3)).save_weights(path)

    def network(weights: str) -> keras.Model:
        keras.utils.set_random_seed(0)
        options: dict[str, Any] = {**OPTIONS, "weights": weights}
        return transfer_network("tiny", application, (8, 8, 1), 10, 0.0, **options)

    def is_random(backbone: keras.Model) -> bool:
        images = np.random.default_rng(0).uniform(0, 255, (16, 32, 32, 3)).astype(np.float32)
        backbone.trainable = True
        for layer in backbone.layers:
            layer.trainable = not isinstance(layer, keras.layers.BatchNormalization)
        one, other = (np.asarray(keras.tree.flatten(backbone(images, training=True))[0]) for _ in range(2))
        return not np.array_equal(one, other)

    from_scratch, pretrained = network("none"), network(str(path))
    assert is_random(backbone_of(from_scratch))
    unfreeze(pretrained, "0")
    assert not is_random(backbone_of(pretrained))

    # Checkpoints of runs that began when it still dropped go on; what is saved now loads, also without this package.
    from_scratch.save(tmp_path / "before.keras")
    pretrained.load_weights(tmp_path / "before.keras")
    pretrained.save(tmp_path / "now.keras")
    loaded = keras.saving.load_model(tmp_path / "now.keras")
    restored = network(str(path))
    restored.load_weights(tmp_path / "now.keras")
    images = DIGITS.test.images[:8]
    for model in (pretrained, loaded, restored):
        np.testing.assert_array_equal(model.predict(images, verbose=0), from_scratch.predict(images, verbose=0))


@thorough
def test_two_phases_end_alike_though_interrupted_after_each_epoch(
    fitter: Fitter, plan: FitPlan, tmp_path: Path
) -> None:
    whole = Checkpoints(tmp_path / "whole")
    fitter.fit(plan, whole, FitEvents())

    def interrupt(row: Any) -> None:
        raise Interrupted

    for epochs_done in (1, 2, 3, 4):
        with pytest.raises(Interrupted):
            fitter.fit(plan, Checkpoints(tmp_path / "parts"), FitEvents(on_epoch=interrupt))
        assert len(Checkpoints(tmp_path / "parts").rows) == epochs_done
    parts = Checkpoints(tmp_path / "parts")
    fitter.fit(plan, parts, FitEvents())
    for name in ("loss", "val_loss", "accuracy", "phase", "learning_rate"):
        assert [row[name] for row in parts.rows] == [row[name] for row in whole.rows]
    kept = [fitter.best_network(plan, checkpoints).get_weights() for checkpoints in (whole, parts)]
    for mine, theirs in zip(*kept, strict=True):
        np.testing.assert_array_equal(mine, theirs)
