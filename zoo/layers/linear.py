"""A linear map with its weight stored [out, in], the layout of checkpoints."""

import functools
from typing import Any

import keras
import tensorflow as tf


def read(variable, dtype) -> tf.Tensor:
    """The value of a Keras variable in a dtype; also works outside `__call__`."""
    return tf.cast(tf.convert_to_tensor(variable.value), dtype)


_MANY = 8  # rows from which a product of matrices in a batch is the faster one
_LARGE = 2**20  # numbers of a weight from which a choice in the graph pays


def product(x_NI, weight_OI, bias_O=None) -> tf.Tensor:
    """x W^T + b [N, O] without training, fast for a few rows and for many.

    On a CPU, TensorFlow 2.21 needs three to four times as long for 16 rows as for 8. As
    a batch of one matrix, the product has no such step, but is slower for fewer rows
    (`benchmarks.products`). The two kernels differ in the last bits.

    Args:
      x_NI: rows, in the dtype of the weight. Where N is not known while tracing, the
        choice is made in the graph, except for small weights: there it costs as much
        as it saves.
      weight_OI: in the layout of checkpoints.
      bias_O: b, or None.
    """
    given = (x_NI, weight_OI) if bias_O is None else (x_NI, weight_OI, bias_O)
    rows = x_NI.shape[0]
    if rows is None and weight_OI.shape.num_elements() >= _LARGE:
        return _by_rows(*given)
    return (_many if rows and rows >= _MANY else _few)(*given)


@tf.function(autograph=False)
def _by_rows(x_NI, *weights):
    """The choice in the graph; a function, so that equal shapes share one trace."""
    return tf.cond(
        tf.shape(x_NI)[0] >= _MANY,
        functools.partial(_many, x_NI, *weights),
        functools.partial(_few, x_NI, *weights),
    )


def _few(x_NI, weight_OI, bias_O=None):
    y_NO = tf.matmul(x_NI, weight_OI, transpose_b=True)
    return y_NO if bias_O is None else tf.nn.bias_add(y_NO, bias_O)


def _many(x_NI, weight_OI, bias_O=None):
    y_NO = tf.matmul(x_NI[None], weight_OI[None], transpose_b=True)[0]
    return y_NO if bias_O is None else tf.nn.bias_add(y_NO, bias_O)


class Linear(keras.layers.Layer):
    """Maps [..., inputs] to [..., outputs] by `x W^T + b`.

    A matrix-vector product reads the layout [out, in] in the order of memory. So memory
    bandwidth alone limits the decoding of one row. Training is equally fast with both
    layouts.

    With an `adapter`, a `low_rank.LowRank`, weight and bias have no gradient. Keras'
    `trainable` would not do: it does not reach the variables of a built layer.

    Args:
      inputs, outputs: the widths.
      bias: whether there is a bias.
      stddev: of the initial weight.
    """

    def __init__(self, inputs, outputs, bias=True, stddev=0.02, **kwargs):
        super().__init__(**kwargs)
        self.adapter: Any = None
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

    def call(self, x, training=False):
        """Returns [..., outputs] in the dtype of x; `training` is for the adapter."""
        weight = read(self.weight, x.dtype)
        bias = None if self.bias is None else read(self.bias, x.dtype)
        if self.adapter is not None:
            weight = tf.stop_gradient(weight)
            bias = None if bias is None else tf.stop_gradient(bias)
        if training or len(x.shape) != 2:
            y = tf.matmul(x, weight, transpose_b=True)
            y = y if bias is None else tf.nn.bias_add(y, bias)
        else:
            y = product(x, weight, bias)
        return y if self.adapter is None else self.adapter.call(x, y, training)
