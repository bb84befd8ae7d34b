"""A linear map whose weight is stored [out, in], as checkpoints store it."""

import keras
import tensorflow as tf


def read(variable, dtype) -> tf.Tensor:
    """The value of a Keras variable in a dtype; works outside of `__call__` too."""
    return tf.cast(tf.convert_to_tensor(variable.value), dtype)


class Linear(keras.layers.Layer):
    """Maps [..., inputs] to [..., outputs] by `x W^T + b`.

    [out, in] is what a matrix-vector product reads in order, so that decoding one
    row runs at the speed of memory; for training both layouts are equally fast.
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
        """Applies the map in the dtype of x."""
        y = tf.matmul(x, read(self.weight, x.dtype), transpose_b=True)
        return y if self.bias is None else tf.nn.bias_add(y, read(self.bias, x.dtype))
