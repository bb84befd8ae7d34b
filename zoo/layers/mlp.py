"""The MLP of a Transformer block, plain or gated.

Sources: Hendrycks and Gimpel 2016 (GELU, arXiv:1606.08415); Shazeer 2020 (gated
variants, arXiv:2002.05202).
"""

import math

import keras
import tensorflow as tf

from zoo.layers import one_row
from zoo.layers.linear import Linear
from zoo.layers.xla_cluster import xla_cluster

ACTIVATIONS = ("gelu", "gelu_tanh", "relu", "relu_squared", "silu")
_ROOT_HALF = math.sqrt(0.5)
_TWO_C0 = 2 * math.sqrt(2 / math.pi)
_C1 = 0.044715


class Mlp(keras.layers.Layer):
    """Widens [N, D], applies the activation, and narrows the result back to [N, D].

    A gated MLP multiplies activation(gate) with its values. One weight `up` computes
    the gate and the values, in this order, so that one product reads the input.

    Args:
      width: D.
      mlp_width: of the activation.
      activation: one of `ACTIVATIONS`.
      gated: whether there is a gate.
      bias: whether the two linear maps have a bias.
      stddev: of the initial `down` weight.
    """

    def __init__(self, width, mlp_width, activation, gated, bias, stddev, **kwargs):
        super().__init__(**kwargs)
        self.activation, self.gated = activation, gated
        parts = 2 if gated else 1
        with keras.name_scope(self.name):
            self.up = Linear(width, parts * mlp_width, bias, name="up")
            self.down = Linear(mlp_width, width, bias, stddev, name="down")
        self.built = True

    def call(self, x_ND, training=False):
        """Returns [N, D] in the dtype of x."""
        h = self.up(x_ND, training=training)
        if self.gated:
            gate, h = _halves(h)
            h = activate(gate, self.activation, training) * h
        else:
            h = activate(h, self.activation, training)
        return self.down(h, training=training)


def _halves(h_NM):
    """The two halves [N, M / 2] of rows."""
    if not one_row.traced():
        return tf.split(h_NM, 2, -1)
    halves = tf.reshape(h_NM, (2, -1, h_NM.shape[1] // 2))
    return tf.unstack(halves)  # of one row, without a copy


def activate(x, name, training=False):
    """Applies an activation function.

    Args:
      x: any shape.
      name: one of `ACTIVATIONS`.
      training: whether the caller will compute gradients. Then the gradient of
        gelu_tanh keeps the input only.
    """
    if training and name in ("gelu_tanh", "silu"):
        return _gelu_tanh(x) if name == "gelu_tanh" else tf.nn.silu(x)
    # erf and tanh: the bits of sigmoid depend on a row's place (see batch_invariant)
    return {
        "gelu": lambda: 0.5 * x * (1 + tf.math.erf(x * _ROOT_HALF)),
        # tf.nn.gelu has a power, which a server computes number by number
        "gelu_tanh": lambda: (
            0.5 * x * (1 + tf.tanh(x * (_TWO_C0 / 2 + _TWO_C0 / 2 * _C1 * (x * x))))
        ),
        "relu": lambda: tf.nn.relu(x),
        "relu_squared": lambda: tf.square(tf.nn.relu(x)),
        "silu": lambda: 0.5 * x * (1 + tf.tanh(0.5 * x)),
    }[name]()


@tf.custom_gradient
def _gelu_tanh(x):
    """GELU's tanh form; its gradient keeps the input only."""
    return _gelu_forward(x), lambda dy: _gelu_backward(x, dy)


@xla_cluster
def _gelu_forward(x):
    """x * sigmoid(2u), which equals 0.5 x (1 + tanh(u))."""
    f = tf.cast(x, tf.float32)
    return tf.cast(f * tf.sigmoid(_TWO_C0 * f * (1 + _C1 * f * f)), x.dtype)


@xla_cluster
def _gelu_backward(x, dy):
    """The gradient of `_gelu_forward` for x."""
    f, d = tf.cast(x, tf.float32), tf.cast(dy, tf.float32)
    square = f * f
    s = tf.sigmoid(_TWO_C0 * f * (1 + _C1 * square))
    slope = s + f * s * (1 - s) * _TWO_C0 * (1 + 3 * _C1 * square)
    return tf.cast(d * slope, x.dtype)
