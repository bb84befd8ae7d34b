"""Self-attention of one new token a row, with caches of the keys and values before."""

import tensorflow as tf

from zoo.layers.attention.scores import PLAIN, capped, masked


def cached(
    q,
    k,
    v,
    keys_BKSd,
    values_BKSd,
    position_B,
    scores=PLAIN,
    in_place=False,
    bias_BHS=None,
):
    """Attention of one new token a row to the cached tokens of its row.

    Args:
      q: [B, H * head width].
      k, v: [B, K * head width], of the new token.
      keys_BKSd, values_BKSd: the caches: earlier tokens, then free positions.
      position_B: int32, the position of the row's new token; below S.
      scores: a `Scores`.
      in_place: whether the caches may be overwritten, which saves copying them. XLA
        does not have this operation.
      bias_BHS: added to the scores, in the dtype of q; or None.

    Returns:
      [B, H * head width], and the two caches, which now include the new token.
    """
    B, K, S, d = tf.unstack(tf.shape(keys_BKSd))
    kv_heads, width = keys_BKSd.shape[1], keys_BKSd.shape[3]
    rows = tf.reshape(tf.range(B * K) * S, (B, K)) + position_B[:, None]
    rows = tf.reshape(rows, [-1])

    def insert(cache, new):
        flat, new = tf.reshape(cache, (-1, width)), tf.reshape(new, (-1, width))
        if in_place:
            flat = tf.raw_ops.InplaceUpdate(x=flat, i=rows, v=new)
        else:
            flat = tf.tensor_scatter_nd_update(flat, rows[:, None], new)
        return tf.reshape(flat, (B, kv_heads, S, width))

    keys_BKSd, values_BKSd = insert(keys_BKSd, k), insert(values_BKSd, v)
    scale = tf.cast(scores.scale or width**-0.5, q.dtype)
    groups = q.shape[-1] // (kv_heads * width)
    q = tf.reshape(q * scale, (B, kv_heads, groups, width))
    z, _ = capped(_product(q, keys_BKSd, transposed=True), scores.softcap)
    seen = tf.range(S)[None] <= position_B[:, None]
    if scores.window:
        seen &= tf.range(S)[None] > position_B[:, None] - scores.window
    if bias_BHS is not None:
        z += tf.reshape(bias_BHS, tf.shape(z))
    z = masked(z, seen[:, None, None])
    out = _product(tf.nn.softmax(z), values_BKSd)
    return tf.reshape(out, (B, -1)), keys_BKSd, values_BKSd


def _product(x_BKGs, y, transposed=False):
    """x y, or x y^T, for each row and head of the keys.

    With one query a head of keys (G = 1), oneDNN's kernel takes about twice the time of
    TensorFlow's own. oneDNN takes over `BatchMatMulV2`, and leaves V3 alone.
    """
    if x_BKGs.dtype != tf.float32 or x_BKGs.shape[2] != 1:
        return tf.matmul(x_BKGs, y, transpose_b=transposed)
    return tf.raw_ops.BatchMatMulV3(x=x_BKGs, y=y, Tout=tf.float32, adj_y=transposed)
