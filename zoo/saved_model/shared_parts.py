"""Functions of the graph that several signatures share.

Each is traced and stored once. Without them the graph of a small model is twice as
large, and an export takes twice as long.
"""

from collections.abc import Callable

import tensorflow as tf

from zoo.decode.sampling import Knobs
from zoo.saved_model.request_checks import MOST_STOPS


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
    """A model and its functions, hidden from tf.Module.

    A tf.Module would track a Keras model, and store its weights a second time.

    Args:
      model: a Decoder.
      encode: texts, string [B], to ids, ragged int32 [B, None].
      decode: ids, whether they continue a text, stop strings and knobs to the outputs
        of `generate`.
      more: the specs of what `decode` also takes, after the knobs.
    """

    def __init__(self, model, encode, decode, more=()):
        self.model = model
        self.encode = tf.function(
            encode,
            autograph=False,
            input_signature=[tf.TensorSpec([None], tf.string)],
        )
        self.decode = tf.function(
            decode,
            autograph=False,
            input_signature=[
                tf.RaggedTensorSpec([None, None], tf.int32),
                tf.TensorSpec([None], tf.bool),
                tf.TensorSpec([None, MOST_STOPS], tf.string),
                *Knobs.specs(),
                *more,
            ],
        )
