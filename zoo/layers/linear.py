"""A linear map with its weight stored [out, in], the layout of checkpoints."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from zoo.layers import one_row


def read(variable, dtype) -> tf.Tensor:
    """The value of a Keras variable in a dtype; also works outside `__call__`."""
    return tf.cast(tf.convert_to_tensor(variable.value), dtype)


_ALONE = 200_000  # numbers of a weight up to which one thread multiplies one row
_SPLIT = 3_000_000  # numbers up to which a weight is split into such parts
_FEW = 3  # rows up to which a product of two matrices is the faster one


def product(x_NI, weight_OI, bias_O=None) -> tf.Tensor:
    """x W^T + b [N, O] without training, fast for one row, for a few and for many.

    On a CPU, TensorFlow 2.21 needs three to four times as long for 16 rows as for 8. As
    a batch of one matrix, the product has no such step, but is slower for 2 and 3 rows.
    One row is the fastest as a batch of dot products: each reads its part of the weight
    in the order of memory, without oneDNN, which leaves `BatchMatMulV3` alone
    (`benchmarks.products`). The kernels differ in the last bits.

    Args:
      x_NI: rows, in the dtype of the weight. Where N is not known while tracing, it
        counts as many, but for `one_row.apart`.
      weight_OI: in the layout of checkpoints.
      bias_O: b, or None.
    """
    rows = 1 if one_row.traced() else x_NI.shape[0]
    if one_row.traced() and x_NI.dtype == tf.float32:
        y_NO = _of_one_row(x_NI, weight_OI)
        return y_NO if bias_O is None else y_NO + bias_O  # a third of `BiasAdd`
    if rows is None or rows > _FEW:
        x_1NI, weight_1OI = tf.expand_dims(x_NI, 0), tf.expand_dims(weight_OI, 0)
        y_NO = tf.squeeze(tf.matmul(x_1NI, weight_1OI, transpose_b=True), 0)
    else:
        y_NO = tf.matmul(x_NI, weight_OI, transpose_b=True)
    return y_NO if bias_O is None else tf.nn.bias_add(y_NO, bias_O)


def _of_one_row(x_NI, weight_OI):
    """x W^T [N, O] for N = 1, as a batch of dot products.

    Waking threads for a smaller weight takes as long as reading it. So it is split over
    operations that need none: they run beside each other in the threads of the graph.
    """
    outputs, size = weight_OI.shape[0], weight_OI.shape.num_elements()
    rows = outputs
    if size <= _SPLIT:
        # an even number, as many processors have an even number of cores
        count = 1 if size <= _ALONE else 2 * -(-size // (2 * _ALONE))
        rows = -(-outputs // count)
    parts = [min(rows, outputs - first) for first in range(0, outputs, rows)]
    weight_O1I = tf.expand_dims(weight_OI, 1)
    y_ON1 = [
        tf.raw_ops.BatchMatMulV3(x=x_NI, y=part, Tout=tf.float32, adj_y=True)
        for part in (tf.split(weight_O1I, parts, 0) if len(parts) > 1 else [weight_O1I])
    ]
    y_ON1 = tf.concat(y_ON1, 0) if len(parts) > 1 else y_ON1[0]
    return tf.reshape(y_ON1, (-1, outputs))


class Before(NamedTuple):
    """A function of x that the backward pass computes again, so that nothing keeps it.

    forward: x -> a.
    backward: x, da -> dx, a.
    """

    forward: Callable
    backward: Callable

    def of(self, x) -> tf.Tensor:
        """a; its gradient keeps x only."""

        def apply(x):
            return self.forward(x), lambda da: self.backward(x, da)[0]

        return tf.custom_gradient(apply)(x)


def trained(x_NI, weight_OI, bias_O=None, before: Before | None = None) -> tf.Tensor:
    """x W^T + b [N, O] for training, without two slow operations of TensorFlow 2.21.

    oneDNN's float32 product of x and W^T is up to a quarter slower where W is wider
    than high. So W is transposed first, where the graph optimizer cannot move it back
    into the product. The gradient of b is a product with ones, at twice the speed of
    `BiasAddGrad` (`benchmarks.products --training`).

    Args:
      x_NI: rows, in the dtype of the weight.
      weight_OI: in the layout of checkpoints.
      bias_O: b, or None.
      before: maps x_NI to the input of the product; None is x itself.
    """

    def apply(x_NI, weight_OI, *bias):
        a_NI = x_NI if before is None else before.forward(x_NI)
        if x_NI.dtype == tf.float32 and weight_OI.shape[0] <= weight_OI.shape[1]:
            with tf.control_dependencies([a_NI]):  # not all weights at the start
                weight_IO = transposed(weight_OI)
            y_NO = tf.matmul(a_NI, weight_IO)
        else:
            y_NO = tf.matmul(a_NI, weight_OI, transpose_b=True)
        y_NO = tf.nn.bias_add(y_NO, bias[0]) if bias else y_NO

        def gradient(dy_NO):
            dx_NI, a_NI = tf.matmul(dy_NO, weight_OI), x_NI
            if before is not None:
                dx_NI, a_NI = before.backward(x_NI, dx_NI)
            dweight_OI = tf.matmul(dy_NO, a_NI, transpose_a=True)
            return (dx_NI, dweight_OI, *([column_sums(dy_NO)] if bias else ()))

        return y_NO, gradient

    given = (x_NI, weight_OI) if bias_O is None else (x_NI, weight_OI, bias_O)
    return tf.custom_gradient(apply)(*given)


def transposed(x_NM) -> tf.Tensor:
    """x^T [M, N] in memory: the graph optimizer does not move it into a product."""
    return tf.raw_ops.Snapshot(input=tf.transpose(x_NM))


def column_sums(x_NM) -> tf.Tensor:
    """The sums [M] over rows, by a product: twice as fast as a reduction."""
    return tf.matmul(tf.ones((1, tf.shape(x_NM)[0]), x_NM.dtype), x_NM)[0]


class Linear(keras.layers.Layer):
    """Maps [..., inputs] to [..., outputs] by `x W^T + b`.

    A matrix-vector product reads the layout [out, in] in the order of memory. So memory
    bandwidth alone limits the decoding of one row. Training is equally fast with both
    layouts (`trained`).

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

    def call(self, x, training=False, before: Before | None = None):
        """Maps x, in training after `before`.

        Args:
          x: [..., inputs].
          training: whether the caller will compute gradients.
          before: see `trained`; for training only.

        Returns:
          [..., outputs] in the dtype of x.
        """
        if before is not None and (self.adapter is not None or len(x.shape) != 2):
            x, before = before.of(x), None
        weight = read(self.weight, x.dtype)
        bias = None if self.bias is None else read(self.bias, x.dtype)
        if self.adapter is not None:
            weight = tf.stop_gradient(weight)
            bias = None if bias is None else tf.stop_gradient(bias)
        if len(x.shape) != 2:
            y = tf.matmul(x, weight, transpose_b=True)
            y = y if bias is None else tf.nn.bias_add(y, bias)
        else:
            given = x, weight, bias
            y = trained(*given, before) if training else product(*given)
        return y if self.adapter is None else self.adapter.call(x, y, training)
