"""A decoder-only Transformer language model whose choices span many families.

Sources: Radford et al. 2019 (GPT-2); Touvron et al. 2023 (Llama 2,
arXiv:2307.09288); Gemma Team 2024 (softcaps, norms on both sides, arXiv:2408.00118);
Black et al. 2022 (parallel residuals, arXiv:2204.06745).
"""

import keras
import tensorflow as tf

from zoo import registry, shapes
from zoo.layers import attention, rotary
from zoo.layers.embedding import Embedding
from zoo.layers.linear import Linear, read
from zoo.layers.mlp import Mlp
from zoo.layers.norm import Norm
from zoo.models.transformer_config import Config


class Block(keras.layers.Layer):
    """Attention and a feed-forward part, each added to the residual stream."""

    def __init__(self, config: Config, **kwargs):
        super().__init__(**kwargs)
        c = self.config = config
        # what is added 2 * layers times starts small (GPT-2)
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
        self.dropout = keras.layers.Dropout(c.dropout)
        self.built = True

    def call(self, x_ND, attend, rotation, training=False):
        """Returns [N, D]; `attend` and `rotation` as in `Attention`."""

        def attended(x, after=None):
            y = self.attention.call(x, attend, rotation, training)
            y = y if after is None else after.call(y, training)
            return self.dropout(y, training=training)

        def widened(x, after=None):
            y = self.mlp.call(x, training)
            y = y if after is None else after.call(y, training)
            return self.dropout(y, training=training)

        if self.config.norm_place == "post":
            x_ND = self.attention_norm.call(x_ND + attended(x_ND), training)
            return self.mlp_norm.call(x_ND + widened(x_ND), training)
        y_ND = self.attention_norm.call(x_ND, training)
        if self.config.residual == "parallel_shared":
            return x_ND + attended(y_ND) + widened(y_ND)
        if self.config.residual == "parallel":
            z_ND = self.mlp_norm.call(x_ND, training)
            return x_ND + attended(y_ND) + widened(z_ND)
        x_ND = x_ND + attended(y_ND, self.post_attention_norm)
        return x_ND + widened(self.mlp_norm.call(x_ND, training), self.post_mlp_norm)


@keras.saving.register_keras_serializable(package="zoo")
class TransformerLM(registry.ConfigSerializable, keras.Model):
    """Maps `tokens_BT` to `logits_BTV`, and offers the Decoder protocol."""

    def __init__(self, config: Config, **kwargs):
        super().__init__(**kwargs)
        self.supports_jit = False  # the training path holds small compiled clusters
        c = self.config = config
        self.embedding = Embedding(c.vocab_size, c.width, name="embedding")
        self.position = None
        if c.positions == "learned":
            rows = c.context + c.position_offset
            self.position = Embedding(rows, c.width, name="position")
        self.dropout = keras.layers.Dropout(c.dropout)
        self.blocks = [Block(c, name=f"block_{i}") for i in range(c.layers)]
        self.norm = None
        if c.norm_place != "post":
            self.norm = Norm(c.width, c.norm, c.norm_epsilon, name="norm")
        self.untied_head = None
        if not c.tied_head:
            self.untied_head = Linear(c.width, c.vocab_size, c.head_bias, name="head")
        self.built = True

    @property
    def limit(self) -> int:
        """The most positions that it can see; 0 would mean any number."""
        return self.config.context

    def call(self, tokens_BT, training=False):
        """Float32 logits [B, T, V]; position t has seen tokens 0..t."""
        # under a Strategy, `fit` builds the model with the mean of the replicas' tokens
        tokens_BT = tf.cast(tokens_BT, tf.int32)
        return self.logits(self.features(tokens_BT, training))

    def features(self, tokens_BT, training=False):
        """What the head sees: [B, T, D] in the compute dtype."""
        shapes.check("tokens", tokens_BT, "BT")
        c, T = self.config, tokens_BT.shape[1]
        blocks = next(n for n in (4, 2, 1) if T % (64 * n) == 0 or n == 1) if T else 1
        batch = tf.shape(tokens_BT)[0]

        def attend(i, q, k, v):
            heads = c.heads, c.kv_heads or c.heads
            return attention.causal(
                q, k, v, batch, *heads, blocks, training, c.scores(i)
            )

        x_ND = self._body(tokens_BT, attend, training)
        return tf.reshape(x_ND, (batch, -1 if T is None else T, c.width))

    def logits(self, x):
        """Float32 logits [..., V] of features [..., D]."""
        weight_VD, bias_V = self.head()
        flat = tf.reshape(x, (-1, self.config.width))
        y = tf.matmul(flat, tf.cast(weight_VD, x.dtype), transpose_b=True)
        y = tf.cast(y, tf.float32)
        if bias_V is not None:
            y = y + bias_V
        if self.config.logit_softcap:
            y = self.config.logit_softcap * tf.tanh(y / self.config.logit_softcap)
        if len(x.shape) == 2:
            return y
        return tf.reshape(y, tf.concat([tf.shape(x)[:-1], [self.config.vocab_size]], 0))

    def head(self):
        """The head's float32 weight [V, D], and its bias [V] or None."""
        layer = self.untied_head or self.embedding
        bias_V = read(layer.bias, tf.float32) if self.config.head_bias else None
        return read(layer.weight, tf.float32), bias_V

    def start(self, tokens_BT, lengths_B, capacity):
        """Reads prompts: the Decoder's first call.

        Args:
          tokens_BT: int32, right-padded with any id.
          lengths_B: int32, at least 1 each.
          capacity: the number of positions that the state has room for, T at least.

        Returns:
          The logits [B, V] that follow each row's last token, and the state: each
          row's position, then keys and values [B, K, capacity, head width] by layer.
        """
        c = self.config
        B, T = tf.unstack(tf.shape(tokens_BT))
        heads, kv_heads = c.heads, c.kv_heads or c.heads
        state = [tf.identity(lengths_B)]

        def keep(x):
            x = tf.reshape(x, (B, T, kv_heads, c.head_size))
            room = ((0, 0), (0, 0), (0, capacity - T), (0, 0))
            state.append(tf.pad(tf.transpose(x, (0, 2, 1, 3)), room))

        def attend(i, q, k, v):
            keep(k)
            keep(v)
            return attention.causal(q, k, v, B, heads, kv_heads, scores=c.scores(i))

        x_ND = self._body(tokens_BT, attend)
        last = tf.gather(x_ND, tf.range(B) * T + lengths_B - 1)
        return self.logits(last), state

    def step(self, token_B, state, in_place=False):
        """Reads one more token a row; returns the logits that follow, and the state.

        `in_place` allows it to overwrite the tensors of the state that it is given.
        """
        position_B, *caches = state
        new = [position_B + 1]

        def attend(i, q, k, v):
            scores = self.config.scores(i)
            out, keys, values = attention.cached(
                q,
                k,
                v,
                caches[2 * i],
                caches[2 * i + 1],
                position_B,
                scores,
                in_place,
            )
            new.extend([keys, values])
            return out

        x_BD = self._body(token_B[:, None], attend, positions_N=position_B)
        return self.logits(x_BD), new

    def _body(self, tokens_BT, attend, training=False, positions_N=None):
        """From tokens to [N, D]: the one path of training, prompts and decoding.

        `attend(layer, q, k, v)` decides who sees what.
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
            x_ND = x_ND + self.position.call(rows_N)
        x_ND = self.dropout(x_ND, training=training)
        turns = self._turns(positions_N)
        for i, block in enumerate(self.blocks):

            def attend_here(q, k, v, i=i):
                return attend(i, q, k, v)

            x_ND = block.call(x_ND, attend_here, turns[c.is_local(i)], training)
        return x_ND if self.norm is None else self.norm.call(x_ND, training)

    def _turns(self, positions_N):
        """The rotations of layers that see all, and of those with a window."""
        c = self.config
        if c.positions != "rotary":
            return None, None
        wide = rotary.rotation(positions_N, *c.frequencies())
        if not c.rope_local_theta:
            return wide, wide
        return wide, rotary.rotation(positions_N, *c.frequencies(local=True))


registry.register(
    "transformer_lm", Config, TransformerLM, "decoder-only Transformer LM"
)
