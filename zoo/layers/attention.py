"""Masked self-attention: for whole sequences with its own gradient, and for decoding.

For a whole sequence the queries are cut into blocks, and each block meets only the
keys that it may see: half of the score matrix is never computed. Masks are applied
by `tf.where`; a product followed by a scaled sum would be rewritten by the graph
optimizer into a slow fused kernel.

Sources: Vaswani et al. 2017 (arXiv:1706.03762); Ainslie et al. 2023 (grouped
queries, arXiv:2305.13245); Su et al. 2021 (rotary positions, arXiv:2104.09864).
"""

import keras
import numpy as np
import tensorflow as tf

from zoo.layers import fused, per_row
from zoo.layers.linear import Linear

_NEVER = -30000.0  # finite in bfloat16, and exp() of it is 0


class Attention(keras.layers.Layer):
    """The projections around attention; `attend` decides who sees what.

    One weight `qkv` holds queries, keys and values, in this order.
    """

    def __init__(
        self, width, heads, kv_heads, head_width, qkv_bias, out_bias, stddev, **kwargs
    ):
        super().__init__(**kwargs)
        self.heads, self.kv_heads, self.head_width = heads, kv_heads, head_width
        outputs = (heads + 2 * kv_heads) * head_width
        with keras.name_scope(self.name):
            self.qkv = Linear(width, outputs, qkv_bias, name="qkv")
            self.out = Linear(heads * head_width, width, out_bias, stddev, name="out")
        self.built = True

    def call(self, x_ND, attend, rotation=None, training=False):
        """Returns [N, D].

        Args:
          x_ND: rows of one or more sequences.
          attend: `attend(q, k, v) -> [N, H * head width]`, of flat q, k and v.
          rotation: what `rotation` gave for the rows, or None.
          training: whether gradients will be asked for.
        """
        h, k = self.heads * self.head_width, self.kv_heads * self.head_width
        y = self.qkv(x_ND)
        if rotation is None:
            return self.out(attend(*tf.split(y, [h, k, k], 1)))
        turned, v = tf.split(y, [h + k, k], 1)
        turned = tf.reshape(turned, (-1, self.heads + self.kv_heads, self.head_width))
        turned = rotate(turned, *rotation, training=training)
        q, k = tf.split(tf.reshape(turned, (-1, h + k)), [h, k], 1)
        return self.out(attend(q, k, v))


def rotation(positions_N, head_width, theta):
    """The cosines and signed sines [N, 1, head width] that `rotate` multiplies by."""
    half = head_width // 2
    inverse = theta ** -(np.arange(0, head_width, 2, dtype=np.float32) / head_width)
    inverse = np.pad(inverse.astype(np.float32), (0, -half % per_row.LANES))
    angle = tf.cast(positions_N, tf.float32)[:, None] * inverse
    cos, sin = tf.cos(angle)[:, :half], tf.sin(angle)[:, :half]
    return tf.concat([cos, cos], 1)[:, None], tf.concat([-sin, sin], 1)[:, None]


def rotate(x, cos, sin, training=False):
    """Turns each pair (i, i + half) of the last dimension by its position's angle."""
    if not training:
        return _turn(x, cos, sin)

    @tf.custom_gradient
    def turn(x):
        return _turn_fused(x, cos, sin), lambda dy: _turn_fused(dy, cos, -sin)

    return turn(x)


def _turn(x, cos, sin):
    wide = tf.cast(x, tf.float32)
    left, right = tf.split(wide, 2, -1)
    return tf.cast(wide * cos + tf.concat([right, left], -1) * sin, x.dtype)


_turn_fused = fused.cluster(_turn)


def causal(q, k, v, batch, heads, kv_heads, blocks=1, training=False):
    """Attention of whole sequences in which a position sees itself and the past.

    Args:
      q: [B*T, H * head width].
      k, v: [B*T, K * head width].
      batch: B, an int or a scalar tensor.
      heads, kv_heads: H and K; K divides H.
      blocks: into how many blocks the queries are cut; divides T.
      training: whether gradients will be asked for.

    Returns:
      [B*T, H * head width].
    """
    d = q.shape[-1] // heads

    def split(x, n):
        return tf.transpose(tf.reshape(x, (batch, -1, n, d)), (0, 2, 1, 3))

    def join(x, n):
        return tf.reshape(tf.transpose(x, (0, 2, 1, 3)), (-1, n * d))

    def grouped(x):  # [B, H, t, d] to [B, K, H / K * t, d]: who shares a key head
        return tf.reshape(x, (batch, kv_heads, -1, d))

    def apart(x):
        return tf.reshape(x, (batch, heads, -1, d))

    def forward(q, k, v):
        """The output [B, H, T, d], and by block what the gradient needs."""
        T = q.shape[2] or tf.shape(q)[2]
        size = T // blocks
        parts = []
        for i in range(blocks):
            end = (i + 1) * size
            qi, ki, vi = grouped(q[:, :, i * size : end]), k[:, :, :end], v[:, :, :end]
            scores = tf.matmul(qi, ki, transpose_b=True)
            seen = tf.range(i * size, end)[:, None] >= tf.range(end)[None]
            seen = tf.tile(seen, (heads // kv_heads, 1))
            p = tf.nn.softmax(tf.where(seen, scores, tf.cast(_NEVER, q.dtype)))
            parts.append((end, qi, ki, vi, p, tf.matmul(p, vi)))
        return tf.concat([apart(part[-1]) for part in parts], 2), parts

    def gradient(dout, parts):
        dq, dk, dv, start = [], 0, 0, 0
        for end, qi, ki, vi, p, oi in parts:
            di = grouped(dout[:, :, start:end])
            row = tf.reduce_sum(di * oi, -1, keepdims=True)
            ds = p * (tf.matmul(di, vi, transpose_b=True) - row)
            dq.append(apart(tf.matmul(ds, ki)))
            rest = ((0, 0), (0, 0), (0, parts[-1][0] - end), (0, 0))
            dk += tf.pad(tf.matmul(ds, qi, transpose_a=True), rest)
            dv += tf.pad(tf.matmul(p, di, transpose_a=True), rest)
            start = end
        return tf.concat(dq, 2), dk, dv

    scale = tf.cast(d**-0.5, q.dtype)

    @tf.custom_gradient
    def attend(q, k, v):
        out, parts = forward(
            split(q, heads) * scale, split(k, kv_heads), split(v, kv_heads)
        )

        def backward(dout):
            dq, dk, dv = gradient(split(dout, heads), parts)
            # q carries the scale, so dk needs none
            return join(dq * scale, heads), join(dk, kv_heads), join(dv, kv_heads)

        return join(out, heads), backward

    if training:
        return attend(q, k, v)
    q, k, v = split(q, heads) * scale, split(k, kv_heads), split(v, kv_heads)
    return join(forward(q, k, v)[0], heads)


def cached(q, k, v, keys_BKSd, values_BKSd, position_B):
    """Attention of one new token a row against its cache.

    Args:
      q: [B, H * head width].
      k, v: [B, K * head width], of the new token.
      keys_BKSd, values_BKSd: what came before, and free room behind it.
      position_B: int32, where the row's new token stands; below S.

    Returns:
      [B, H * head width], and the two caches with the new token in them.
    """
    B, K, S, d = tf.unstack(tf.shape(keys_BKSd))
    kv_heads, width = keys_BKSd.shape[1], keys_BKSd.shape[3]
    rows = tf.reshape(tf.range(B * K) * S, (B, K)) + position_B[:, None]
    rows = tf.reshape(rows, (-1, 1))

    def insert(cache, new):
        flat = tf.reshape(cache, (-1, width))
        flat = tf.tensor_scatter_nd_update(flat, rows, tf.reshape(new, (-1, width)))
        return tf.reshape(flat, (B, kv_heads, S, width))

    keys_BKSd, values_BKSd = insert(keys_BKSd, k), insert(values_BKSd, v)
    q = tf.reshape(q * tf.cast(width**-0.5, q.dtype), (B, kv_heads, -1, width))
    scores = tf.matmul(q, keys_BKSd, transpose_b=True)
    seen = tf.range(S)[None] <= position_B[:, None]
    p = tf.where(seen[:, None, None], scores, tf.cast(_NEVER, q.dtype))
    out = tf.matmul(tf.nn.softmax(p), values_BKSd)
    return tf.reshape(out, (B, -1)), keys_BKSd, values_BKSd
