"""Functions of a row whose bits do not depend on the place of the row in its batch.

A CPU computes rsqrt, log and exp for 16 numbers at a time. It computes the numbers that
remain at the end of a tensor one by one, and their last bits differ. In a column [N, 1]
the bits of a row would then depend on its place. The functions of this module compute
16 copies of each number side by side, so that no number remains.
"""

import tensorflow as tf

LANES = 16  # float32 numbers in the widest vector registers


def apply(function, x_N1):
    """Applies an element-wise function to a column, independent of a row's place.

    Args:
      function: such as `tf.math.rsqrt`.
      x_N1: a column [N, 1].

    Returns:
      `function(x)`, [N, 1]. The bits of a row depend on the row's value alone.
    """
    return function(tf.tile(x_N1, (1, LANES)))[:, :1]


def log_sum_exp(logits_BV):
    """Computes log(sum(exp(logits))) of each row, float32 [B].

    It equals max(z) - log(max(softmax(z))). Both maxima are exact, and TensorFlow's
    softmax kernel works row by row.
    """
    top_B1 = tf.reduce_max(tf.nn.softmax(logits_BV), -1, keepdims=True)
    return tf.reduce_max(logits_BV, -1) - apply(tf.math.log, top_B1)[:, 0]
