"""Self-attention: causal for whole sequences, cached for decoding, and bidirectional.

`causal` has its own gradient. It cuts the queries of a sequence into blocks. A block
meets only the keys that it may see, so half of the score matrix is never computed.
`tf.where` applies the masks: the graph optimizer would rewrite a product and a scaled
sum into a slow fused kernel.

Sources: Vaswani et al. 2017 (arXiv:1706.03762); Ainslie et al. 2023 (grouped
queries, arXiv:2305.13245); Beltagy et al. 2020 (windows, arXiv:2004.05150); Dehghani
et al. 2023 (norms of queries and keys, arXiv:2302.05442); Gemma Team 2024 (softcap,
arXiv:2408.00118); Devlin et al. 2018 (bidirectional, arXiv:1810.04805).
"""

from typing import NamedTuple

import keras
import tensorflow as tf

from zoo.layers import rotary
from zoo.layers.linear import Linear
from zoo.layers.norm import Norm

_NEVER = -30000.0  # finite in bfloat16, and exp() of it is 0


class Scores(NamedTuple):
    """How the products of queries and keys become attention scores.

    Attributes:
      scale: the factor of the products; 0 means the square root of 1 / head width.
      softcap: scaled products become softcap * tanh(product / softcap); 0 is off.
      window: how many positions a position sees, itself and earlier ones; 0 means all.
    """

    scale: float = 0.0
    softcap: float = 0.0
    window: int = 0


PLAIN = Scores()


class Attention(keras.layers.Layer):
    """The projections before and after attention.

    One weight `qkv` computes queries, keys and values, in this order.

    Args:
      width: D, of the input and the output.
      heads, kv_heads: H and K, the number of query heads and of key-value heads.
      head_width: of one head.
      qkv_bias, out_bias: whether the projections have a bias.
      stddev: of the initial output weights.
      qk_norm: the kind and the epsilon of the norm of each query head and key head;
        None for no norm.
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
          x_ND: the rows of one or more sequences.
          attend: `attend(q, k, v) -> [N, H * head width]` decides which positions see
            which. q is [N, H * head width], k and v are [N, K * head width].
          rotation: the result of `rotary.rotation` for the rows, or None.
          training: whether the caller will compute gradients.
        """
        h, k = self.heads * self.head_width, self.kv_heads * self.head_width
        y = self.qkv(x_ND, training=training)
        if rotation is None and self.q_norm is None:
            out = attend(*tf.split(y, [h, k, k], 1))
            return self.out(out, training=training)
        qk, v = tf.split(y, [h + k, k], 1)
        qk = tf.reshape(qk, (-1, self.heads + self.kv_heads, self.head_width))
        if self.q_norm is not None and self.k_norm is not None:
            q, k_heads = tf.split(qk, [self.heads, self.kv_heads], 1)
            q = self._normalise_heads(q, self.q_norm, training)
            k_heads = self._normalise_heads(k_heads, self.k_norm, training)
            qk = tf.concat([q, k_heads], 1)
        if rotation is not None:
            qk = rotary.rotate(qk, *rotation, training=training)
        q, k = tf.split(tf.reshape(qk, (-1, h + k)), [h, k], 1)
        return self.out(attend(q, k, v), training=training)

    def _normalise_heads(self, x_NHd, norm, training):
        """Normalises each head of [N, heads, head width]."""
        rows = norm.call(tf.reshape(x_NHd, (-1, self.head_width)), training)
        return tf.reshape(rows, (-1, x_NHd.shape[1], self.head_width))


def causal(
    q,
    k,
    v,
    batch,
    heads,
    kv_heads,
    blocks=1,
    training=False,
    scores=PLAIN,
    segments_BT=None,
):
    """Attention of whole sequences: a position sees itself and earlier positions.

    Args:
      q: [B*T, H * head width].
      k, v: [B*T, K * head width].
      batch: B, an int or a scalar tensor.
      heads, kv_heads: H and K; K divides H.
      blocks: the number of blocks of queries; divides T.
      training: whether the caller will compute gradients.
      scores: a `Scores`.
      segments_BT: int32, the number of each position's segment: a position then sees
        positions of its own segment only. None: a row is one segment.

    Returns:
      [B*T, H * head width].
    """
    window, softcap = scores.window, scores.softcap
    d = q.shape[-1] // heads

    def split(x, n):
        return tf.transpose(tf.reshape(x, (batch, -1, n, d)), (0, 2, 1, 3))

    def join(x, n):
        return tf.reshape(tf.transpose(x, (0, 2, 1, 3)), (-1, n * d))

    def grouped(x):  # [B, H, t, d] to [B, K, H / K * t, d], by shared key head
        return tf.reshape(x, (batch, kv_heads, -1, d))

    def ungrouped(x):
        return tf.reshape(x, (batch, heads, -1, d))

    def forward(q, k, v):
        """The output [B, H, T, d], and the tensors of each block for the gradient."""
        T = q.shape[2] or tf.shape(q)[2]
        size = T // blocks
        parts = []
        for i in range(blocks):
            start, end = i * size, (i + 1) * size
            # T is static if there is more than one block
            first = max(0, start - window + 1) if i and window else 0
            qi = grouped(q[:, :, start:end])
            ki, vi = k[:, :, first:end], v[:, :, first:end]
            z, slope = _capped(tf.matmul(qi, ki, transpose_b=True), softcap)
            of_q, of_k = tf.range(start, end)[:, None], tf.range(first, end)[None]
            seen = of_q >= of_k
            if window:
                seen &= of_q - of_k < window
            if segments_BT is None:
                seen = tf.tile(seen, (heads // kv_heads, 1))
            else:  # [B, 1, H / K * t, keys]
                of_q, of_k = segments_BT[:, start:end, None], segments_BT[:, first:end]
                seen = (seen & (of_q == of_k[:, None]))[:, None]
                seen = tf.tile(seen, (1, 1, heads // kv_heads, 1))
            p = tf.nn.softmax(tf.where(seen, z, tf.cast(_NEVER, q.dtype)))
            parts.append((first, end, qi, ki, vi, p, slope, tf.matmul(p, vi)))
        return tf.concat([ungrouped(part[-1]) for part in parts], 2), parts

    def gradient(dout, parts):
        """The gradients of split q, k and v."""
        dq, dk, dv, start, last = [], 0, 0, 0, parts[-1][1]
        for first, end, qi, ki, vi, p, slope, oi in parts:
            di = grouped(dout[:, :, start:end])
            row = tf.reduce_sum(di * oi, -1, keepdims=True)
            ds = p * (tf.matmul(di, vi, transpose_b=True) - row)
            if slope is not None:
                ds *= slope
            dq.append(ungrouped(tf.matmul(ds, ki)))
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
            # q was scaled before the products, so dk needs no scale
            return join(dq * scale, heads), join(dk, kv_heads), join(dv, kv_heads)

        return join(out, heads), backward

    if training:
        return attend(q, k, v)
    q, k, v = split(q, heads) * scale, split(k, kv_heads), split(v, kv_heads)
    return join(forward(q, k, v)[0], heads)


def _capped(z, softcap):
    """The capped scores, and the derivative of the cap (None without a cap)."""
    if not softcap:
        return z, None
    t = tf.tanh(z / softcap)
    return softcap * t, 1 - t * t


def cached(q, k, v, keys_BKSd, values_BKSd, position_B, scores=PLAIN, in_place=False):
    """Attention of one new token a row to the cached tokens of its row.

    Args:
      q: [B, H * head width].
      k, v: [B, K * head width], of the new token.
      keys_BKSd, values_BKSd: the caches: earlier tokens, then free positions.
      position_B: int32, the position of the row's new token; below S.
      scores: a `Scores`.
      in_place: whether the caches may be overwritten, which saves copying them. XLA
        does not have this operation.

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
    q = tf.reshape(q * scale, (B, kv_heads, -1, width))
    z, _ = _capped(tf.matmul(q, keys_BKSd, transpose_b=True), scores.softcap)
    seen = tf.range(S)[None] <= position_B[:, None]
    if scores.window:
        seen &= tf.range(S)[None] > position_B[:, None] - scores.window
    z = tf.where(seen[:, None, None], z, tf.cast(_NEVER, q.dtype))
    out = tf.matmul(tf.nn.softmax(z), values_BKSd)
    return tf.reshape(out, (B, -1)), keys_BKSd, values_BKSd


def bidirectional(q, k, v, lengths_B, heads):
    """Attention of whole texts: every position sees all positions of its text.

    The padding after a text has exactly no influence on the text.

    Args:
      q, k, v: [B*T, H * head width], of texts that are right-padded to T positions.
      lengths_B: int32, the positions of each text. In a row of length 0, every
        position sees all T positions alike.
      heads: H.

    Returns:
      [B*T, H * head width]; the rows of padding mean nothing.
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
