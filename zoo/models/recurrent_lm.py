"""Recurrent language models: an embedding, recurrent layers, and a head.

Sources: Mikolov et al. 2010 (recurrent LM); Zaremba et al. 2014 (dropout between
layers only, arXiv:1409.2329); Press & Wolf 2017 (tied head, arXiv:1608.05859).
"""

import dataclasses
from typing import ClassVar

import keras
import tensorflow as tf

from zoo import registry, shapes
from zoo.fields import at_least, check_fraction, one_of
from zoo.layers.dropout import Dropout
from zoo.layers.embedding import Embedding
from zoo.layers.linear import Linear
from zoo.layers.recurrent import Recurrent
from zoo.layers.recurrent.cells import CELLS
from zoo.models.language_model import LanguageModel


@dataclasses.dataclass(kw_only=True, slots=True)
class Config:
    """The fields of the model.

    Attributes:
      cell: "lstm", "gru" or "rnn" (a simple layer with tanh).
      vocab_size: V, the number of token ids.
      context: the length of a training window, in tokens; generation has no limit.
      width: D, the width of the embedding.
      units: the width of each recurrent layer.
      layers: the number of recurrent layers.
      dropout: the rate before each layer and before the head; in [0, 1).
      tied_head: whether the head is the embedding table; needs width = units.
    """

    task: ClassVar[str] = "generate"
    reads: ClassVar[str] = "text"
    logit_softcap: ClassVar[float] = 0.0

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

    @property
    def feature_width(self) -> int:
        """The width of what the head reads."""
        return self.units


@keras.saving.register_keras_serializable(package="zoo")
class RecurrentLM(LanguageModel):
    """Maps `tokens_BT` to `logits_BTV`, and offers the Decoder protocol.

    The state of the Decoder is a flat list of float32 tensors [B, units]: for each
    layer h and c of an LSTM, and h of the other cells.
    """

    def __init__(self, config: Config, with_head: bool = True, **kwargs):
        super().__init__(config, **kwargs)
        self.supports_jit = False  # the training path contains compiled loops
        c = config
        self.embedding = Embedding(c.vocab_size, c.width, name="embedding")
        self.dropout = Dropout(c.dropout)
        self.recurrent = [
            Recurrent(c.cell, c.units if i else c.width, c.units, name=f"rnn_{i}")
            for i in range(c.layers)
        ]
        self.untied_head = None
        if with_head and not c.tied_head:
            self.untied_head = Linear(c.units, c.vocab_size, name="head")
        self.built = True

    @property
    def limit(self) -> int:
        """0: the model can read any number of positions."""
        return 0

    def features(self, tokens_BT, training=False, segments_BT=None, positions_BT=None):
        """The input of the head: [B, T, units]; see `LanguageModel.features`."""
        del positions_BT  # the state knows the position
        shapes.check("tokens", tokens_BT, "BT")
        reset_TB = None
        if segments_BT is not None:  # the first position has no state to forget
            reset_TB = tf.transpose(segments_BT[:, 1:] != segments_BT[:, :-1])
            reset_TB = tf.pad(reset_TB, ((1, 0), (0, 0)))
        x_TBD, _ = self._body(tokens_BT, training=training, reset_TB=reset_TB)
        return tf.transpose(x_TBD, (1, 0, 2))

    def start(self, tokens_BT, lengths_B, capacity):
        """Reads prompts: the Decoder's first call.

        Args:
          tokens_BT: int32, right-padded with any id.
          lengths_B: int32, at least 1 each.
          capacity: not used; the size of the state does not depend on it.

        Returns:
          The logits [B, V] after each row's last token, and the state.
        """
        shapes.check("tokens", tokens_BT, "BT")
        mask_TB = tf.range(tf.shape(tokens_BT)[1])[:, None] < lengths_B[None]
        _, state = self._body(tokens_BT, mask_TB=mask_TB)
        return self._next(state)

    def step(self, token_B, state, in_place=False):
        """Reads one more token of each row; see `TransformerLM.step`."""
        del in_place  # the state is small: each step makes a new one
        shapes.check("token", token_B, "B")
        x_BD, new, rest = self.embedding.call(token_B), [], list(state)
        for layer in self.recurrent:
            count = layer.cell.states
            after = layer.step(x_BD, rest[:count])
            x_BD, rest = after[0], rest[count:]
            new.extend(after)
        return self._next(new)

    def _body(self, tokens_BT, mask_TB=None, training=False, reset_TB=None):
        """Maps tokens to features [T, B, units], time first, and the flat state."""
        x_TBD, state = self.embedding.call(tf.transpose(tokens_BT)), []
        for layer in self.recurrent:
            x_TBD = self.dropout(x_TBD, training=training)
            x_TBD, last = layer.call(
                x_TBD, mask_TB=mask_TB, training=training, reset_TB=reset_TB
            )
            state.extend(last)
        return self.dropout(x_TBD, training=training), state

    def _next(self, state):
        """The logits [B, V] of the last layer's h, and the state."""
        h_BD = state[-self.recurrent[-1].cell.states]
        return self.logits(tf.cast(h_BD, self.compute_dtype)), state


for _cell, _about in (
    ("lstm", "recurrent LM of LSTM layers"),
    ("gru", "recurrent LM of GRU layers"),
    ("rnn", "recurrent LM of simple (tanh) layers"),
):
    registry.register(f"{_cell}_lm", Config, RecurrentLM, _about, cell=_cell)
