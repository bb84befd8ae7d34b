"""Attention to all positions of a text: from another sequence, or from itself.

Sources: Bahdanau et al. 2014 (arXiv:1409.0473); Vaswani et al. 2017
(arXiv:1706.03762); Devlin et al. 2018 (bidirectional, arXiv:1810.04805).
"""

import tensorflow as tf

from zoo.layers.attention.scores import join, masked, split


def bidirectional(q, k, v, lengths_B, heads, training=False, scale=0.0, bias_HTT=None):
    """Attention of whole texts: every position sees all positions of its text.

    The arguments and the result are those of `across`, for a text and itself.
    """
    return across(q, k, v, lengths_B, heads, training, scale, bias_HTT)


def across(q, k, v, lengths_B, heads, training=False, scale=0.0, bias_HTS=None):
    """Attention from each position of one sequence to all positions of a text.

    The padding after a text has exactly no influence.

    Args:
      q: [B*T, H * head width].
      k, v: [B*S, H * head width], of texts that are right-padded to S positions.
      lengths_B: int32, the positions of each text. In a row of length 0, every
        position sees all S positions alike.
      heads: H.
      training: whether the caller will compute gradients, by a gradient of its own.
      scale: the factor of the products; 0 means the square root of 1 / head width.
      bias_HTS: added to the scores, in the dtype of q; or None.

    Returns:
      [B*T, H * head width]; the rows of padding mean nothing.
    """
    batch = tf.shape(lengths_B)[0]
    factor = tf.cast(scale or (q.shape[-1] // heads) ** -0.5, q.dtype)

    def forward(q, k, v, bias=None):
        """The probabilities and the output of split inputs."""
        z = tf.matmul(q, k, transpose_b=True)
        if bias is not None:
            z += bias
        seen_BS = tf.sequence_mask(lengths_B, tf.shape(z)[-1])
        p = tf.nn.softmax(masked(z, seen_BS[:, None, None]))
        return p, tf.matmul(p, v)

    def parts(q, k, v):
        return split(q * factor, batch, heads), *(
            split(x, batch, heads) for x in (k, v)
        )

    @tf.custom_gradient
    def attend(q, k, v, *bias):
        q, k, v = parts(q, k, v)
        p, out = forward(q, k, v, *bias)

        def backward(dout):
            dout = split(dout, batch, heads)
            row = tf.reduce_sum(dout * out, -1, keepdims=True)
            ds = p * (tf.matmul(dout, v, transpose_b=True) - row)
            # q was scaled before the products, so dk needs no scale
            dq = join(tf.matmul(ds, k)) * factor
            dk = join(tf.matmul(ds, q, transpose_a=True))
            dv = join(tf.matmul(p, dout, transpose_a=True))
            return dq, dk, dv, *(tf.reduce_sum(ds, 0) for _ in bias)

        return join(out), backward

    bias = () if bias_HTS is None else (bias_HTS,)
    if training:
        return attend(q, k, v, *bias)
    return join(forward(*parts(q, k, v), *bias)[1])


def seen(q, k, lengths_B, heads, scale=0.0):
    """The probabilities of `across` without a bias, [B, H, T, S]."""
    batch = tf.shape(lengths_B)[0]
    factor = tf.cast(scale or (q.shape[-1] // heads) ** -0.5, q.dtype)
    q, k = (split(x, batch, heads) for x in (q * factor, k))
    z = tf.matmul(q, k, transpose_b=True)
    seen_BS = tf.sequence_mask(lengths_B, tf.shape(z)[-1])
    return tf.nn.softmax(masked(z, seen_BS[:, None, None]))
