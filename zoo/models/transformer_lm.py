"""A decoder-only Transformer language model whose choices span GPT-2 and Llama.

Sources: Radford et al. 2019 (GPT-2); Touvron et al. 2023 (Llama 2,
arXiv:2307.09288); Gemma Team 2024 (logit softcap, arXiv:2408.00118).
"""

import dataclasses

import keras
import tensorflow as tf

from zoo import registry, shapes
from zoo.layers import attention
from zoo.layers.embedding import Embedding
from zoo.layers.linear import Linear, read
from zoo.layers.mlp import ACTIVATIONS, Mlp
from zoo.layers.norm import Norm


@dataclasses.dataclass(kw_only=True, slots=True)
class Config:
    """The shape of the model; the defaults are GPT-2's choices at a small size.

    Attributes:
      vocab_size: V, the number of token ids.
      context: the longest sequence, in tokens.
      width: D, of the residual stream.
      layers: the number of blocks.
      heads: H, query heads.
      kv_heads: K, key-value heads; 0 means as many as query heads.
      head_width: of one head; 0 means width / heads.
      mlp_width: of the feed-forward part; 0 means 4 * width.
      norm: "layernorm" or "rmsnorm".
      norm_place: "pre" (before each part, and once at the end) or "post" (after each
        residual sum).
      norm_epsilon: added to the mean square.
      positions: "learned" or "rotary".
      rope_theta: the base of the rotary angles.
      activation: of the feed-forward part.
      gated: whether a gate multiplies the feed-forward part.
      qkv_bias, out_bias, mlp_bias: which linear maps have a bias.
      tied_head: whether the head is the embedding table.
      logit_softcap: 0 is off.
      dropout: of the embeddings and of what each part adds to the stream.
    """

    vocab_size: int = 8192
    context: int = 256
    width: int = 384
    layers: int = 6
    heads: int = 6
    kv_heads: int = 0
    head_width: int = 0
    mlp_width: int = 0
    norm: str = "layernorm"
    norm_place: str = "pre"
    norm_epsilon: float = 1e-5
    positions: str = "learned"
    rope_theta: float = 10000.0
    activation: str = "gelu_tanh"
    gated: bool = False
    qkv_bias: bool = True
    out_bias: bool = True
    mlp_bias: bool = True
    tied_head: bool = True
    logit_softcap: float = 0.0
    dropout: float = 0.0

    def __post_init__(self):
        for field in ("vocab_size", "context", "width", "layers", "heads"):
            registry.at_least(f"transformer_lm.{field}", getattr(self, field), 1)
        for field in ("kv_heads", "head_width", "mlp_width", "logit_softcap"):
            registry.at_least(f"transformer_lm.{field}", getattr(self, field), 0)
        registry.one_of("transformer_lm.norm", self.norm, ("layernorm", "rmsnorm"))
        registry.one_of("transformer_lm.norm_place", self.norm_place, ("pre", "post"))
        registry.one_of(
            "transformer_lm.positions", self.positions, ("learned", "rotary")
        )
        registry.one_of("transformer_lm.activation", self.activation, ACTIVATIONS)
        registry.share("transformer_lm.dropout", self.dropout)
        if self.width % self.heads and not self.head_width:
            raise ValueError(
                f"transformer_lm.heads: {self.heads} does not divide width "
                f"{self.width}; set head_width."
            )
        if self.kv_heads and self.heads % self.kv_heads:
            raise ValueError(
                f"transformer_lm.kv_heads: {self.kv_heads} does not divide heads "
                f"{self.heads}."
            )
        if self.positions == "rotary" and self.head_size % 2:
            raise ValueError(
                f"transformer_lm.head_width: {self.head_size} is odd; rotary positions "
                "turn pairs."
            )

    @property
    def head_size(self) -> int:
        """The width of one head."""
        return self.head_width or self.width // self.heads


class Block(keras.layers.Layer):
    """Attention and a feed-forward part, each added to the residual stream."""

    def __init__(self, config: Config, **kwargs):
        super().__init__(**kwargs)
        c = config
        self.pre = c.norm_place == "pre"
        # what is added 2 * layers times starts small (GPT-2)
        stddev = 0.02 / (2 * c.layers) ** 0.5
        with keras.name_scope(self.name):
            self.norm_1 = Norm(c.width, c.norm, c.norm_epsilon, name="norm_1")
            self.attention = attention.Attention(
                c.width,
                c.heads,
                c.kv_heads or c.heads,
                c.head_size,
                c.qkv_bias,
                c.out_bias,
                stddev,
                name="attention",
            )
            self.norm_2 = Norm(c.width, c.norm, c.norm_epsilon, name="norm_2")
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

        def attended(x):
            y = self.attention.call(x, attend, rotation, training)
            return self.dropout(y, training=training)

        def widened(x):
            return self.dropout(self.mlp.call(x, training), training=training)

        if self.pre:
            x_ND = x_ND + attended(self.norm_1.call(x_ND, training))
            return x_ND + widened(self.norm_2.call(x_ND, training))
        x_ND = self.norm_1.call(x_ND + attended(x_ND), training)
        return self.norm_2.call(x_ND + widened(x_ND), training)


@keras.saving.register_keras_serializable(package="zoo")
class TransformerLM(keras.Model):
    """Maps `tokens_BT` to `logits_BTV`, and offers the Decoder protocol."""

    def __init__(self, config: Config, **kwargs):
        super().__init__(**kwargs)
        self.supports_jit = False  # the training path holds small compiled clusters
        c = self.config = config
        self.embedding = Embedding(c.vocab_size, c.width, name="embedding")
        self.position = None
        if c.positions == "learned":
            self.position = Embedding(c.context, c.width, name="position")
        self.dropout = keras.layers.Dropout(c.dropout)
        self.blocks = [Block(c, name=f"block_{i}") for i in range(c.layers)]
        self.norm = None
        if c.norm_place == "pre":
            self.norm = Norm(c.width, c.norm, c.norm_epsilon, name="norm")
        self.free_head = None
        if not c.tied_head:
            self.free_head = Linear(c.width, c.vocab_size, bias=False, name="head")
        self.built = True

    @property
    def limit(self) -> int:
        """The most positions that it can see; 0 would mean any number."""
        return self.config.context

    def get_config(self):
        return {"config": registry.to_fields(self.config), "name": self.name}

    @classmethod
    def from_config(cls, config):
        fields = dict(config["config"])
        return cls(registry.config(fields.pop("name"), **fields), name=config["name"])

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

        def attend(_, q, k, v):
            return attention.causal(
                q, k, v, batch, c.heads, c.kv_heads or c.heads, blocks, training
            )

        x_ND = self._body(tokens_BT, attend, training)
        return tf.reshape(x_ND, (batch, -1 if T is None else T, c.width))

    def logits(self, x):
        """Float32 logits [..., V] of features [..., D]."""
        weight_VD, _ = self.head()
        flat = tf.reshape(x, (-1, self.config.width))
        y = tf.matmul(flat, tf.cast(weight_VD, x.dtype), transpose_b=True)
        y = tf.cast(y, tf.float32)
        if self.config.logit_softcap:
            y = self.config.logit_softcap * tf.tanh(y / self.config.logit_softcap)
        if len(x.shape) == 2:
            return y
        return tf.reshape(y, tf.concat([tf.shape(x)[:-1], [self.config.vocab_size]], 0))

    def head(self):
        """The head's float32 weight [V, D], and its bias: None."""
        layer = self.free_head or self.embedding
        return read(layer.weight, tf.float32), None

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

        def attend(_, q, k, v):
            keep(k)
            keep(v)
            return attention.causal(q, k, v, B, heads, kv_heads)

        x_ND = self._body(tokens_BT, attend)
        last = tf.gather(x_ND, tf.range(B) * T + lengths_B - 1)
        return self.logits(last), state

    def step(self, token_B, state):
        """Reads one more token a row; returns the logits that follow, and the state."""
        position_B, *caches = state
        new = [position_B + 1]

        def attend(i, q, k, v):
            out, keys, values = attention.cached(
                q, k, v, caches[2 * i], caches[2 * i + 1], position_B
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
        if self.position is not None:
            x_ND = x_ND + self.position.call(positions_N)
        x_ND = self.dropout(x_ND, training=training)
        turn = None
        if c.positions == "rotary":
            turn = attention.rotation(positions_N, c.head_size, c.rope_theta)
        for i, block in enumerate(self.blocks):

            def attend_here(q, k, v, i=i):
                return attend(i, q, k, v)

            x_ND = block.call(x_ND, attend_here, turn, training)
        return x_ND if self.norm is None else self.norm.call(x_ND, training)


registry.register(
    "transformer_lm", Config, TransformerLM, "decoder-only Transformer LM"
)
