"""An encoder-decoder Transformer that covers many families by its Config.

Sources: Vaswani et al. 2017 (arXiv:1706.03762); Raffel et al. 2019 (T5,
arXiv:1910.10683); Lewis et al. 2019 (BART, arXiv:1910.13461); Junczys-Dowmunt et al.
2018 (Marian, arXiv:1804.00344).
"""

import keras
import tensorflow as tf

from zoo import registry
from zoo.layers import attention, traced_blocks
from zoo.layers.embedding import Embedding
from zoo.layers.linear import Linear, read
from zoo.models.encoder_decoder_config import Config
from zoo.models.encoder_decoder_stack import Stack
from zoo.models.language_model import Seq2Seq


@keras.saving.register_keras_serializable(package="zoo")
class EncoderDecoder(Seq2Seq):
    """Maps a source and `tokens_BT` to `logits_BTV`, and offers the Decoder protocol.

    The state of the Decoder is the sources' lengths [B]; the keys and values of the
    source [B, H, places, head width] for each layer, the keys times the factor of the
    scores; each row's position [B]; then keys and values of the target, likewise. The
    source's tensors never change. `step` also takes fewer of them than rows: then they
    are those of the sources, and the rows of one source stand together.
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
        lengths_B = self.lengths(source) if source_lengths is None else source_lengths

        def across(*given):
            return attention.across(*given), ()

        features, _ = self._decode(tokens_BT, source, lengths_B, training, across)
        return features

    def cross_attention(self, source, lengths_B, tokens_BT):
        """How much each position of the decoder sees of each token of its source.

        Args:
          source: int32 [B, S], right-padded with any id.
          lengths_B: int32, at least 1 each.
          tokens_BT: int32, what the decoder reads, as of `features`.

        Returns:
          The probabilities [layers, B, H, T, S]; they are 0 at padding.
        """
        self.check_inputs(tokens_BT, source)

        def across(q, k, v, lengths_B, heads, training, scale):
            seen = attention.seen(q, k, lengths_B, heads, scale)
            return attention.across(q, k, v, lengths_B, heads, training, scale), [seen]

        _, seen = self._decode(tokens_BT, source, lengths_B, False, across)
        return tf.stack(seen)

    def _decode(self, tokens_BT, source, lengths_B, training, across):
        """The decoder's output [B, T, D], and tensors that `across` gave.

        `across` gives the attention to the source, and tensors.
        """
        c, T = self.config, tokens_BT.shape[1]
        encoded = self.encode(source, lengths_B, training)
        batch = tf.shape(tokens_BT)[0]
        blocks = next(n for n in (4, 2, 1) if T % (64 * n) == 0 or n == 1) if T else 1
        bias = self._bias(self.decoder, T or tf.shape(tokens_BT)[1])
        scores, scale = attention.Scores(scale=c.scale), c.scale
        heads = c.heads

        def attend(q, k, v):
            options = blocks, training, scores, None, bias
            return attention.causal(q, k, v, batch, heads, heads, *options)

        x_BTD, places_T = (
            self.embedding.call(tokens_BT),
            tf.range(tf.shape(tokens_BT)[1]),
        )
        x_ND = self.decoder.start(x_BTD, places_T, training)

        def call(i, block, x_ND):
            k, v = block.source(encoded, training)
            given = []

            def attend_source(q):
                y, tensors = across(q, k, v, lengths_B, heads, training, scale)
                given.extend(tensors)
                return y

            return block.call(x_ND, attend, attend_source, training), given

        of_decoder = self.decoder.blocks
        x_ND, given = traced_blocks.through(of_decoder, call, x_ND, training=training)
        x_ND = self._scaled(self.decoder.end(x_ND, training))
        return tf.reshape(x_ND, (batch, -1 if T is None else T, c.width)), given

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

        def call(i, block, x_ND):
            return block.call(x_ND, attend, training=training), ()

        blocks = self.encoder.blocks
        x_ND, _ = traced_blocks.through(blocks, call, x_ND, training=training)
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
        free = attention.places(S) - S
        scale = c.scale or c.head_size**-0.5
        for block in self.decoder.blocks:
            k, v = block.source(encoded)
            for x in (k * tf.cast(scale, k.dtype), v):
                x = tf.reshape(x, (B, S, c.heads, c.head_size))
                x = tf.transpose(x, (0, 2, 1, 3))
                state.append(tf.pad(x, ((0, 0), (0, 0), (0, free), (0, 0))))
        shape = (B, c.heads, attention.places(capacity - S + 1), c.head_size)
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
        scores, bias = attention.Scores(scale=c.scale), None
        if self.decoder.relative is not None:
            bias = self.decoder.relative.at(position_B, tf.shape(caches[0])[2])
        token = attention.NewTokens(position_B[:, None], caches[0], bias_BHS=bias)
        source = attention.Source(lengths_B, of_source[0], tf.shape(token_B)[0])
        x_BD = self.embedding.call(token_B)[:, None]
        x_BD = self.decoder.start(x_BD, position_B[:, None])

        def call(i, block, x_BD, source_keys, source_values, keys, values):
            new = []

            def attend(q, k, v):
                out, *after = attention.cached(
                    q, k, v, keys, values, token, scores, in_place
                )
                new.extend(after)
                return out

            def attend_source(q):
                return attention.across_cached(q, source_keys, source_values, source)

            return block.call(x_BD, attend, attend_source), new

        both = of_source[::2], of_source[1::2], caches[::2], caches[1::2]
        own = list(zip(*both, strict=True))
        x_BD, new = traced_blocks.through(self.decoder.blocks, call, x_BD, own)
        features = self._scaled(self.decoder.end(x_BD))
        return self.logits(features), [*state[:fixed], position_B + 1, *new]

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
