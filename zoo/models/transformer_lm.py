"""A decoder-only Transformer language model that covers many families by its Config.

Sources: Radford et al. 2019 (GPT-2); Touvron et al. 2023 (Llama 2,
arXiv:2307.09288); Gemma Team 2024 (softcaps, norms on both sides, arXiv:2408.00118);
Black et al. 2022 (parallel residuals, arXiv:2204.06745).
"""

import keras
import tensorflow as tf

from zoo import registry, shapes
from zoo.layers import attention, rotary, traced_blocks
from zoo.layers.dropout import Dropout
from zoo.layers.embedding import Embedding
from zoo.layers.linear import Linear
from zoo.layers.mlp import Mlp
from zoo.layers.norm import Norm
from zoo.models.language_model import LanguageModel
from zoo.models.transformer_config import Config


class Block(keras.layers.Layer):
    """Attention and an MLP, each added to the residual stream."""

    def __init__(self, config: Config, **kwargs):
        super().__init__(**kwargs)
        c = self.config = config
        # the 2 * layers terms of the residual stream start small (GPT-2)
        stddev = 0.02 / (2 * c.layers) ** 0.5
        self.mlp_norm = self.post_attention_norm = self.post_mlp_norm = None
        with keras.name_scope(self.name):
            self.attention_norm = Norm(
                c.width, c.norm, c.norm_epsilon, name="attention_norm"
            )
            self.attention = attention.Attention(
                c.width,
                c.heads,
                c.kv_heads or c.heads,
                c.head_size,
                c.qkv_bias,
                c.out_bias,
                stddev,
                (c.norm, c.norm_epsilon) if c.qk_norm else None,
                name="attention",
            )
            if c.residual != "parallel_shared":
                self.mlp_norm = Norm(c.width, c.norm, c.norm_epsilon, name="mlp_norm")
            if c.norm_place == "both":
                self.post_attention_norm = Norm(
                    c.width, c.norm, c.norm_epsilon, name="post_attention_norm"
                )
                self.post_mlp_norm = Norm(
                    c.width, c.norm, c.norm_epsilon, name="post_mlp_norm"
                )
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

    def call(self, x_ND, attend, rotation, training=False):
        """Returns [N, D]; `attend` and `rotation` are those of `Attention.call`."""

        def normed(norm, x):
            return x if norm is None else norm.call(x, training)

        def attended(x):
            y = self.attention.call(x, attend, rotation, training)
            y = normed(self.post_attention_norm, y)
            return self.dropout(y, training=training)

        def through_mlp(x):
            y = normed(self.post_mlp_norm, self.mlp.call(x, training))
            return self.dropout(y, training=training)

        if self.config.norm_place == "post":
            x_ND = self.attention_norm.call(x_ND + attended(x_ND), training)
            return normed(self.mlp_norm, x_ND + through_mlp(x_ND))
        y_ND = self.attention_norm.call(x_ND, training)
        if self.config.residual == "parallel_shared":
            return x_ND + attended(y_ND) + through_mlp(y_ND)
        if self.config.residual == "parallel":
            z_ND = normed(self.mlp_norm, x_ND)
            return x_ND + attended(y_ND) + through_mlp(z_ND)
        x_ND = x_ND + attended(y_ND)
        return x_ND + through_mlp(normed(self.mlp_norm, x_ND))


@keras.saving.register_keras_serializable(package="zoo")
class TransformerLM(LanguageModel):
    """Maps `tokens_BT` to `logits_BTV`, and offers the Decoder protocol.

    The state of the Decoder is each row's position, then keys and values
    [B, K, places, head width] for each layer; places are at least the capacity.
    """

    def __init__(self, config: Config, with_head: bool = True, **kwargs):
        super().__init__(config, **kwargs)
        self.supports_jit = False  # the training path contains small XLA clusters
        c = config
        self.embedding = Embedding(c.vocab_size, c.width, name="embedding")
        self.position = None
        if c.positions == "learned":
            rows = c.context + c.position_offset
            self.position = Embedding(rows, c.width, name="position")
        self.dropout = Dropout(c.dropout)
        self.blocks = [Block(c, name=f"block_{i}") for i in range(c.layers)]
        self.norm = None
        if c.norm_place != "post":
            self.norm = Norm(c.width, c.norm, c.norm_epsilon, name="norm")
        self.untied_head = None
        if with_head and not c.tied_head:
            self.untied_head = Linear(c.width, c.vocab_size, c.head_bias, name="head")
        self.built = True

    def features(self, tokens_BT, training=False, segments_BT=None, positions_BT=None):
        """The input of the head: [B, T, D]; see `LanguageModel.features`."""
        shapes.check("tokens", tokens_BT, "BT")
        c, T = self.config, tokens_BT.shape[1]
        blocks = next(n for n in (4, 2, 1) if T % (64 * n) == 0 or n == 1) if T else 1
        batch = tf.shape(tokens_BT)[0]

        def attend(i, q, k, v):
            heads = c.heads, c.kv_heads or c.heads
            out = attention.causal(
                q, k, v, batch, *heads, blocks, training, c.scores(i), segments_BT
            )
            return out, ()

        positions_N = None if positions_BT is None else tf.reshape(positions_BT, [-1])
        x_ND, _ = self._body(tokens_BT, attend, training, positions_N)
        return tf.reshape(x_ND, (batch, -1 if T is None else T, c.width))

    def start(self, tokens_BT, lengths_B, capacity):
        """Reads prompts: the Decoder's first call.

        Args:
          tokens_BT: int32, right-padded with any id.
          lengths_B: int32, at least 1 each.
          capacity: the least number of positions in the state, at least T.

        Returns:
          The logits [B, V] after each row's last token, and the state.
        """
        c = self.config
        B, T = tf.unstack(tf.shape(tokens_BT))
        heads, kv_heads = c.heads, c.kv_heads or c.heads

        def cache(x):
            x = tf.reshape(x, (B, T, kv_heads, c.head_size))
            free = ((0, 0), (0, 0), (0, attention.places(capacity) - T), (0, 0))
            return tf.pad(tf.transpose(x, (0, 2, 1, 3)), free)

        def attend(i, q, k, v):
            out = attention.causal(q, k, v, B, heads, kv_heads, scores=c.scores(i))
            return out, (cache(k), cache(v))

        x_ND, caches = self._body(tokens_BT, attend)
        last = tf.gather(x_ND, tf.range(B) * T + lengths_B - 1)
        return self.logits(last), [tf.identity(lengths_B), *caches]

    def step(self, token_B, state, in_place=False):
        """Reads one more token of each row.

        Args:
          token_B: int32.
          state: the state from `start` or from the previous `step`.
          in_place: whether the tensors of `state` may be overwritten.

        Returns:
          The logits [B, V] after the token, and the new state.
        """
        position_B, *caches = state
        given = token_B[:, None], position_B[:, None], caches
        x_BD, caches = self._read(*given, attention.cached, in_place)
        return self.logits(x_BD), [position_B + 1, *caches]

    def steps(self, tokens_BQ, state, in_place=False):
        """Reads several more tokens of each row in one pass, as so many steps would.

        Args:
          tokens_BQ: int32.
          state: as `step` has it, with room for Q more positions.
          in_place: as `step` has it.

        Returns:
          The logits [B, Q, V] after each token, and the new state.
        """
        position_B, *caches = state
        B, Q = tf.unstack(tf.shape(tokens_BQ))
        given = tokens_BQ, position_B[:, None] + tf.range(Q), caches
        x_ND, caches = self._read(*given, attention.cached_several, in_place)
        x_BQD = tf.reshape(x_ND, (B, Q, self.config.width))
        return self.logits(x_BQD), [position_B + Q, *caches]

    def forget(self, state, count_B):
        """The state without the last tokens of each row, so many as `count_B` says."""
        position_B, *caches = state  # later tokens overwrite what stands behind
        return [position_B - count_B, *caches]

    def _read(self, tokens_BQ, position_BQ, caches, cached, in_place):
        """The features [B * Q, D] of new tokens, and the new caches."""
        windows = {self.config.scores(i).window for i in range(self.config.layers)}
        new = attention.NewTokens(position_BQ, caches[0], windows)

        def attend(i, q, k, v, keys, values):
            scores = self.config.scores(i)
            out, *after = cached(q, k, v, keys, values, new, scores, in_place)
            return out, after

        own = list(zip(caches[::2], caches[1::2], strict=True))
        positions_N = tf.reshape(position_BQ, [-1])
        return self._body(tokens_BQ, attend, False, positions_N, own)

    def _body(self, tokens_BT, attend, training=False, positions_N=None, own=()):
        """Maps tokens to features [N, D], in training, for prompts and in decoding.

        `attend(layer, q, k, v, *own) -> (y, tensors)` decides which positions see
        which; `own` has the tensors of each layer. The second result is the tensors of
        all layers. positions_N defaults to 0..T-1 in each row.
        """
        c = self.config
        if positions_N is None:
            B, T = tf.unstack(tf.shape(tokens_BT))
            positions_N = tf.tile(tf.range(T), [B])
        x_ND = self.embedding.call(tf.reshape(tokens_BT, [-1]))
        if c.scaled_embedding:
            x_ND = x_ND * c.width**0.5
        if self.position is not None:
            offset = c.position_offset
            rows_N = positions_N + offset if offset else positions_N
            # While other rows of a batch go on, a finished row passes the context.
            rows_N = tf.minimum(rows_N, offset + c.context - 1)
            x_ND = x_ND + self.position.call(rows_N)
        x_ND = self.dropout(x_ND, training=training)
        rotations = self._rotations(positions_N)

        def call(i, block, x_ND, *own):
            given = []

            def attend_here(q, k, v):
                y, tensors = attend(i, q, k, v, *own)
                given.extend(tensors)
                return y

            rotation = rotations[c.is_local(i)]
            return block.call(x_ND, attend_here, rotation, training), given

        kinds = [(c.is_local(i), c.scores(i)) for i in range(c.layers)]
        x_ND, given = traced_blocks.through(
            self.blocks, call, x_ND, own, kinds, training
        )
        if self.norm is not None:
            x_ND = self.norm.call(x_ND, training)
        return x_ND, given

    def _rotations(self, positions_N):
        """The rotation of layers without a window, and of layers with a window."""
        c = self.config
        if c.positions != "rotary":
            return None, None
        of_all = rotary.rotation(positions_N, *c.frequencies())
        if not c.rope_local_theta:
            return of_all, of_all
        return of_all, rotary.rotation(positions_N, *c.frequencies(local=True))


registry.register(
    "transformer_lm", Config, TransformerLM, "decoder-only Transformer LM"
)
