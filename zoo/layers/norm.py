"""LayerNorm and RMSNorm with float32 statistics and their own gradients.

The gradient keeps only the normalised input and the factor of each row. It computes
sums over rows and over columns as matrix products, which are the fastest sums on a CPU.

Sources: Ba et al. 2016 (arXiv:1607.06450); Zhang and Sennrich 2019
(arXiv:1910.07467).
"""

from typing import cast

import keras
import tensorflow as tf

from zoo.layers import one_row
from zoo.layers.linear import read

KINDS = ("layernorm", "rmsnorm", "rmsnorm_1p")


class Norm(keras.layers.Layer):
    """Normalises the last dimension of [N, D], then scales (and shifts) it.

    Args:
      width: D.
      kind: "layernorm" (subtracts the mean, has a bias), "rmsnorm" (neither) or
        "rmsnorm_1p" (the factor is 1 + scale, as in Gemma).
      epsilon: added to the mean square.
    """

    def __init__(self, width, kind, epsilon, **kwargs):
        super().__init__(**kwargs)
        self.kind, self.epsilon = kind, epsilon
        self.scale = self.add_weight(
            shape=(width,),
            initializer="zeros" if kind == "rmsnorm_1p" else "ones",
            name="scale",
            autocast=False,
        )
        self.bias = None
        if kind == "layernorm":
            self.bias = self.add_weight(
                shape=(width,), initializer="zeros", name="bias", autocast=False
            )
        self.built = True

    def call(self, x_ND, training=False):
        """Returns [N, D] in the dtype of x.

        Args:
          x_ND: any float dtype.
          training: whether the caller will compute gradients.
        """
        scale_D = read(self.scale, tf.float32)
        if self.kind == "rmsnorm_1p":
            scale_D = 1 + scale_D
        bias_D = None if self.bias is None else read(self.bias, tf.float32)
        if training:
            return normalise(x_ND, scale_D, bias_D, self.epsilon)
        if one_row.traced():
            unit_ND, _ = _unit(x_ND, bias_D is not None, self.epsilon)
            return tf.cast(_affine(unit_ND, scale_D, bias_D), x_ND.dtype)
        x32_ND = _centred(x_ND, bias_D is not None)
        square_N1 = tf.reduce_mean(tf.square(x32_ND), -1, keepdims=True)
        # Roots and quotients have the same bits at all places, and rsqrt has not. The
        # maximum keeps the graph optimizer from making a rsqrt of the two.
        root_N1 = tf.maximum(tf.sqrt(square_N1 + self.epsilon), 0.0)
        unit_ND = x32_ND / root_N1
        return tf.cast(_affine(unit_ND, scale_D, bias_D), x_ND.dtype)


def normalise(x_ND, scale_D, bias_D, epsilon):
    """LayerNorm, or RMSNorm if the bias is None, with its own gradient.

    Args:
      x_ND: any float dtype.
      scale_D, bias_D: float32.
      epsilon: added to the mean square.

    Returns:
      [N, D] in the dtype of x.
    """
    centred = bias_D is not None

    @tf.custom_gradient
    def forward(x_ND, scale_D, bias_D=None):
        unit_ND, factor = _unit(x_ND, centred, epsilon)

        def backward(dy_ND):
            dy_ND = tf.cast(dy_ND, tf.float32)
            t_ND = dy_ND * unit_ND
            column = scale_D[:, None] / x_ND.shape[-1]
            mean = unit_ND * tf.matmul(t_ND, column)
            if centred:
                mean += tf.matmul(dy_ND, column)
            dx_ND = tf.cast((dy_ND * scale_D - mean) * factor, x_ND.dtype)
            dscale_D = _column_sum(t_ND)
            grads = (dx_ND, dscale_D)
            return (*grads, _column_sum(dy_ND)) if centred else grads

        return tf.cast(_affine(unit_ND, scale_D, bias_D), x_ND.dtype), backward

    weights = (scale_D, bias_D) if centred else (scale_D,)
    return cast(tf.Tensor, forward(x_ND, *weights))


def _centred(x_ND, centred):
    """The input, float32, without its mean if `centred`."""
    x_ND = tf.cast(x_ND, tf.float32)
    return x_ND - tf.reduce_mean(x_ND, -1, keepdims=True) if centred else x_ND


def _unit(x_ND, centred, epsilon):
    """The normalised input, float32, and the factor [N, 1] of each row."""
    x_ND = _centred(x_ND, centred)
    square = tf.reduce_mean(tf.square(x_ND), -1, keepdims=True)
    factor = tf.math.rsqrt(square + epsilon)
    return x_ND * factor, factor


def _affine(unit_ND, scale_D, bias_D):
    """Scales columns, and adds the bias unless it is None."""
    y_ND = unit_ND * scale_D
    return y_ND if bias_D is None else y_ND + bias_D


def _column_sum(x_ND):
    """The sum [D] over the rows, by a matrix product."""
    return tf.matmul(tf.ones((1, tf.shape(x_ND)[0]), x_ND.dtype), x_ND)[0]
