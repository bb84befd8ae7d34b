"""The MLP of a Transformer block, plain or gated.

Sources: Hendrycks and Gimpel 2016 (GELU, arXiv:1606.08415); Shazeer 2020 (gated
variants, arXiv:2002.05202).
"""

import functools
import math

import keras
import tensorflow as tf

from zoo.layers import one_row
from zoo.layers.linear import Before, Linear
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
        if training:
            before = _activation(self.activation, self.gated)
            return self.down(h, training=True, before=before)
        if not self.gated:
            return self.down(activate(h, self.activation))
        gate, h = _halves(h)
        return self.down(activate(gate, self.activation) * h)


def _halves(h_NM):
    """The two halves [N, M / 2] of rows."""
    if not one_row.traced():
        return tf.split(h_NM, 2, -1)
    halves = tf.reshape(h_NM, (2, -1, h_NM.shape[1] // 2))
    return tf.unstack(halves)  # of one row, without a copy


def activate(x, name):
    """Applies an activation function.

    Args:
      x: any shape.
      name: one of `ACTIVATIONS`.
    """
    if one_row.traced() and name in ("gelu_tanh", "silu"):
        return x * tf.sigmoid(x if name == "silu" else _two_u(x))
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


@functools.cache
def _activation(name, gated) -> Before:
    """The activation for training, computed in float32, in one pass over memory."""

    def forward(h):
        f = tf.cast(h, tf.float32)
        if not gated:
            return tf.cast(_with_slope(f, name)[0], h.dtype)
        gate, f = tf.split(f, 2, -1)
        return tf.cast(_with_slope(gate, name)[0] * f, h.dtype)

    def backward(h, da):
        f, d = tf.cast(h, tf.float32), tf.cast(da, tf.float32)
        if gated:
            gate, f = tf.split(f, 2, -1)
            y, slope = _with_slope(gate, name)
            a, dh = y * f, tf.concat([d * f * slope, d * y], -1)
        else:
            a, slope = _with_slope(f, name)
            dh = d * slope
        return tf.cast(dh, h.dtype), tf.cast(a, h.dtype)

    return Before(xla_cluster(forward), xla_cluster(backward))


def _with_slope(x, name):
    """An activation function and its derivative, in a form that is fast in XLA."""
    if name == "relu":
        return tf.nn.relu(x), tf.cast(x > 0, x.dtype)
    if name == "relu_squared":
        y = tf.nn.relu(x)
        return y * y, 2 * y
    if name == "gelu":
        below = 0.5 * (1 + tf.math.erf(x * _ROOT_HALF))
        return x * below, below + x * tf.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    if name == "silu":
        s = tf.sigmoid(x)
        return x * s, s + x * s * (1 - s)
    s = tf.sigmoid(_two_u(x))
    return x * s, s + x * s * (1 - s) * _TWO_C0 * (1 + 3 * _C1 * x * x)


def _two_u(x):
    """2u, where gelu_tanh is 0.5 x (1 + tanh(u)), which equals x * sigmoid(2u)."""
    return x * (_TWO_C0 + _TWO_C0 * _C1 * (x * x))
