"""The two stacks of `encoder_decoder`: positions, blocks, and norms around them."""

import keras
import numpy as np
import tensorflow as tf

from zoo.layers import attention
from zoo.layers.dropout import Dropout
from zoo.layers.embedding import Embedding
from zoo.layers.mlp import Mlp
from zoo.layers.norm import Norm
from zoo.models.encoder_decoder_config import Config


class Block(keras.layers.Layer):
    """Attention, in a decoder also attention to the source, and an MLP.

    Each is added to the residual stream.
    """

    def __init__(self, config: Config, decoder: bool, **kwargs):
        super().__init__(**kwargs)
        c = self.config = config
        # the terms of the residual stream start small (GPT-2)
        terms = 3 * c.layers if decoder else 2 * c.encoder_layers
        stddev, norm = 0.02 / terms**0.5, (c.width, c.norm, c.norm_epsilon)
        heads, d, bias = c.heads, c.head_size, c.attention_bias
        self.cross_norm = self.cross_attention = None
        with keras.name_scope(self.name):
            self.attention_norm = Norm(*norm, name="attention_norm")
            self.attention = attention.Attention(
                c.width, heads, heads, d, bias, bias, stddev, name="attention"
            )
            if decoder:
                self.cross_norm = Norm(*norm, name="cross_norm")
                self.cross_attention = attention.CrossAttention(
                    c.width, heads, d, bias, stddev, name="cross_attention"
                )
            self.mlp_norm = Norm(*norm, name="mlp_norm")
            self.mlp = Mlp(
                c.width,
                c.mlp_width or 4 * c.width,
                c.activation,
                c.gated,
                c.mlp_bias,
                stddev,
                name="mlp",
            )
        self.dropout = Dropout(c.dropout)
        self.built = True

    def source(self, x_MD, training=False):
        """The keys and values of `CrossAttention.source`, of a decoder's block."""
        assert self.cross_attention is not None
        return self.cross_attention.source(x_MD, training)

    def call(self, x_ND, attend, attend_source=None, training=False):
        """Returns [N, D]; `attend` is that of `Attention.call`.

        `attend_source`, of a decoder, is that of `CrossAttention.call`.
        """

        def added(x, norm, term):
            if self.config.norm_place == "post":
                y = self.dropout(term(x), training=training)
                return norm.call(x + y, training)
            y = term(norm.call(x, training))
            return x + self.dropout(y, training=training)

        def attended(x):
            return self.attention.call(x, attend, training=training)

        def across(x):
            assert self.cross_attention is not None
            return self.cross_attention.call(x, attend_source, training)

        x_ND = added(x_ND, self.attention_norm, attended)
        if self.cross_attention is not None:
            x_ND = added(x_ND, self.cross_norm, across)
        return added(x_ND, self.mlp_norm, lambda x: self.mlp.call(x, training))


class Stack(keras.layers.Layer):
    """The encoder or the decoder: positions, blocks, and norms around them."""

    def __init__(self, config: Config, decoder: bool, **kwargs):
        super().__init__(**kwargs)
        c = self.config = config
        self.context = c.context if decoder else c.source_limit
        norm = c.width, c.norm, c.norm_epsilon
        self.position = self.embedding_norm = self.norm = self.relative = None
        self.sinusoids = None
        if c.positions == "sinusoidal":
            self.sinusoids = sinusoids(self.context, c.width)
        with keras.name_scope(self.name):
            if c.positions == "learned":
                rows = self.context + c.position_offset
                self.position = Embedding(rows, c.width, name="position")
            elif c.positions == "relative":
                options = c.relative_buckets, c.relative_distance, decoder
                self.relative = attention.RelativeBias(
                    c.heads, *options, name="relative"
                )
            if c.embedding_norm:
                self.embedding_norm = Norm(*norm, name="embedding_norm")
            self.blocks = [
                Block(c, decoder, name=f"block_{i}")
                for i in range(c.layers if decoder else c.encoder_layers)
            ]
            if c.norm_place == "pre":
                self.norm = Norm(*norm, name="norm")
        self.dropout = Dropout(c.dropout)
        self.built = True

    def start(self, x_BTD, positions, training=False):
        """The input of the first block, [B * T, D].

        Args:
          x_BTD: embeddings.
          positions: int32, [T] of all rows, or [B, T].
          training: whether the caller will compute gradients.
        """
        c = self.config
        if c.scaled_embedding:
            x_BTD = x_BTD * c.width**0.5
        if self.context:
            # While other rows of a batch go on, a finished row passes the context.
            positions = tf.minimum(positions, self.context - 1)
        if self.position is not None:
            x_BTD = x_BTD + self.position.call(positions + c.position_offset)
        if self.sinusoids is not None:
            rows = tf.gather(tf.constant(self.sinusoids), positions)
            x_BTD = x_BTD + tf.cast(rows, x_BTD.dtype)
        x_ND = tf.reshape(x_BTD, (-1, c.width))
        if self.embedding_norm is not None:
            x_ND = self.embedding_norm.call(x_ND, training)
        return self.dropout(x_ND, training=training)

    def end(self, x_ND, training=False):
        """What the stack gives for the output of its last block, [B * T, D]."""
        return x_ND if self.norm is None else self.norm.call(x_ND, training)


def sinusoids(rows: int, width: int) -> np.ndarray:
    """The vector [width] of each position, float32: first all sines, then cosines."""
    rate = 10000.0 ** (-np.arange(0, width, 2) / width)
    angle = np.arange(rows)[:, None] * rate
    return np.concatenate([np.sin(angle), np.cos(angle)], 1).astype(np.float32)
