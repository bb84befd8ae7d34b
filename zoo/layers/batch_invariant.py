"""Row independence where kernels do not give it: transcendental functions of columns.

A CPU computes rsqrt, log and exp of 16 numbers at a time, and what is left at the end
of a tensor one by one, with other last bits. In a column [N, 1] a row's place then
decides its bits. Sixteen copies of each number side by side leave no rest.
"""

import tensorflow as tf

LANES = 16  # float32 in the widest vector registers


def apply(function, x_N1):
    """`function(x)` of a column, whose bits depend on nothing but the row's value."""
    return function(tf.tile(x_N1, (1, LANES)))[:, :1]


def log_sum_exp(logits_BV):
    """log(sum(exp(logits))) of each row, float32 [B].

    It is max(z) - log(max(softmax(z))): both maxima are exact, and softmax is a kernel
    that works row by row.
    """
    top_B1 = tf.reduce_max(tf.nn.softmax(logits_BV), -1, keepdims=True)
    return tf.reduce_max(logits_BV, -1) - apply(tf.math.log, top_B1)[:, 0]
