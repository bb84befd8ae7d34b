"""Attention of new tokens of a row: to the tokens before them, and to a source.

The keys and values are cached. What all layers of a step share is computed once: where
the new tokens stand in the caches, and which positions each sees.
"""

import tensorflow as tf

from zoo.layers import one_row
from zoo.layers.attention.scores import PLAIN, capped
from zoo.layers.batch_invariant import LANES

_FEW = 4  # queries a head of keys up to which a product of one query each is faster


def places(count):
    """The least number of a cache's positions for `count` tokens.

    It divides by `LANES`, so that the bits of a row do not depend on its place (see
    `zoo.layers.batch_invariant`).
    """
    return -(-count // LANES) * LANES


class NewTokens:
    """Where the Q new tokens of each row stand in the caches of all layers.

    Args:
      position_BQ: int32, below S.
      cache_BKSd: any cache: earlier tokens, then free positions.
      windows: of the layers: how many positions a token sees; 0 means all.
      bias_BHS: added to the scores of one new token, in the dtype of queries; or None.

    Attributes:
      rows_N: the new tokens' rows of caches [B * K * S, d], N = B * Q * K.
      shape: of the caches.
      added: by window, what is added to the scores: [B, 1, Q, S], or [B, K, G, S] with
        a bias.
    """

    def __init__(self, position_BQ, cache_BKSd, windows=(0,), bias_BHS=None):
        B, K, S, _ = tf.unstack(tf.shape(cache_BKSd))
        first_B1K = tf.reshape(tf.range(B * K) * S, (B, 1, K))
        self.rows_N = tf.reshape(first_B1K + position_BQ[:, :, None], [-1])
        self.shape = tf.shape(cache_BKSd)
        bias = None
        if bias_BHS is not None:
            heads = cache_BKSd.shape[1], bias_BHS.shape[1] // cache_BKSd.shape[1]
            bias = tf.reshape(bias_BHS, (B, *heads, S))
        # computed here, as layers may be traced apart from each other
        self.added = {}
        for window in windows:
            unseen_BQS = tf.range(S) > position_BQ[:, :, None]
            if window:
                unseen_BQS |= tf.range(S) <= position_BQ[:, :, None] - window
            added = _hidden(unseen_BQS, cache_BKSd.dtype)[:, None]
            self.added[window] = added if bias is None else added + bias


def cached(q, k, v, keys_BKSd, values_BKSd, new, scores=PLAIN, in_place=False):
    """Attention of one new token a row to the cached tokens of its row.

    Args:
      q: [B, H * head width], or [H, 1, head width] of one row.
      k, v: [B, K * head width], or [K, 1, head width], of the new token.
      keys_BKSd, values_BKSd: the caches.
      new: the `NewTokens` of these caches, one a row.
      scores: a `Scores`.
      in_place: whether the caches may be overwritten, which saves copying them. XLA
        does not have this operation.

    Returns:
      [B, H * head width], and the two caches, which now include the new token.
    """
    kv_heads, width = keys_BKSd.shape[1], keys_BKSd.shape[3]
    heads = q.shape[0] if len(q.shape) == 3 else q.shape[1] // width
    groups = heads // kv_heads
    few = groups <= _FEW and q.dtype == tf.float32
    q = _scaled(q, scores.scale or width**-0.5)
    added = new.added[scores.window]
    if one_row.traced() and few and in_place and added.shape[1] == 1:
        given = q, k, v, keys_BKSd, values_BKSd, new.rows_N, added, scores.softcap
        return _of_one_row(*given), keys_BKSd, values_BKSd
    keys_BKSd = _insert(keys_BKSd, k, new, in_place)
    values_BKSd = _insert(values_BKSd, v, new, in_place)
    q = tf.reshape(q, (-1, kv_heads, groups, width))
    keys, values = keys_BKSd, values_BKSd
    if few and groups > 1:  # each query by itself
        q, added = tf.expand_dims(q, 3), tf.expand_dims(added, 3)
        keys, values = tf.expand_dims(keys, 2), tf.expand_dims(values, 2)
    out = _attend(q, keys, values, added, scores.softcap, few)
    out = tf.reshape(out, (-1, heads * width))
    return out, keys_BKSd, values_BKSd


def _of_one_row(q, k, v, keys_1KSd, values_1KSd, rows_K, added_111S, softcap):
    """The output [1, H * head width] of one row, whose caches are overwritten.

    Nothing is copied, and there are few operations: each query is by itself, and all
    have the same hidden places. No token is read before the output of the one before it
    is known, so the caches themselves can be the state.
    """
    kv_heads, width = keys_1KSd.shape[1], keys_1KSd.shape[3]

    def inserted(cache_1KSd, x):
        flat, x_Kd = tf.reshape(cache_1KSd, (-1, width)), tf.reshape(x, (-1, width))
        flat = tf.raw_ops.InplaceUpdate(x=flat, i=rows_K, v=x_Kd)
        return tf.reshape(flat, (kv_heads, 1, -1, width))

    keys_K1Sd, values_K1Sd = inserted(keys_1KSd, k), inserted(values_1KSd, v)
    q_KG1d = tf.reshape(q, (kv_heads, -1, 1, width))
    z_KG1S, _ = capped(_matmul(q_KG1d, keys_K1Sd, True), softcap)
    p_KG1S = tf.exp(tf.nn.log_softmax(z_KG1S + added_111S))
    return tf.reshape(_matmul(p_KG1S, values_K1Sd), (1, -1))


def cached_several(q, k, v, keys_BKSd, values_BKSd, new, scores=PLAIN, in_place=False):
    """Attention of Q new tokens a row to the cached tokens, themselves and each other.

    A token sees what it sees in `cached`, had the tokens come one by one.

    Args:
      q: [B * Q, H * head width].
      k, v: [B * Q, K * head width], of the new tokens.
      keys_BKSd, values_BKSd: the caches.
      new: the `NewTokens` of these caches.
      scores, in_place: as `cached` has them.

    Returns:
      [B * Q, H * head width], and the two caches, which now include the new tokens.
    """
    kv_heads, width = keys_BKSd.shape[1], keys_BKSd.shape[3]
    keys_BKSd = _insert(keys_BKSd, k, new, in_place)
    values_BKSd = _insert(values_BKSd, v, new, in_place)
    added_B1QS = new.added[scores.window]
    B, _, Q, S = tf.unstack(tf.shape(added_B1QS))
    groups = q.shape[-1] // (kv_heads * width)
    q = _scaled(q, scores.scale or width**-0.5)
    q_BQKGd = tf.reshape(q, (B, Q, kv_heads, groups, width))
    q_BKNd = tf.reshape(
        tf.transpose(q_BQKGd, (0, 2, 3, 1, 4)), (B, kv_heads, -1, width)
    )
    z_BKNS, _ = capped(tf.matmul(q_BKNd, keys_BKSd, transpose_b=True), scores.softcap)
    z_BKGQS = tf.reshape(z_BKNS, (B, kv_heads, groups, Q, S)) + added_B1QS[:, :, None]
    p_BKNS = tf.reshape(tf.nn.softmax(z_BKGQS), (B, kv_heads, -1, S))
    out = tf.reshape(tf.matmul(p_BKNS, values_BKSd), (B, kv_heads, groups, Q, width))
    out = tf.transpose(out, (0, 3, 1, 2, 4))
    shape = B * Q, kv_heads * groups * width
    return tf.reshape(out, shape), keys_BKSd, values_BKSd


class Source:
    """The texts that all layers of a step see, and the rows that share them.

    Args:
      lengths_B: int32, the positions of each text, at least 1.
      keys_BHSd: any keys of the texts.
      rows: R, which B divides. The rows of one text stand together.
    """

    def __init__(self, lengths_B, keys_BHSd, rows):
        H, shape = keys_BHSd.shape[1], tf.shape(keys_BHSd)
        B, S = shape[0], shape[2]
        padding_BS = tf.range(S)[None] >= lengths_B[:, None]
        self.added = _hidden(padding_BS, keys_BHSd.dtype)[:, None, None]
        # [B, G, H] to [B, H, G] and back by a gather: oneDNN's transpose of so few
        # numbers costs several times as much
        number_BGH = tf.reshape(tf.range(rows * H), (B, -1, H))
        number_BHG = tf.transpose(number_BGH, (0, 2, 1))
        self.heads_first = number_BHG
        self.rows_first = tf.reshape(
            tf.transpose(tf.reshape(tf.range(rows * H), (B, H, -1)), (0, 2, 1)), [-1]
        )


def across_cached(q, keys_BHSd, values_BHSd, source):
    """Attention from one new token a row to all positions of the row's text.

    Args:
      q: [R, H * head width], times the factor of the products.
      keys_BHSd, values_BHSd: of the texts.
      source: their `Source`.

    Returns:
      [R, H * head width].
    """
    heads, width = keys_BHSd.shape[1], keys_BHSd.shape[3]
    q_BHGd = tf.gather(tf.reshape(q, (-1, width)), source.heads_first)
    out = _attend(q_BHGd, keys_BHSd, values_BHSd, source.added)
    out = tf.gather(tf.reshape(out, (-1, width)), source.rows_first)
    return tf.reshape(out, (-1, heads * width))


def _insert(cache_BKSd, x, new, in_place):
    """The cache with the keys or values of the new tokens."""
    width = cache_BKSd.shape[3]
    flat, x = tf.reshape(cache_BKSd, (-1, width)), tf.reshape(x, (-1, width))
    if in_place:
        flat = tf.raw_ops.InplaceUpdate(x=flat, i=new.rows_N, v=x)
    else:
        flat = tf.tensor_scatter_nd_update(flat, new.rows_N[:, None], x)
    return tf.ensure_shape(tf.reshape(flat, new.shape), cache_BKSd.shape)


def _scaled(q, scale):
    """The queries times the factor of the products."""
    return q if scale == 1 else q * tf.cast(scale, q.dtype)


def _hidden(unseen, dtype):
    """What hides scores: 0 where a position is seen, else very small."""
    return tf.cast(unseen, dtype) * (dtype.min / 2)


def _attend(q_BKGd, keys_BKSd, values_BKSd, added, softcap=0.0, few=True):
    """The output [B, K, G, d] for queries that are scaled.

    With few queries a head of keys, oneDNN's product takes about twice the time of
    TensorFlow's own for one query: then K counts the heads of queries, with keys
    [B, K, 1, S, d] that several share. oneDNN takes over `BatchMatMulV2`, and leaves V3
    alone. It also takes over `Softmax`, and wakes threads for however few numbers.
    """
    if q_BKGd.dtype != tf.float32:
        z, _ = capped(tf.matmul(q_BKGd, keys_BKSd, transpose_b=True), softcap)
        return tf.matmul(tf.nn.softmax(z + added), values_BKSd)
    product = _matmul if few else tf.matmul
    z, _ = capped(product(q_BKGd, keys_BKSd, transpose_b=True), softcap)
    z += added
    e = tf.exp(z - tf.reduce_max(z, -1, keepdims=True))
    return product(e, values_BKSd) / tf.reduce_sum(e, -1, keepdims=True)


def _matmul(x, y, transpose_b=False):
    """TensorFlow's own product, which oneDNN leaves alone."""
    return tf.raw_ops.BatchMatMulV3(x=x, y=y, Tout=tf.float32, adj_y=transpose_b)
