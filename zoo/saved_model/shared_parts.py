"""Functions of the graph that several signatures share.

Each is traced and stored once. Without them the graph of a small model is twice as
large, and an export takes twice as long.
"""

from collections.abc import Callable

import tensorflow as tf


def shared(function: Callable, *specs) -> Callable:
    """A function that is traced once, hidden from tf.Module.

    A tf.Module would track a tf.function, and store it as one that clients may call.

    Args:
      function: of tensors.
      *specs: the specs of its arguments.
    """
    traced = tf.function(function, autograph=False, input_signature=specs)
    return lambda *tensors: traced(*tensors)


class SharedParts:
    """A model and the encoder of its texts, hidden from tf.Module.

    A tf.Module would track a Keras model, and store its weights a second time.

    Args:
      model: a Decoder.
      encode: texts, string [B], to ids, ragged int32 [B, None].
    """

    def __init__(self, model, encode):
        self.model = model
        self.encode = shared(encode, tf.TensorSpec([None], tf.string))
