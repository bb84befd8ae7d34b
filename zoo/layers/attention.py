"""Masked self-attention: for whole sequences with its own gradient, and for decoding.

For a whole sequence the queries are cut into blocks, and each block meets only the
keys that it may see: half of the score matrix is never computed. Masks are applied
by `tf.where`; a product followed by a scaled sum would be rewritten by the graph
optimizer into a slow fused kernel.

Sources: Vaswani et al. 2017 (arXiv:1706.03762); Ainslie et al. 2023 (grouped
queries, arXiv:2305.13245); Beltagy et al. 2020 (windows, arXiv:2004.05150); Dehghani
et al. 2023 (norms of queries and keys, arXiv:2302.05442); Gemma Team 2024 (softcap,
arXiv:2408.00118).
"""

from typing import NamedTuple

import keras
import tensorflow as tf

from zoo.layers import rotary
from zoo.layers.linear import Linear
from zoo.layers.norm import Norm

_NEVER = -30000.0  # finite in bfloat16, and exp() of it is 0


class Scores(NamedTuple):
    """What becomes of the products of queries and keys.

    Attributes:
      scale: they are multiplied by it; 0 means the root of 1 / head width.
      softcap: then they become softcap * tanh(scores / softcap); 0 is off.
      window: a position sees itself and window - 1 before it; 0 means all.
    """

    scale: float = 0.0
    softcap: float = 0.0
    window: int = 0


PLAIN = Scores()


class Attention(keras.layers.Layer):
    """The projections around attention; `attend` decides who sees what.

    One weight `qkv` holds queries, keys and values, in this order. With `qk_norm`, the
    kind and the epsilon of a norm, every head of queries and of keys is normalised.
    """

    def __init__(
        self,
        width,
        heads,
        kv_heads,
        head_width,
        qkv_bias,
        out_bias,
        stddev,
        qk_norm=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.heads, self.kv_heads, self.head_width = heads, kv_heads, head_width
        outputs = (heads + 2 * kv_heads) * head_width
        self.q_norm = self.k_norm = None
        with keras.name_scope(self.name):
            self.qkv = Linear(width, outputs, qkv_bias, name="qkv")
            if qk_norm is not None:
                self.q_norm = Norm(head_width, *qk_norm, name="q_norm")
                self.k_norm = Norm(head_width, *qk_norm, name="k_norm")
            self.out = Linear(heads * head_width, width, out_bias, stddev, name="out")
        self.built = True

    def call(self, x_ND, attend, rotation=None, training=False):
        """Returns [N, D].

        Args:
          x_ND: rows of one or more sequences.
          attend: `attend(q, k, v) -> [N, H * head width]`, of flat q, k and v.
          rotation: what `rotary.rotation` gave for the rows, or None.
          training: whether gradients will be asked for.
        """
        h, k = self.heads * self.head_width, self.kv_heads * self.head_width
        y = self.qkv(x_ND)
        if rotation is None and self.q_norm is None:
            return self.out(attend(*tf.split(y, [h, k, k], 1)))
        turned, v = tf.split(y, [h + k, k], 1)
        turned = tf.reshape(turned, (-1, self.heads + self.kv_heads, self.head_width))
        if self.q_norm is not None:
            turned = self._normalised(turned, training)
        if rotation is not None:
            turned = rotary.rotate(turned, *rotation, training=training)
        q, k = tf.split(tf.reshape(turned, (-1, h + k)), [h, k], 1)
        return self.out(attend(q, k, v))

    def _normalised(self, x_NHd, training):
        """Queries and keys, each head by itself."""
        parts = tf.split(x_NHd, [self.heads, self.kv_heads], 1)
        for i, norm in enumerate((self.q_norm, self.k_norm)):
            rows = tf.reshape(parts[i], (-1, self.head_width))
            rows = norm.call(rows, training)
            parts[i] = tf.reshape(rows, (-1, parts[i].shape[1], self.head_width))
        return tf.concat(parts, 1)


def causal(q, k, v, batch, heads, kv_heads, blocks=1, training=False, scores=PLAIN):
    """Attention of whole sequences in which a position sees itself and the past.

    Args:
      q: [B*T, H * head width].
      k, v: [B*T, K * head width].
      batch: B, an int or a scalar tensor.
      heads, kv_heads: H and K; K divides H.
      blocks: into how many blocks the queries are cut; divides T.
      training: whether gradients will be asked for.
      scores: a `Scores`.

    Returns:
      [B*T, H * head width].
    """
    window, softcap = scores.window, scores.softcap
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
            start, end = i * size, (i + 1) * size
            # T is known where there are more blocks than one
            first = max(0, start - window + 1) if i and window else 0
            qi = grouped(q[:, :, start:end])
            ki, vi = k[:, :, first:end], v[:, :, first:end]
            z, slope = _capped(tf.matmul(qi, ki, transpose_b=True), softcap)
            now, then = tf.range(start, end)[:, None], tf.range(first, end)[None]
            seen = now >= then
            if window:
                seen &= now - then < window
            seen = tf.tile(seen, (heads // kv_heads, 1))
            p = tf.nn.softmax(tf.where(seen, z, tf.cast(_NEVER, q.dtype)))
            parts.append((first, end, qi, ki, vi, p, slope, tf.matmul(p, vi)))
        return tf.concat([apart(part[-1]) for part in parts], 2), parts

    def gradient(dout, parts):
        dq, dk, dv, start, last = [], 0, 0, 0, parts[-1][1]
        for first, end, qi, ki, vi, p, slope, oi in parts:
            di = grouped(dout[:, :, start:end])
            row = tf.reduce_sum(di * oi, -1, keepdims=True)
            ds = p * (tf.matmul(di, vi, transpose_b=True) - row)
            if slope is not None:
                ds *= slope
            dq.append(apart(tf.matmul(ds, ki)))
            rest = ((0, 0), (0, 0), (first, last - end), (0, 0))
            dk += tf.pad(tf.matmul(ds, qi, transpose_a=True), rest)
            dv += tf.pad(tf.matmul(p, di, transpose_a=True), rest)
            start = end
        return tf.concat(dq, 2), dk, dv

    scale = tf.cast(scores.scale or d**-0.5, q.dtype)

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


def _capped(z, softcap):
    """Scores under their cap, and the slope that their gradient meets, or None."""
    if not softcap:
        return z, None
    t = tf.tanh(z / softcap)
    return softcap * t, 1 - t * t


def cached(q, k, v, keys_BKSd, values_BKSd, position_B, scores=PLAIN, in_place=False):
    """Attention of one new token a row against its cache.

    Args:
      q: [B, H * head width].
      k, v: [B, K * head width], of the new token.
      keys_BKSd, values_BKSd: what came before, and free room behind it.
      position_B: int32, where the row's new token stands; below S.
      scores: a `Scores`.
      in_place: whether the caches may be overwritten, which spares a copy of them;
        XLA has no such operation.

    Returns:
      [B, H * head width], and the two caches with the new token in them.
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
    q = tf.reshape(q * scale, (B, kv_heads, -1, width))
    z, _ = _capped(tf.matmul(q, keys_BKSd, transpose_b=True), scores.softcap)
    seen = tf.range(S)[None] <= position_B[:, None]
    if scores.window:
        seen &= tf.range(S)[None] > position_B[:, None] - scores.window
    z = tf.where(seen[:, None, None], z, tf.cast(_NEVER, q.dtype))
    out = tf.matmul(tf.nn.softmax(z), values_BKSd)
    return tf.reshape(out, (B, -1)), keys_BKSd, values_BKSd
