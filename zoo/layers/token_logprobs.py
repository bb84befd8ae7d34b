"""The linear head and the log-probability of each target, in chunks of rows.

Losses of alignment need the log-probability of every sampled token, and the entropy of
the distribution that it is from. Whole logits [N, V] would be the largest tensor of
their steps. This function keeps the logits of one chunk at a time, and computes them
again in the backward pass.
"""

from typing import Any

import tensorflow as tf

from zoo.layers import head_chunks

_CHUNK = 1024  # rows of logits at a time, or fewer: `head_chunks.limited`


def token_logprobs(
    x_ND, weight_VD, bias_V, targets_N, softcap=0.0, temperature=1.0
) -> tuple[tf.Tensor, tf.Tensor]:
    """log softmax(z / temperature)[target], and the entropy of that softmax, in nats.

    The logits z are x W^T + b. The softmax is over all V rows of the weight, also over
    those that only pad a vocabulary.

    Args:
      x_ND: features; the matrix products have their dtype.
      weight_VD: float32.
      bias_V: float32, or None.
      targets_N: int32 in [0, V).
      softcap: above 0, logits become softcap * tanh(logits / softcap); 0 is off.
      temperature: above 0; divides the logits after the softcap.

    Returns:
      The log-probabilities and the entropies, float32 [N], both with gradients for x,
      weight and bias.
    """
    has_bias = bias_V is not None
    dtype = x_ND.dtype
    chunk = head_chunks.limited(_CHUNK, weight_VD.shape[0])

    @tf.custom_gradient
    def both_of(x_ND, weight_VD, bias_V):
        weight = tf.cast(weight_VD, dtype)

        def scaled_of(part):
            """The logits over the temperature, and the tanh of a softcap."""
            logits = tf.cast(tf.matmul(x_ND[part], weight, transpose_b=True), "float32")
            if has_bias:
                logits = logits + bias_V
            if not softcap:
                return logits / temperature, 0.0
            # one factor: TensorFlow joins two of them in graphs without gradients only
            tanh = tf.tanh(logits / softcap)
            return tanh * (softcap / temperature), tanh

        def forward(part):
            return _values(scaled_of(part)[0], targets_N[part])[:2]

        def backward(dlogp_N, dentropy_N):
            def of(part):
                scaled, tanh = scaled_of(part)
                above = dlogp_N[part], dentropy_N[part]
                dlogits = _gradient(scaled, targets_N[part], *above) / temperature
                if softcap:
                    dlogits *= 1 - tf.square(tanh)
                dbias = 0.0
                if has_bias:
                    dbias = tf.matmul(tf.ones((1, tf.shape(dlogits)[0])), dlogits)[0]
                dlogits = tf.cast(dlogits, dtype)
                dweight = tf.matmul(dlogits, x_ND[part], transpose_a=True)
                return tf.matmul(dlogits, weight), tf.cast(dweight, tf.float32), dbias

            dx, dweight, dbias = head_chunks.gradients(of, x_ND, weight_VD, chunk)
            return dx, dweight, dbias if has_bias else tf.zeros(())

        return head_chunks.rows(forward, x_ND, chunk, 2), backward

    both: Any = both_of(x_ND, weight_VD, bias_V if has_bias else tf.zeros(()))
    return both


def _values(scaled, targets):
    """The log-probabilities and the entropies of a chunk, and all of log softmax."""
    log_p = tf.nn.log_softmax(scaled)
    at = tf.stack([tf.range(tf.shape(scaled)[0]), targets], 1)
    entropy = -tf.reduce_sum(tf.exp(log_p) * log_p, -1)
    return tf.gather_nd(log_p, at), entropy, log_p


def _gradient(scaled, targets, dlogp, dentropy):
    """The gradient of a chunk's logits over the temperature.

    That of log p[target] is (one-hot - p); that of the entropy H is -p (log p + H).
    """
    _, entropy, log_p = _values(scaled, targets)
    factor = dlogp[:, None] + dentropy[:, None] * (log_p + entropy[:, None])
    at = tf.stack([tf.range(tf.shape(scaled)[0]), targets], 1)
    return tf.tensor_scatter_nd_add(-tf.exp(log_p) * factor, at, dlogp)
