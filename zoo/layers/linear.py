"""A linear map with its weight stored [out, in], the layout of checkpoints."""

import keras
import tensorflow as tf


def read(variable, dtype) -> tf.Tensor:
    """The value of a Keras variable in a dtype; also works outside `__call__`."""
    return tf.cast(tf.convert_to_tensor(variable.value), dtype)


class Linear(keras.layers.Layer):
    """Maps [..., inputs] to [..., outputs] by `x W^T + b`.

    A matrix-vector product reads the layout [out, in] in the order of memory. So memory
    bandwidth alone limits the decoding of one row. Training is equally fast with both
    layouts.

    Args:
      inputs, outputs: the widths.
      bias: whether there is a bias.
      stddev: of the initial weight.
    """

    def __init__(self, inputs, outputs, bias=True, stddev=0.02, **kwargs):
        super().__init__(**kwargs)
        self.weight = self.add_weight(
            shape=(outputs, inputs),
            initializer=keras.initializers.RandomNormal(stddev=stddev),
            name="weight",
            autocast=False,
        )
        self.bias = None
        if bias:
            self.bias = self.add_weight(
                shape=(outputs,), initializer="zeros", name="bias", autocast=False
            )
        self.built = True

    def call(self, x):
        """Returns [..., outputs] in the dtype of x."""
        y = tf.matmul(x, read(self.weight, x.dtype), transpose_b=True)
        return y if self.bias is None else tf.nn.bias_add(y, read(self.bias, x.dtype))
