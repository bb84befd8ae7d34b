"""Functions of the graph that several signatures share.

Each is traced and stored once. Without them the graph of a small model is twice as
large, and an export takes twice as long.
"""

from collections.abc import Callable

import tensorflow as tf


class Shared:
    """A function that is traced once, hidden from tf.Module.

    A tf.Module would track a tf.function, and store it as one that clients may call.

    Args:
      function: of tensors.
      *specs: the specs of its arguments.
      apart: whether graphs call the function and do not contain it: a process that
        runs several signatures then prepares it once. Its errors name the function, so
        it is not for checks.
    """

    def __init__(self, function: Callable, *specs, apart: bool = False):
        self._traced = tf.function(
            function,
            autograph=False,
            input_signature=specs,
            experimental_attributes={"_noinline": True} if apart else {},
        )

    def __call__(self, *tensors):
        return self._traced(*tensors)

    def outputs(self):
        """What the function returns, as symbolic tensors."""
        return self._traced.get_concrete_function().structured_outputs


class SharedParts:
    """A model and the encoder of its texts, hidden from tf.Module.

    A tf.Module would track a Keras model, and store its weights a second time.

    Args:
      model: a Decoder.
      encode: texts, string [B], to ids, ragged int32 [B, None].
    """

    def __init__(self, model, encode):
        self.model = model
        self.encode = Shared(encode, tf.TensorSpec([None], tf.string), apart=True)
