"""What the networks share: the way in from raw pixels and the way out to probabilities."""

from collections.abc import Iterator

import keras
from keras import layers


def network(name: str, image_shape: tuple[int, int, int], body: list[layers.Layer], num_classes: int) -> keras.Model:
    """Wrap a body of layers: pixels 0-255 are scaled to 0-1 first, a float32 softmax comes last."""
    top = [layers.Dense(num_classes), layers.Activation("softmax", dtype="float32", name="probabilities")]
    return keras.Sequential([keras.Input(image_shape), layers.Rescaling(1 / 255), *body, *top], name=name)


def dropout(own_rate: float, given: float | None) -> layers.Dropout:
    """A dropout layer with the network's own rate, unless the user gave one."""
    return layers.Dropout(own_rate if given is None else given)


def padding_for(image_shape: tuple[int, int, int]) -> str:
    """Padding of convolutions and poolings: none, but "same" below 16 pixels, where nothing would be left."""
    return "valid" if min(image_shape[:2]) >= 16 else "same"


def layers_of(model: keras.Model) -> Iterator[layers.Layer]:
    """Every layer of a network, those of networks inside it included."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from layers_of(layer)
        else:
            yield layer
