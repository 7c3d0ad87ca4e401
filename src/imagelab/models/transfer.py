"""What the backbones share: raw pixels to their input, pretrained weights, frozen features, a head of one's own."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
from keras import layers

from imagelab.errors import SettingsError
from imagelab.models import HEAD_DROPOUT_RATES
from imagelab.models.layers import dropout
from imagelab.models.weights import build_with_imagenet_weights, load_weights_file, weights_digest

INTERPOLATION = "bicubic"  # from 32 pixels up it keeps edges sharper than bilinear does


def transfer_network(
    name: str,
    application: Callable[..., keras.Model],
    image_shape: tuple[int, int, int],
    num_classes: int,
    dropout_rate: float | None,
    *,
    image_size: int,
    weights: str,
    head: str,
    pooled_stages: int,
    preprocess: Callable[[Any], Any] = lambda pixels: pixels,
    stages: Sequence[str] = (),
) -> keras.Model:
    """Resize, preprocess, backbone, average over the picture, head: one network from raw pixels to probabilities.

    With `weights="none"` all of it is to be trained; otherwise the backbone is frozen (see `unfreeze`) and drops
    nothing, as if it had no dropout layers.

    Args:
        application: one of keras.applications, or a function that takes the same; called without its top.
        image_size: side in pixels of what the backbone sees.
        weights: imagenet, none, or the path of a file.
        head: linear, wide or mlp, see `build_head`.
        pooled_stages: how many of the backbone's last stages give features, the average of each over the picture.
        preprocess: what the application wants done to RGB pixels 0-255; nothing where it does that itself.
        stages: the last layer of each stage before the last one.

    Raises:
        SettingsError: there are not so many stages, or the file is missing or not one of this backbone.
        WeightsError: the ImageNet weights cannot be had.
    """
    top = head_layers(head, num_classes, dropout_rate)  # first: its chance does not depend on the backbone then
    inputs = keras.Input(image_shape)
    pixels = layers.Concatenate()([inputs] * 3) if image_shape[-1] == 1 else inputs
    pixels = layers.Resizing(image_size, image_size, INTERPOLATION, dtype="float32", name="resize")(pixels)
    shape = {"include_top": False, "input_shape": (image_size, image_size, 3)}
    backbone = with_stages(load_backbone(application, weights, **shape), stages, pooled_stages)
    if weights != "none":
        backbone.trainable = False
        switch_dropout_off(backbone)
    maps = keras.tree.flatten(backbone(preprocess(pixels)))
    pooled = [layers.GlobalAveragePooling2D(dtype="float32")(stage) for stage in maps]
    features = layers.Concatenate(dtype="float32", name="features")(pooled)
    return keras.Model(inputs, stack_head(features.shape[-1], top)(features), name=name)


def with_stages(backbone: keras.Model, stages: Sequence[str], pooled_stages: int) -> keras.Model:
    """The backbone with the maps of its last stages as a list of outputs."""
    if pooled_stages > len(stages) + 1:
        raise SettingsError(f"pooled_stages={pooled_stages}: this backbone has {len(stages) + 1} to choose from")
    earlier = list(stages)[len(stages) + 1 - pooled_stages :]
    outputs = [*(backbone.get_layer(name).output for name in earlier), backbone.output]
    return keras.Model(backbone.input, outputs, name="backbone")


def load_backbone(application: Callable[..., keras.Model], weights: str, **arguments: Any) -> keras.Model:
    if weights == "imagenet":
        return build_with_imagenet_weights(application, **arguments)
    backbone = application(weights=None, **arguments)
    if weights != "none":
        load_weights_file(backbone, Path(weights).expanduser())
    return backbone


def build_head(head: str, length: int, num_classes: int, dropout_rate: float | None) -> keras.Model:
    """From features (n, length) to probabilities, float32 whatever the layers compute in.

    linear: standardised features, dropout 0.5, one dense layer. wide: standardised features, dropout 0.3, Dense 1024,
    batch-normalised, with dropout 0.5, before it. mlp: Dense 512 and 256 on the features as they are, each
    batch-normalised, with dropout 0.5.
    """
    return stack_head(length, head_layers(head, num_classes, dropout_rate))


def head_layers(head: str, num_classes: int, dropout_rate: float | None) -> list[layers.Layer]:
    body: list[layers.Layer] = []
    rates = iter(HEAD_DROPOUT_RATES[head])
    if head != "mlp":
        body += [layers.BatchNormalization(scale=False, center=False), dropout(next(rates), dropout_rate)]
    for units in {"linear": (), "wide": (1024,), "mlp": (512, 256)}[head]:
        body += [
            layers.Dense(units, activation="relu"),
            layers.BatchNormalization(),
            dropout(next(rates), dropout_rate),
        ]
    return [*body, layers.Dense(num_classes), layers.Activation("softmax", dtype="float32", name="probabilities")]


def stack_head(length: int, stack: list[layers.Layer]) -> keras.Model:
    return keras.Sequential([keras.Input((length,)), *stack], name="head")


def switch_dropout_off(backbone: keras.Model) -> None:
    """Let nothing in a pretrained backbone be dropped in training, as if it were called with `training=False`.

    `fit` overrules that argument in a functional network; a rate of 0 it respects. Random generators stay with their
    layers, so that checkpoints have the same layout as those of networks that drop.
    """
    for layer in backbone.layers:
        for rate in ("rate", "drop_path_rate"):  # of Dropout and its kin; of ConvNeXt's StochasticDepth
            if hasattr(layer, rate):
                setattr(layer, rate, 0.0)


def backbone_of(network: keras.Model) -> keras.Model:
    return network.get_layer("backbone")


def head_of(network: keras.Model) -> keras.Model:
    return network.get_layer("head")


def describe_features(network: keras.Model) -> dict[str, Any]:
    """All that the network's features depend on besides the images and the number format."""
    resize = network.get_layer("resize")
    return {
        "backbone": network.name,
        "weights_digest": weights_digest(backbone_of(network)),
        "image_size": resize.height,
        "interpolation": resize.interpolation,
        "pooled_stages": len(backbone_of(network).outputs),
    }


def unfreeze(network: keras.Model, fine_tune_at: str) -> None:
    """Let the backbone's layers from `fine_tune_at` on be trained, but for its batch normalisation.

    That stays in inference mode: statistics of a few batches would spoil what the pretrained ones know. Frozen layers
    are what Keras holds to that; `training=False` in a functional network is overruled by `fit`.

    Args:
        fine_tune_at: the name of a layer, the number of layers that stay frozen, or the share (0.7) of them.

    Raises:
        SettingsError: there is no such layer.
    """
    backbone = backbone_of(network)
    first = first_layer([layer.name for layer in backbone.layers], fine_tune_at)
    backbone.trainable = True
    for index, layer in enumerate(backbone.layers):
        layer.trainable = index >= first and not isinstance(layer, layers.BatchNormalization)


def first_layer(names: list[str], fine_tune_at: str) -> int:
    """The index of the first layer to train."""
    if fine_tune_at in names:
        return names.index(fine_tune_at)
    try:
        index = round(float(fine_tune_at) * len(names)) if "." in fine_tune_at else int(fine_tune_at)
    except (ValueError, OverflowError):
        raise SettingsError(
            f"fine_tune_at={fine_tune_at}: the backbone has no layer of that name; its last ones are "
            f"{', '.join(names[-3:])}; a number or a share of layers (100, 0.7) is understood too"
        ) from None
    if not 0 <= index < len(names):
        raise SettingsError(f"fine_tune_at={fine_tune_at}: the backbone has {len(names)} layers, 0 to {len(names) - 1}")
    return index
