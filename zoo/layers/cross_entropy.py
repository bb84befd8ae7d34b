"""The linear head and its cross-entropy in one function, in chunks of rows.

The logits of a whole batch are the largest tensor of a language model's training step.
This function keeps the logits of one chunk at a time, and computes the gradients in the
forward pass. Source: Wijmans et al. 2024 (arXiv:2411.09009).
"""

import tensorflow as tf

from zoo.layers import head_chunks

CHUNK = 1024  # rows of logits at a time, or fewer: `head_chunks.limited`


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
    # log(sum(exp(z))) is max(z) - log(max(p)), safe where p[target] is 0
    top = tf.reduce_max(logits, -1) - tf.math.log(tf.reduce_max(p, -1))
    hit = (1 - smoothing) * tf.gather_nd(logits, at)
    if smoothing:
        hit += smoothing * tf.reduce_mean(logits, -1)
    loss = tf.reduce_sum(weights * (top - hit))
    ones = tf.fill([tf.shape(x)[0]], 1.0 - smoothing)
    dlogits = tf.tensor_scatter_nd_sub(p, at, ones)
    if smoothing:
        dlogits -= smoothing / weight.shape[0]
    if softcap:
        dlogits *= 1 - tf.square(logits / softcap)
    dbias = tf.matmul(weights[None], dlogits)[0] if has_bias else 0.0
    dlogits = tf.cast(dlogits, x.dtype)

    def weighed(x_ND):
        return tf.cast(tf.cast(x_ND, tf.float32) * weights[:, None], x_ND.dtype)

    # the weights of the rows multiply x and dx, which are smaller than dlogits
    dweight = tf.cast(tf.matmul(dlogits, weighed(x), transpose_a=True), tf.float32)
    return loss, weighed(tf.matmul(dlogits, weight)), dweight, dbias
