"""Self-attention of new tokens, with caches of the keys and values before them."""

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
    keys_BKSd = _insert(keys_BKSd, k, rows, in_place)
    values_BKSd = _insert(values_BKSd, v, rows, in_place)
    scale = tf.cast(scores.scale or width**-0.5, q.dtype)
    groups = q.shape[-1] // (kv_heads * width)
    q = tf.reshape(q * scale, (B, kv_heads, groups, width))
    z, _ = capped(_product(q, keys_BKSd, transposed=True), scores.softcap)
    if bias_BHS is not None:
        z += tf.reshape(bias_BHS, tf.shape(z))
    z = masked(z, _seen(position_B, S, scores.window)[:, None, None])
    out = _product(tf.nn.softmax(z), values_BKSd)
    return tf.reshape(out, (B, -1)), keys_BKSd, values_BKSd


def cached_several(
    q, k, v, keys_BKSd, values_BKSd, position_BQ, scores=PLAIN, in_place=False
):
    """Attention of Q new tokens a row to the cached tokens, themselves and each other.

    A token sees what it sees in `cached`, had the tokens come one by one.

    Args:
      q: [B * Q, H * head width].
      k, v: [B * Q, K * head width], of the new tokens.
      keys_BKSd, values_BKSd: the caches: earlier tokens, then free positions.
      position_BQ: int32, the positions of the new tokens; below S.
      scores, in_place: as `cached` has them.

    Returns:
      [B * Q, H * head width], and the two caches, which now include the new tokens.
    """
    B, K, S, d = tf.unstack(tf.shape(keys_BKSd))
    Q = tf.shape(position_BQ)[1]
    kv_heads, width = keys_BKSd.shape[1], keys_BKSd.shape[3]
    rows = tf.reshape(tf.range(B * K) * S, (B, 1, K)) + position_BQ[:, :, None]
    keys_BKSd = _insert(keys_BKSd, k, rows, in_place)
    values_BKSd = _insert(values_BKSd, v, rows, in_place)
    scale = tf.cast(scores.scale or width**-0.5, q.dtype)
    heads_width = q.shape[-1]
    groups = heads_width // (kv_heads * width)
    q = tf.reshape(q * scale, (B, Q, kv_heads, groups, width))
    q = tf.reshape(tf.transpose(q, (0, 2, 3, 1, 4)), (B, kv_heads, -1, width))
    z, _ = capped(tf.matmul(q, keys_BKSd, transpose_b=True), scores.softcap)
    seen_BQS = _seen(position_BQ, S, scores.window)
    z = masked(z, tf.tile(seen_BQS, (1, groups, 1))[:, None])
    out = tf.matmul(tf.nn.softmax(z), values_BKSd)
    out = tf.reshape(out, (B, kv_heads, groups, Q, width))
    out = tf.transpose(out, (0, 3, 1, 2, 4))
    return tf.reshape(out, (B * Q, heads_width)), keys_BKSd, values_BKSd


def _insert(cache_BKSd, new, rows, in_place):
    """The cache with new rows of a head at their places in [B * K * S, d]."""
    width, rows = cache_BKSd.shape[3], tf.reshape(rows, [-1])
    flat, new = tf.reshape(cache_BKSd, (-1, width)), tf.reshape(new, (-1, width))
    if in_place:
        flat = tf.raw_ops.InplaceUpdate(x=flat, i=rows, v=new)
    else:
        flat = tf.tensor_scatter_nd_update(flat, rows[:, None], new)
    return tf.reshape(flat, tf.shape(cache_BKSd))


def _seen(position, S, window):
    """Which of S places a position sees, bool [..., S]."""
    seen = tf.range(S) <= position[..., None]
    if window:
        seen &= tf.range(S) > position[..., None] - window
    return seen


def _product(x_BKGs, y, transposed=False):
    """x y, or x y^T, for each row and head of the keys.

    With one query a head of keys (G = 1), oneDNN's kernel takes about twice the time of
    TensorFlow's own. oneDNN takes over `BatchMatMulV2`, and leaves V3 alone.
    """
    if x_BKGs.dtype != tf.float32 or x_BKGs.shape[2] != 1:
        return tf.matmul(x_BKGs, y, transpose_b=transposed)
    return tf.raw_ops.BatchMatMulV3(x=x_BKGs, y=y, Tout=tf.float32, adj_y=transposed)
