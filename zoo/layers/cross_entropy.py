"""The linear head and its cross-entropy in one function, in chunks of rows.

The logits of a whole batch are the largest tensor of a language model's training step.
This function keeps the logits of one chunk at a time, and computes the gradients in the
forward pass. Source: Wijmans et al. 2024 (arXiv:2411.09009).
"""

import functools

import tensorflow as tf

from zoo.layers import head_chunks
from zoo.layers.xla_cluster import xla_cluster

CHUNK = 1024  # rows of logits at a time, or fewer: `head_chunks.limited`
_SMALL = 1e-35  # from here on, the logarithm of a probability is safe


def linear_cross_entropy(
    x_ND, weight_VD, bias_V, targets_N, weights_N, softcap=0.0, smoothing=0.0
):
    """The sum over rows of weight * -log softmax(x W^T + b)[target].

    Args:
      x_ND: features; the matrix products have their dtype.
      weight_VD: float32.
      bias_V: float32, or None.
      targets_N: int32 in [0, V).
      weights_N: float32, the weight of each row in the sum.
      softcap: above 0, logits become softcap * tanh(logits / softcap); 0 is off.
      smoothing: in [0, 1), the fraction of the target that is spread over all V.

    Returns:
      A float32 scalar with gradients for x, weight and bias.
    """
    has_bias = bias_V is not None
    options = has_bias, softcap, smoothing
    dtype = x_ND.dtype

    @tf.custom_gradient
    def loss_of(x_ND, weight_VD, bias_V):
        weight = tf.cast(weight_VD, dtype)

        def of(part):
            chunk = x_ND[part], targets_N[part], weights_N[part]
            return _chunk(*chunk, weight, bias_V, *options)

        chunk = head_chunks.limited(CHUNK, weight_VD.shape[0])
        total, grads_of = head_chunks.sums(of, x_ND, weight_VD, chunk)

        def backward(dy):
            dx, dweight, dbias = grads_of()
            scaled = dx * tf.cast(dy, dtype), dweight * dy
            return (*scaled, dbias * dy) if has_bias else (*scaled, tf.zeros(()))

        return total, backward

    return loss_of(x_ND, weight_VD, bias_V if has_bias else tf.zeros(()))


def _chunk(x, targets, weights, weight, bias_V, has_bias, softcap, smoothing):
    """The loss of a chunk of rows, and the gradients of x, weight and bias."""
    logits = tf.cast(tf.matmul(x, weight, transpose_b=True), tf.float32)
    if has_bias:
        logits = logits + bias_V
    if softcap:
        logits = softcap * tf.tanh(logits / softcap)
    p = tf.nn.softmax(logits)
    at = tf.stack([tf.range(tf.shape(x)[0]), targets], 1)
    hit, p_hit = tf.gather_nd(logits, at), tf.gather_nd(p, at)

    def by_largest():
        return tf.reduce_max(logits, -1) - tf.math.log(tf.reduce_max(p, -1))

    # log(sum(exp(z))) is z - log(p) of any place where p is not 0
    usual = tf.reduce_min(p_hit) > _SMALL
    lse = tf.cond(usual, lambda: hit - tf.math.log(p_hit), by_largest)
    hit *= 1 - smoothing
    if smoothing:
        hit += smoothing * tf.reduce_mean(logits, -1)
    loss = tf.reduce_sum(weights * (lse - hit))
    to = tf.float32 if has_bias else x.dtype
    of_softcap = logits if softcap else None
    dlogits = _gradient(softcap, smoothing, to)(p, of_softcap, targets)
    dbias = tf.matmul(weights[None], dlogits)[0] if has_bias else 0.0
    dlogits = tf.cast(dlogits, x.dtype)

    def weighed(x_ND):
        return tf.cast(tf.cast(x_ND, tf.float32) * weights[:, None], x_ND.dtype)

    # the weights of the rows multiply x and dx, which are smaller than dlogits
    dweight = tf.cast(tf.matmul(dlogits, weighed(x), transpose_a=True), tf.float32)
    return loss, weighed(tf.matmul(dlogits, weight)), dweight, dbias


@functools.cache
def _gradient(softcap, smoothing, dtype):
    """The gradient of a row's loss for its logits, in one pass over memory."""

    @xla_cluster
    def gradient(p_NV, logits_NV, targets_N):
        size = tf.shape(p_NV)[1]
        at_target = tf.range(size)[None] == targets_N[:, None]
        d = tf.where(at_target, p_NV - (1 - smoothing), p_NV)
        if smoothing:
            d -= smoothing / tf.cast(size, tf.float32)
        if softcap:
            d *= 1 - tf.square(logits_NV / softcap)
        return tf.cast(d, dtype)

    return gradient
