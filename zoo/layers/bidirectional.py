"""Self-attention in which every position sees the whole text, and no padding.

Source: Devlin et al. 2018 (BERT, arXiv:1810.04805).
"""

import tensorflow as tf

_NEVER = -30000.0  # finite in bfloat16, and exp() of it is 0


def bidirectional(q, k, v, lengths_B, heads):
    """Attention of whole texts, each right-padded to T positions.

    What stands behind a row's end has exactly no influence on what is before it.

    Args:
      q, k, v: [B*T, H * head width].
      lengths_B: int32, how many positions of each row are its text. Where there are
        none, all are seen alike.
      heads: H.

    Returns:
      [B*T, H * head width]; behind a row's end it is that of its padding.
    """
    batch, width = tf.shape(lengths_B)[0], q.shape[-1]

    def split(x):
        x = tf.reshape(x, (batch, -1, heads, width // heads))
        return tf.transpose(x, (0, 2, 1, 3))

    scale = tf.cast((width // heads) ** -0.5, q.dtype)
    z = tf.matmul(split(q * scale), split(k), transpose_b=True)
    seen_BT = tf.sequence_mask(lengths_B, tf.shape(z)[-1])
    z = tf.where(seen_BT[:, None, None], z, tf.cast(_NEVER, z.dtype))
    out = tf.matmul(tf.nn.softmax(z), split(v))
    return tf.reshape(tf.transpose(out, (0, 2, 1, 3)), (-1, width))
