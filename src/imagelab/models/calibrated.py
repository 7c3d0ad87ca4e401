"""A network whose answers are made less or more sure by a temperature; see evaluation/temperature.py."""

import keras

from imagelab.evaluation.temperature import TINY


def with_temperature(network: keras.Model, temperature: float) -> keras.Model:
    """The same network with softmax(log(p) / temperature) behind its probabilities p.

    Of layers that Keras knows, so that it is saved, loaded and served as any other network. Of one that is calibrated
    already, the temperature is replaced by the product of both.
    """
    known = next((layer for layer in network.layers if layer.name == "temperature"), None)  # calibrated already
    logits = known.input if known else keras.ops.log(keras.ops.maximum(network.outputs[0], TINY))
    scale = (known.scale if known else 1.0) / temperature
    scaled = keras.layers.Rescaling(scale, name="temperature", dtype="float32")(logits)
    softened = keras.layers.Softmax(name="calibrated", dtype="float32")(scaled)
    return keras.Model(network.inputs[0], softened, name=network.name)  # of a list, Keras would warn at each call
