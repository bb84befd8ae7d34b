"""Recurrent language models: an embedding, LSTM, GRU or simple layers, and a head.

Sources: Mikolov et al. 2010 (recurrent LM); Zaremba et al. 2014 (arXiv:1409.2329,
dropout between layers only); Press & Wolf 2017 (arXiv:1608.05859, tied head).
"""

import dataclasses
from typing import ClassVar

import keras
import tensorflow as tf

from zoo import registry, shapes
from zoo.fields import at_least, check_fraction, one_of
from zoo.layers.embedding import Embedding
from zoo.layers.linear import Linear, read
from zoo.layers.recurrent import Recurrent
from zoo.layers.recurrent_cells import CELLS


@dataclasses.dataclass(kw_only=True, slots=True)
class Config:
    """The shape of the model.

    Attributes:
      cell: "lstm", "gru" or "rnn" (tanh).
      vocab_size: V, the number of token ids.
      context: the training window, in tokens; generation has no limit.
      width: D of the embedding.
      units: of each recurrent layer.
      layers: the number of recurrent layers.
      dropout: of what goes into each layer and into the head.
      tied_head: whether the head is the embedding table; needs width = units.
    """

    task: ClassVar[str] = "generate"
    reads: ClassVar[str] = "text"

    cell: str = "lstm"
    vocab_size: int = 8192
    context: int = 256
    width: int = 512
    units: int = 512
    layers: int = 2
    dropout: float = 0.0
    tied_head: bool = False

    def __post_init__(self):
        name = f"{self.cell}_lm"
        one_of("recurrent_lm.cell", self.cell, CELLS)
        for field in ("vocab_size", "context", "width", "units", "layers"):
            at_least(f"{name}.{field}", getattr(self, field), 1)
        check_fraction(f"{name}.dropout", self.dropout)
        if self.tied_head and self.width != self.units:
            raise ValueError(
                f"{name}.tied_head: width {self.width} and units {self.units} differ; "
                "a tied head needs them equal."
            )


@keras.saving.register_keras_serializable(package="zoo")
class RecurrentLM(keras.Model):
    """Maps `tokens_BT` to `logits_BTV`, and offers the Decoder protocol.

    The state of the Decoder is a flat list of float32 [B, units], by layer: h and c
    of an LSTM, h of the others.
    """

    def __init__(self, config: Config, **kwargs):
        super().__init__(**kwargs)
        self.supports_jit = False  # the training path holds compiled loops
        c = self.config = config
        kind = {"dtype": self.dtype_policy}
        self.embedding = Embedding(c.vocab_size, c.width, name="embedding", **kind)
        self.dropout = keras.layers.Dropout(c.dropout, **kind)
        self.recurrent = [
            Recurrent(
                c.cell, c.units if i else c.width, c.units, name=f"rnn_{i}", **kind
            )
            for i in range(c.layers)
        ]
        self.untied_head = None
        if not c.tied_head:
            self.untied_head = Linear(c.units, c.vocab_size, name="head", **kind)
        self.built = True

    @property
    def limit(self) -> int:
        """The most positions that it can see; 0 means any number."""
        return 0

    def get_config(self):
        return {
            "config": registry.to_fields(self.config),
            "name": self.name,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
        }

    @classmethod
    def from_config(cls, config):
        fields = dict(config["config"])
        policy = keras.dtype_policies.deserialize(config["dtype"])
        settings = registry.config(fields.pop("name"), **fields)
        return cls(settings, name=config["name"], dtype=policy)

    def call(self, tokens_BT, training=False):
        """Float32 logits [B, T, V]; position t has seen tokens 0..t."""
        # under a Strategy, `fit` builds the model with the mean of the replicas' tokens
        tokens_BT = tf.cast(tokens_BT, tf.int32)
        return self.logits(self.features(tokens_BT, training))

    def features(self, tokens_BT, training=False):
        """What the head sees: [B, T, units] in the compute dtype."""
        shapes.check("tokens", tokens_BT, "BT")
        x_TBD, _ = self._body(tokens_BT, training=training)
        return tf.transpose(x_TBD, (1, 0, 2))

    def logits(self, x):
        """Float32 logits [..., V] of features [..., units]."""
        weight_VD, bias_V = self.head()
        flat = tf.reshape(x, (-1, self.config.units))
        y = tf.matmul(flat, tf.cast(weight_VD, x.dtype), transpose_b=True)
        y = tf.cast(y, tf.float32)
        if bias_V is not None:
            y = tf.nn.bias_add(y, bias_V)
        y = tf.reshape(y, tf.concat([tf.shape(x)[:-1], [self.config.vocab_size]], 0))
        return tf.ensure_shape(y, (*x.shape[:-1], self.config.vocab_size))

    def head(self):
        """The head's float32 weight [V, units], and its bias [V], None if tied."""
        if self.untied_head is None:
            return self.embedding.table(), None
        head = self.untied_head
        return read(head.weight, tf.float32), read(head.bias, tf.float32)

    def start(self, tokens_BT, lengths_B, capacity):
        """Reads prompts: the Decoder's first call.

        Args:
          tokens_BT: int32, right-padded with any id.
          lengths_B: int32, at least 1 each.
          capacity: unused; the state has one size.

        Returns:
          The logits [B, V] that follow each row's last token, and the state.
        """
        shapes.check("tokens", tokens_BT, "BT")
        mask_TB = tf.range(tf.shape(tokens_BT)[1])[:, None] < lengths_B[None]
        _, state = self._body(tokens_BT, mask_TB=mask_TB)
        return self._next(state)

    def step(self, token_B, state, in_place=False):
        """Reads one more token a row; returns the logits that follow, and the state."""
        del in_place  # a state this small is made anew
        shapes.check("token", token_B, "B")
        x_BD, new, rest = self.embedding.call(token_B), [], list(state)
        for layer in self.recurrent:
            count = layer.cell.states
            after = layer.step(x_BD, rest[:count])
            x_BD, rest = after[0], rest[count:]
            new.extend(after)
        return self._next(new)

    def _body(self, tokens_BT, mask_TB=None, training=False):
        """From tokens to [T, B, units], time first, and the flat state."""
        x_TBD, state = self.embedding.call(tf.transpose(tokens_BT)), []
        for layer in self.recurrent:
            x_TBD = self.dropout(x_TBD, training=training)
            x_TBD, last = layer.call(x_TBD, mask_TB=mask_TB, training=training)
            state.extend(last)
        return self.dropout(x_TBD, training=training), state

    def _next(self, state):
        """The logits of the last layer's h, and the state."""
        h_BD = state[-self.recurrent[-1].cell.states]
        return self.logits(tf.cast(h_BD, self.compute_dtype)), state


for _cell, _about in (
    ("lstm", "recurrent LM of LSTM layers"),
    ("gru", "recurrent LM of GRU layers"),
    ("rnn", "recurrent LM of simple (tanh) layers"),
):
    registry.register(f"{_cell}_lm", Config, RecurrentLM, _about, cell=_cell)
