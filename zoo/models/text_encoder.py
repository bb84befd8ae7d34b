"""A bidirectional Transformer that maps a text to one vector.

Sources: Devlin et al. 2018 (BERT, arXiv:1810.04805); Liu et al. 2019 (RoBERTa,
arXiv:1907.11692); Reimers and Gurevych 2019 (Sentence-BERT, arXiv:1908.10084).
"""

import dataclasses
from typing import ClassVar

import keras
import tensorflow as tf

from zoo import registry, shapes
from zoo.fields import at_least, check_fraction, one_of
from zoo.layers import pooling, traced_blocks
from zoo.layers.attention import bidirectional
from zoo.layers.dropout import Dropout
from zoo.layers.embedding import Embedding
from zoo.layers.mlp import ACTIVATIONS
from zoo.layers.norm import Norm
from zoo.models import transformer_lm

POOLINGS = ("mean", "cls")
NORMALIZATIONS = ("none", "l2")


@dataclasses.dataclass(kw_only=True, slots=True)
class Config:
    """The fields of the model; the defaults are those of BERT, at a small size.

    Attributes:
      vocab_size: V, the number of token ids.
      context: the longest text, in tokens, with its first and last special token.
      width: D, the width of the residual stream and of the embedding.
      layers: the number of blocks.
      heads: H, the attention heads; divides the width.
      mlp_width: the width of the MLP's activation; 0 means 4 * width.
      types: the number of token types, such as first and second text.
      padding_id: the token id after the end of a text.
      position_offset: the row of the position table for position 0; RoBERTa uses
        padding_id + 1.
      activation: of the MLP, one of `zoo.layers.mlp.ACTIVATIONS`.
      norm_epsilon: added to the mean square.
      pooling: "mean" (the mean over all tokens) or "cls" (the first token).
      normalization: "l2" (embeddings have length 1) or "none".
      dropout: the rate after the embeddings, attention and the MLP; in [0, 1).
    """

    task: ClassVar[str] = "embed"
    reads: ClassVar[str] = "text"

    vocab_size: int = 8192
    context: int = 256
    width: int = 256
    layers: int = 4
    heads: int = 4
    mlp_width: int = 0
    types: int = 2
    padding_id: int = 0
    position_offset: int = 0
    activation: str = "gelu"
    norm_epsilon: float = 1e-12
    pooling: str = "mean"
    normalization: str = "none"
    dropout: float = 0.0

    def __post_init__(self):
        for field in ("vocab_size", "context", "width", "layers", "heads", "types"):
            at_least(f"text_encoder.{field}", getattr(self, field), 1)
        for field in ("mlp_width", "padding_id", "position_offset", "norm_epsilon"):
            at_least(f"text_encoder.{field}", getattr(self, field), 0)
        one_of("text_encoder.activation", self.activation, ACTIVATIONS)
        one_of("text_encoder.pooling", self.pooling, POOLINGS)
        one_of("text_encoder.normalization", self.normalization, NORMALIZATIONS)
        check_fraction("text_encoder.dropout", self.dropout)
        if self.width % self.heads:
            raise ValueError(
                f"text_encoder.heads: {self.heads} does not divide width {self.width}."
            )
        if self.padding_id >= self.vocab_size:
            raise ValueError(
                f"text_encoder.padding_id: {self.padding_id}, below vocab_size "
                f"{self.vocab_size} allowed."
            )

    @property
    def feature_width(self) -> int:
        """The width of what a head reads."""
        return self.width

    def block(self) -> transformer_lm.Config:
        """The Config of the blocks, which are those of `transformer_lm`."""
        return transformer_lm.Config(
            vocab_size=self.vocab_size,
            context=self.context,
            width=self.width,
            layers=self.layers,
            heads=self.heads,
            mlp_width=self.mlp_width,
            norm_place="post",
            norm_epsilon=self.norm_epsilon,
            activation=self.activation,
            dropout=self.dropout,
        )


@keras.saving.register_keras_serializable(package="zoo")
class TextEncoder(registry.ConfigSerializable, keras.Model):
    """Maps `tokens_BT` to features `x_BTD`; `embed` maps them to embeddings [B, D]."""

    def __init__(self, config: Config, **kwargs):
        super().__init__(**kwargs)
        self.supports_jit = False  # the training path contains small XLA clusters
        c, block = config, config.block()
        self.config = c
        rows = c.context + c.position_offset
        self.embedding = Embedding(c.vocab_size, c.width, name="embedding")
        self.position = Embedding(rows, c.width, name="position")
        self.type_embedding = Embedding(c.types, c.width, name="type_embedding")
        self.norm = Norm(c.width, "layernorm", c.norm_epsilon, name="norm")
        self.dropout = Dropout(c.dropout)
        self.blocks = [
            transformer_lm.Block(block, name=f"block_{i}") for i in range(c.layers)
        ]
        self.built = True

    @property
    def limit(self) -> int:
        """The largest number of positions that the model can read."""
        return self.config.context

    def call(self, tokens_BT, lengths_B=None, types_BT=None, training=False):
        """Float32 features [B, T, D]; the arguments are those of `features`."""
        # under a Strategy, `fit` builds the model with the mean of the replicas' tokens
        tokens_BT = tf.cast(tokens_BT, tf.int32)
        x_BTD = self.features(tokens_BT, lengths_B, types_BT, training)
        return tf.cast(x_BTD, tf.float32)

    def features(self, tokens_BT, lengths_B=None, types_BT=None, training=False):
        """The features of a head's input: [B, T, D] in the compute dtype.

        The features of a text do not depend on its padding; those of padding mean
        nothing.

        Args:
          tokens_BT: int32, right-padded with any id.
          lengths_B: int32, the tokens of each text; None: a text ends before the
            padding ids at the end of its row.
          types_BT: int32, the type of each token; None: all types are 0.
          training: whether the caller will compute gradients.

        Raises:
          ValueError: another rank, or more positions than `context`.
        """
        T = shapes.check("tokens", tokens_BT, "BT")["T"]
        c = self.config
        if T is not None and T > c.context:
            raise ValueError(f"tokens: {T} positions, at most {c.context} allowed.")
        if lengths_B is None:
            lengths_B = self.lengths(tokens_BT)
        B, T = tf.unstack(tf.shape(tokens_BT))

        def attend(q, k, v):
            return bidirectional(q, k, v, lengths_B, c.heads)

        types_N = [0] if types_BT is None else tf.reshape(types_BT, [-1])
        positions_N = tf.tile(tf.range(T), [B]) + c.position_offset
        x_ND = self.embedding.call(tf.reshape(tokens_BT, [-1]))
        x_ND = x_ND + self.type_embedding.call(types_N)
        x_ND = x_ND + self.position.call(positions_N)
        x_ND = self.norm.call(x_ND, training)
        x_ND = self.dropout(x_ND, training=training)

        def call(i, block, x_ND):
            return block.call(x_ND, attend, None, training), ()

        x_ND, _ = traced_blocks.through(self.blocks, call, x_ND, training=training)
        return tf.reshape(x_ND, (B, T, c.width))

    def embed(self, tokens_BT, lengths_B=None, training=False):
        """One vector for each text, float32 [B, D]; arguments as in `features`."""
        if lengths_B is None:
            lengths_B = self.lengths(tokens_BT)
        x_BTD = self.features(tokens_BT, lengths_B, training=training)
        return self.pool(x_BTD, lengths_B)

    def pool(self, x_BTD, lengths_B):
        """The embeddings [B, D], float32, of features, by the Config's pooling."""
        x_BTD = tf.cast(x_BTD, tf.float32)
        if self.config.pooling == "cls":
            x_BD = x_BTD[:, 0]
        else:
            x_BD = pooling.mean(x_BTD, lengths_B)
        return pooling.unit(x_BD) if self.config.normalization == "l2" else x_BD

    def lengths(self, tokens_BT):
        """The length of each row without the padding ids at its end, int32 [B]."""
        end_T = tf.range(1, tf.shape(tokens_BT)[1] + 1)
        real_BT = tokens_BT != self.config.padding_id
        return tf.reduce_max(tf.where(real_BT, end_T, 0), 1)


registry.register(
    "text_encoder", Config, TextEncoder, "bidirectional Transformer: text to a vector"
)
