"""The linear head and its cross-entropy in one function, in chunks of rows.

The logits of a whole batch are the largest tensor of a language model's training step.
This function keeps the logits of one chunk at a time, and computes the gradients in the
forward pass. Source: Wijmans et al. 2024 (arXiv:2411.09009).
"""

import tensorflow as tf

_CHUNK = 1024  # rows; 32 MB of float32 logits at a vocabulary of 8192


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
    rows = x_ND.shape[0]
    chunks = max(1, -(-rows // _CHUNK)) if rows else 1
    V, dtype = weight_VD.shape[0], x_ND.dtype

    @tf.custom_gradient
    def loss_of(x_ND, weight_VD, bias_V):
        weight = tf.cast(weight_VD, dtype)
        total, dx, dweight, dbias = 0.0, [], 0.0, 0.0
        size = -(-rows // chunks) if rows else tf.shape(x_ND)[0]
        for i in range(chunks):
            part = slice(i * size, (i + 1) * size)
            x, targets, weights = x_ND[part], targets_N[part], weights_N[part]
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
            total += tf.reduce_sum(weights * (top - hit))
            ones = tf.fill([tf.shape(x)[0]], 1.0 - smoothing)
            dlogits = tf.tensor_scatter_nd_sub(p, at, ones)
            if smoothing:
                dlogits -= smoothing / V
            dlogits *= weights[:, None]
            if softcap:
                dlogits *= 1 - tf.square(logits / softcap)
            if has_bias:
                dbias += tf.matmul(tf.ones((1, tf.shape(x)[0])), dlogits)[0]
            dlogits = tf.cast(dlogits, dtype)
            dx.append(tf.matmul(dlogits, weight))
            dweight += tf.cast(tf.matmul(dlogits, x, transpose_a=True), tf.float32)

        def backward(dy):
            scaled = tf.concat(dx, 0) * tf.cast(dy, dtype), dweight * dy
            return (*scaled, dbias * dy) if has_bias else (*scaled, tf.zeros(()))

        return total, backward

    return loss_of(x_ND, weight_VD, bias_V if has_bias else tf.zeros(()))
