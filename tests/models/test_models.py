import importlib
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from imagelab.models import BACKBONES, HEAD_DROPOUT_RATES, MODELS, RESIDUAL, build_model, dropout_rates, stages_of
from imagelab.models.transfer import build_head

PLAIN = [name for name in MODELS if name not in BACKBONES]
SHAPES = [(8, 8, 1), (28, 28, 1), (32, 32, 3), (17, 40, 4), (3, 3, 1)]


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("num_classes", [2, 10, 37])
def test_raw_pixels_in_probabilities_out(name: str, shape: tuple[int, int, int], num_classes: int) -> None:
    model = build_model(name, shape, num_classes)
    pixels = np.random.default_rng(0).integers(0, 256, (4, *shape), np.uint8)
    probabilities = model.predict(pixels, verbose=0)
    assert probabilities.shape == (4, num_classes)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "shape", "num_classes", "parameters"),
    [
        ("basic_ann", (28, 28, 1), 10, 109_386),
        ("basic_cnn", (28, 28, 1), 10, 225_034),
        ("deeper_cnn", (28, 28, 1), 10, 331_370),
    ],
)
def test_layers_are_those_of_the_reference(
    name: str, shape: tuple[int, int, int], num_classes: int, parameters: int
) -> None:
    assert build_model(name, shape, num_classes).count_params() == parameters


@pytest.mark.parametrize(
    ("name", "about"),
    [("basic_ann", 500_000), ("basic_cnn", 800_000), ("resnet20", 270_000), ("small_resnet", 630_000)],
)
def test_models_adapted_to_cifar100_have_the_stated_size(name: str, about: int) -> None:
    assert build_model(name, (32, 32, 3), 100).count_params() == pytest.approx(about, rel=0.1)


@pytest.mark.parametrize("name", PLAIN)
def test_dropout_rate_replaces_every_dropout(name: str) -> None:
    rates = {
        layer.rate
        for layer in build_model(name, (28, 28, 1), 10, 0.35).layers
        if isinstance(layer, keras.layers.Dropout)
    }
    assert rates == {0.35}
    own = [layer.rate for layer in build_model(name, (28, 28, 1), 10).layers if isinstance(layer, keras.layers.Dropout)]
    assert own == {"basic_ann": [0.2, 0.2], "basic_cnn": [0.5], "deeper_cnn": [0.25, 0.25, 0.5]}.get(name, [0.0])


@pytest.mark.parametrize("name", RESIDUAL)
def test_blocks_are_skipped_for_single_images_and_only_in_training(name: str) -> None:
    model = build_model(name, (8, 8, 1), 10, stochastic_depth=0.6)
    skips = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout) and layer.noise_shape]
    blocks = len([layer for layer in model.layers if isinstance(layer, keras.layers.Add)])
    np.testing.assert_allclose([layer.rate for layer in skips], 0.6 * np.arange(1, blocks + 1) / blocks)
    maps = np.ones((200, *skips[-1].output.shape[1:]), np.float32)
    kept = np.asarray(skips[-1](maps, training=True)).reshape(200, -1)
    assert set(np.unique(kept).round(4)) == {0.0, 2.5} and (kept == kept[:, :1]).all()
    assert 0.25 < (kept[:, 0] > 0).mean() < 0.55
    np.testing.assert_array_equal(skips[-1](maps, training=False), maps)


@pytest.mark.parametrize("name", PLAIN)
def test_a_saved_model_loads_anywhere(name: str, tmp_path: Path) -> None:
    """No Lambda, no class of ours, no pickle: Keras alone in safe mode loads it."""
    model = build_model(name, (28, 28, 1), 10)
    model.save(tmp_path / "model.keras")
    pixels = np.random.default_rng(0).integers(0, 256, (4, 28, 28, 1), np.uint8)
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert all(type(layer).__module__.startswith("keras.") for layer in loaded.layers)
    np.testing.assert_array_equal(loaded.predict(pixels, verbose=0), model.predict(pixels, verbose=0))


def test_an_unknown_model_lists_the_known_ones() -> None:
    with pytest.raises(KeyError, match="basic_ann, basic_cnn, deeper_cnn"):
        build_model("resnet", (28, 28, 1), 10)


@pytest.mark.parametrize("num_classes", [10, 100])
@pytest.mark.parametrize("name", PLAIN)
def test_dropout_rates_are_known_without_building(name: str, num_classes: int) -> None:
    built = build_model(name, (28, 28, 1), num_classes)
    assert rates_of(built) == list(dropout_rates(name, num_classes))


@pytest.mark.parametrize("head", HEAD_DROPOUT_RATES)
def test_dropout_rates_of_heads_are_known_without_building(head: str) -> None:
    assert rates_of(build_head(head, 8, 10, None)) == list(dropout_rates("resnet50", 10, head))


def rates_of(model: keras.Model) -> list[float]:
    return [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)]


@pytest.mark.parametrize("name", MODELS)
def test_stages_are_known_without_building(name: str) -> None:
    own = importlib.import_module(f"imagelab.models.{name}")
    stages = len(getattr(own, "STAGES", ())) + 1
    assert stages_of(name) == (stages if name in BACKBONES else 0)


def test_the_tables_need_no_tensorflow() -> None:
    program = "import sys, imagelab.models, imagelab.data; print({'keras', 'tensorflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
