"""An encoder-decoder Transformer that covers many families by its Config.

Sources: Vaswani et al. 2017 (arXiv:1706.03762); Raffel et al. 2019 (T5,
arXiv:1910.10683); Lewis et al. 2019 (BART, arXiv:1910.13461); Junczys-Dowmunt et al.
2018 (Marian, arXiv:1804.00344).
"""

import keras
import numpy as np
import tensorflow as tf

from zoo import registry
from zoo.layers import attention
from zoo.layers.dropout import Dropout
from zoo.layers.embedding import Embedding
from zoo.layers.linear import Linear, read
from zoo.layers.mlp import Mlp
from zoo.layers.norm import Norm
from zoo.models.encoder_decoder_config import Config
from zoo.models.language_model import Seq2Seq


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


@keras.saving.register_keras_serializable(package="zoo")
class EncoderDecoder(Seq2Seq):
    """Maps a source and `tokens_BT` to `logits_BTV`, and offers the Decoder protocol.

    The state of the Decoder is the sources' lengths [B]; the keys and values of the
    source [B, H, S, head width] for each layer; each row's position [B]; then keys and
    values of the target [B, H, places, head width] for each layer. The source's tensors
    never change. `step` also takes fewer of them than rows: then they are those of the
    sources, and the rows of one source stand together.
    """

    def __init__(self, config: Config, with_head: bool = True, **kwargs):
        # a name without a number, since checkpoints hold the path of head_bias
        super().__init__(config, **{"name": "encoder_decoder", **kwargs})
        self.supports_jit = False  # the training path contains small XLA clusters
        c = config
        self.fixed_state = 1 + 2 * c.layers
        self.embedding = Embedding(c.vocab_size, c.width, name="embedding")
        self.source_embedding = None
        if c.source_vocab_size:
            self.source_embedding = Embedding(
                c.source_vocab_size, c.width, name="source_embedding"
            )
        self.encoder = Stack(c, False, name="encoder")
        self.decoder = Stack(c, True, name="decoder")
        self.untied_head = self.head_bias = None
        if with_head and not c.tied_head:
            self.untied_head = Linear(c.width, c.vocab_size, c.head_bias, name="head")
        elif with_head and c.head_bias:
            self.head_bias = self.add_weight(
                shape=(c.vocab_size,),
                initializer="zeros",
                name="head_bias",
                autocast=False,
            )
        self.built = True

    def head(self):
        """The head's float32 weight [V, D], and its bias [V] or None."""
        weight_VD, bias_V = super().head()
        if self.head_bias is not None:
            bias_V = read(self.head_bias, tf.float32)
        return weight_VD, bias_V

    def features(self, tokens_BT, training=False, source=None, source_lengths=None):
        """The input of the head: [B, T, D]; see `Seq2Seq.features`."""
        self.check_inputs(tokens_BT, source)
        c, T = self.config, tokens_BT.shape[1]
        lengths_B = self.lengths(source) if source_lengths is None else source_lengths
        encoded = self.encode(source, lengths_B, training)
        batch = tf.shape(tokens_BT)[0]
        blocks = next(n for n in (4, 2, 1) if T % (64 * n) == 0 or n == 1) if T else 1
        bias = self._bias(self.decoder, T or tf.shape(tokens_BT)[1])
        scores, scale = attention.Scores(scale=c.scale), c.scale
        heads = c.heads

        def attend(q, k, v):
            options = blocks, training, scores, None, bias
            return attention.causal(q, k, v, batch, heads, heads, *options)

        x_ND = self._embedded(tokens_BT, training)
        for block in self.decoder.blocks:
            k, v = block.cross_attention.source(encoded, training)

            def attend_source(q, k=k, v=v):
                return attention.across(q, k, v, lengths_B, heads, training, scale)

            x_ND = block.call(x_ND, attend, attend_source, training)
        x_ND = self._scaled(self.decoder.end(x_ND, training))
        return tf.reshape(x_ND, (batch, -1 if T is None else T, c.width))

    def encode(self, source_BS, lengths_B, training=False):
        """What the decoder sees of sources, [B * S, D]."""
        c = self.config
        table = self.source_embedding or self.embedding
        S = tf.shape(source_BS)[1]
        bias = self._bias(self.encoder, source_BS.shape[1] or S)

        def attend(q, k, v):
            options = training, c.scale, bias
            return attention.bidirectional(q, k, v, lengths_B, c.heads, *options)

        x_ND = self.encoder.start(table.call(source_BS), tf.range(S), training)
        for block in self.encoder.blocks:
            x_ND = block.call(x_ND, attend, training=training)
        return self.encoder.end(x_ND, training)

    def start(self, tokens_BT, lengths_B, capacity):
        """Encodes sources and reads the start token: the Decoder's first call.

        Args:
          tokens_BT: int32, the sources, right-padded with any id.
          lengths_B: int32, at least 1 each.
          capacity: S and the number of the target's tokens that `step` may read.

        Returns:
          The logits [B, V] after the start token, and the state.
        """
        c = self.config
        encoded = self.encode(tokens_BT, lengths_B)
        B, S = tf.unstack(tf.shape(tokens_BT))
        state = [tf.identity(lengths_B)]
        for block in self.decoder.blocks:
            for x in block.cross_attention.source(encoded):
                x = tf.reshape(x, (B, S, c.heads, c.head_size))
                state.append(tf.transpose(x, (0, 2, 1, 3)))
        shape = (B, c.heads, capacity - S + 1, c.head_size)
        caches = [tf.zeros(shape, encoded.dtype) for _ in range(2 * c.layers)]
        caches = [
            tf.ensure_shape(x, (None, c.heads, None, c.head_size)) for x in caches
        ]
        state += [tf.zeros_like(lengths_B), *caches]
        return self.step(tf.fill([B], c.start_id), state)

    def step(self, token_B, state, in_place=False):
        """Reads one more token of each row.

        Args:
          token_B: int32.
          state: the state from `start` or from the previous `step`.
          in_place: whether the target's tensors of `state` may be overwritten.

        Returns:
          The logits [B, V] after the token, and the new state.
        """
        c, fixed = self.config, self.fixed_state
        lengths_B, *of_source = state[:fixed]
        position_B, *caches = state[fixed:]
        scores, new, bias = attention.Scores(scale=c.scale), [position_B + 1], None
        if self.decoder.relative is not None:
            bias = self.decoder.relative.at(position_B, tf.shape(caches[0])[2])
        x_BD = self.embedding.call(token_B)[:, None]
        x_BD = self.decoder.start(x_BD, position_B[:, None])
        for i, block in enumerate(self.decoder.blocks):

            def attend(q, k, v, i=i):
                options = position_B, scores, in_place, bias
                out, *after = attention.cached(
                    q, k, v, *caches[2 * i : 2 * i + 2], *options
                )
                new.extend(after)
                return out

            def attend_source(q, i=i):
                keys, values = of_source[2 * i : 2 * i + 2]
                return attention.across_cached(q, keys, values, lengths_B, c.scale)

            x_BD = block.call(x_BD, attend, attend_source)
        features = self._scaled(self.decoder.end(x_BD))
        return self.logits(features), [*state[:fixed], *new]

    def _embedded(self, tokens_BT, training):
        """The input [B * T, D] of the decoder's first block."""
        positions_T = tf.range(tf.shape(tokens_BT)[1])
        return self.decoder.start(self.embedding.call(tokens_BT), positions_T, training)

    def _bias(self, stack, T):
        """The bias of self-attention's scores in a stack, or None."""
        return None if stack.relative is None else stack.relative.whole(T)

    def _scaled(self, x_ND):
        """The decoder's output with the factor of the logits."""
        scale = self.config.logit_scale
        return x_ND if scale == 1 else x_ND * scale


registry.register(
    "encoder_decoder", Config, EncoderDecoder, "encoder-decoder Transformer"
)
