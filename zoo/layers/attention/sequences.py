"""Causal self-attention of whole sequences.

`causal` has its own gradient. It cuts the queries of a sequence into blocks. A block
meets only the keys that it may see, so half of the score matrix is never computed.

Sources: Vaswani et al. 2017 (arXiv:1706.03762); Ainslie et al. 2023 (grouped
queries, arXiv:2305.13245); Beltagy et al. 2020 (windows, arXiv:2004.05150); Gemma Team
2024 (softcap, arXiv:2408.00118).
"""

import tensorflow as tf

from zoo.layers.attention.scores import PLAIN, capped, masked


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
    bias_HTT=None,
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
      bias_HTT: added to the scores, in the dtype of q; or None.

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
        if heads == kv_heads:
            return x
        return tf.reshape(x, (batch, kv_heads, -1, x.shape[-1]))

    def ungrouped(x):
        return x if heads == kv_heads else tf.reshape(x, (batch, heads, -1, d))

    def cut(x):  # [B, H, T, d] to the blocks of queries
        return tf.split(x, blocks, 2) if blocks > 1 else [x]

    def forward(q, k, v, bias=None):
        """The output [B, H, T, d], and what the gradient needs of each block."""
        T = q.shape[2] or tf.shape(q)[2]
        size = T // blocks
        parts, outs = [], []
        for i, qi in enumerate(cut(q)):
            start, end = i * size, (i + 1) * size
            # T is static if there is more than one block
            first = max(0, start - window + 1) if i and window else 0
            ki, vi = k[:, :, first:end], v[:, :, first:end]
            z = tf.matmul(grouped(qi), ki, transpose_b=True)
            z, slope = capped(z, softcap)
            if bias is not None:  # [K, H / K * t, keys]
                keys = tf.shape(ki)[2]
                z += tf.reshape(bias[:, start:end, first:end], (kv_heads, -1, keys))
            of_q, of_k = tf.range(start, end)[:, None], tf.range(first, end)[None]
            seen = of_q >= of_k
            if window:
                seen &= of_q - of_k < window
            if segments_BT is None and heads > kv_heads:
                seen = tf.tile(seen, (heads // kv_heads, 1))
            elif segments_BT is not None:  # [B, 1, H / K * t, keys]
                of_q, of_k = segments_BT[:, start:end, None], segments_BT[:, first:end]
                seen = (seen & (of_q == of_k[:, None]))[:, None]
                seen = tf.tile(seen, (1, 1, heads // kv_heads, 1))
            p = tf.nn.softmax(masked(z, seen))
            outs.append(ungrouped(tf.matmul(p, vi)))
            parts.append((first, end, p, slope))
        return tf.concat(outs, 2), parts

    def gradient(q, k, v, parts, dout, row):
        """The gradients of split q, k and v, and those of the bias if there is one.

        Args:
          q, k, v: split, as `forward` got them.
          parts: what `forward` gave.
          dout: the gradient of the output, split.
          row: the sums of dout * output over d, [B, H, T, 1].
        """
        dq, dk, dv, dbias, last = [], 0, 0, [], parts[-1][1]
        of_queries = zip(cut(q), cut(dout), cut(row), strict=True)
        for (first, end, p, slope), given in zip(parts, of_queries, strict=True):
            qi, di, of_row = map(grouped, given)
            ki, vi = k[:, :, first:end], v[:, :, first:end]
            ds = p * (tf.matmul(di, vi, transpose_b=True) - of_row)
            if bias_HTT is not None:
                of_bias = tf.reshape(tf.reduce_sum(ds, 0), (heads, -1, end - first))
                dbias.append(tf.pad(of_bias, ((0, 0), (0, 0), (first, last - end))))
            if slope is not None:
                ds *= slope
            dq.append(ungrouped(tf.matmul(ds, ki)))
            rest = ((0, 0), (0, 0), (first, last - end), (0, 0))
            dk += tf.pad(tf.matmul(ds, qi, transpose_a=True), rest)
            dv += tf.pad(tf.matmul(p, di, transpose_a=True), rest)
        return tf.concat(dq, 2), dk, dv, *([tf.concat(dbias, 1)] if dbias else [])

    scale = tf.cast(scores.scale or d**-0.5, q.dtype)

    @tf.custom_gradient
    def attend(q, k, v, *bias):
        q, k, v = split(q, heads) * scale, split(k, kv_heads), split(v, kv_heads)
        out, parts = forward(q, k, v, *bias)
        out = join(out, heads)

        def backward(dout):
            row = tf.reduce_sum(tf.reshape(dout * out, (batch, -1, heads, d)), -1)
            row = tf.expand_dims(tf.transpose(row, (0, 2, 1)), -1)
            # now, or the slices of the forward pass would be kept for this
            with tf.control_dependencies([dout]):
                dq, dk, dv, *dbias = gradient(q, k, v, parts, split(dout, heads), row)
            # q was scaled before the products, so dk needs no scale
            dq, dk, dv = join(dq * scale, heads), join(dk, kv_heads), join(dv, kv_heads)
            return dq, dk, dv, *dbias

        return out, backward

    bias = () if bias_HTT is None else (bias_HTT,)
    if training:
        return attend(q, k, v, *bias)
    q, k, v = split(q, heads) * scale, split(k, kv_heads), split(v, kv_heads)
    return join(forward(q, k, v, *bias)[0], heads)
