"""The projections before and after attention: of one sequence, and of two.

Sources: Vaswani et al. 2017 (arXiv:1706.03762); Ainslie et al. 2023 (grouped queries,
arXiv:2305.13245); Dehghani et al. 2023 (norms of queries and keys, arXiv:2302.05442).
"""

import keras
import tensorflow as tf

from zoo.layers import one_row, rotary
from zoo.layers.linear import Linear
from zoo.layers.norm import Norm


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
        if one_row.traced() and self.q_norm is None:
            return self.out(attend(*self._of_one_row(y, rotation)))
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

    def _of_one_row(self, y_1O, rotation):
        """The rotated queries, keys and the values of one row, one head in a row.

        So the splits copy nothing, and the caches take keys and values as they are.
        """
        h, k = self.heads, self.kv_heads
        y_H1d = tf.reshape(y_1O, (h + 2 * k, 1, self.head_width))
        qk, v = tf.split(y_H1d, [h + k, k], 0)
        return *tf.split(rotary.rotate(qk, *rotation), [h, k], 0), v

    def _normalise_heads(self, x_NHd, norm, training):
        """Normalises each head of [N, heads, head width]."""
        rows = norm.call(tf.reshape(x_NHd, (-1, self.head_width)), training)
        return tf.reshape(rows, (-1, x_NHd.shape[1], self.head_width))


class CrossAttention(keras.layers.Layer):
    """The projections of attention from one sequence to another.

    The weight `kv` computes the keys and values of the other sequence, in this order.

    Args:
      width: D, of both sequences and of the output.
      heads: H.
      head_width: of one head.
      bias: whether the projections have a bias.
      stddev: of the initial output weights.
    """

    def __init__(self, width, heads, head_width, bias, stddev, **kwargs):
        super().__init__(**kwargs)
        inner = heads * head_width
        with keras.name_scope(self.name):
            self.q = Linear(width, inner, bias, name="q")
            self.kv = Linear(width, 2 * inner, bias, name="kv")
            self.out = Linear(inner, width, bias, stddev, name="out")
        self.built = True

    def source(self, x_MD, training=False):
        """The keys and values [M, H * head width] of the other sequence."""
        return tf.split(self.kv(x_MD, training=training), 2, 1)

    def call(self, x_ND, attend, training=False):
        """Returns [N, D].

        Args:
          x_ND: the rows of one or more sequences.
          attend: `attend(q) -> [N, H * head width]` for q of this shape.
          training: whether the caller will compute gradients.
        """
        return self.out(attend(self.q(x_ND, training=training)), training=training)
