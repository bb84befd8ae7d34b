"""One vector for each row of features, and vectors of length 1."""

import tensorflow as tf

from zoo.layers import batch_invariant

_LEAST_SQUARE = 1e-24  # the smallest squared length: a vector of zeros stays zeros


def mean(x_BTD, lengths_B):
    """The mean of the first `lengths_B` features of each row, float32 [B, D].

    Args:
      x_BTD: features of any dtype.
      lengths_B: int32; a row of length 0 gives zeros.
    """
    x_BTD = tf.cast(x_BTD, tf.float32)
    real_BT = tf.sequence_mask(lengths_B, tf.shape(x_BTD)[1])
    sum_BD = tf.reduce_sum(tf.where(real_BT[..., None], x_BTD, 0.0), 1)
    return sum_BD / tf.cast(tf.maximum(lengths_B, 1), tf.float32)[:, None]


def unit(x_BD):
    """The vectors divided by their lengths; float32 [B, D]."""
    square_B1 = tf.reduce_sum(tf.square(x_BD), -1, keepdims=True)
    square_B1 = tf.maximum(square_B1, _LEAST_SQUARE)
    return x_BD * batch_invariant.apply(tf.math.rsqrt, square_B1)
