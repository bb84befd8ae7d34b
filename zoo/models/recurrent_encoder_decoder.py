"""A recurrent encoder-decoder with additive attention.

Source: Bahdanau et al. 2014 (arXiv:1409.0473). Two details differ: the layer before the
head is linear with tanh instead of maxout, and it reads the new state of the decoder.
"""

import dataclasses
from typing import ClassVar

import keras
import tensorflow as tf

from zoo import registry, shapes
from zoo.fields import at_least, check_fraction, one_of
from zoo.layers.attention import AdditiveAttention
from zoo.layers.dropout import Dropout
from zoo.layers.embedding import Embedding
from zoo.layers.linear import Linear
from zoo.layers.recurrent import Recurrent
from zoo.layers.recurrent.attentive import AttentiveRecurrent
from zoo.models.language_model import Seq2Seq

_CELLS = ("gru", "lstm")
_AT_LEAST = {
    1: ("vocab_size", "width", "units", "layers"),
    0: ("source_vocab_size", "context", "source_context", "start_id", "padding_id"),
}


@dataclasses.dataclass(kw_only=True, slots=True)
class Config:
    """The fields of the model.

    Attributes:
      cell: "gru" or "lstm".
      vocab_size: V, the number of token ids of targets.
      source_vocab_size: the number of token ids of sources; 0 means that sources and
        targets share one embedding table.
      context: the longest target in tokens, with the start token; 0 means any length.
      source_context: the longest source in tokens; 0 means as `context`.
      width: D, the width of the embeddings, and of what the head reads.
      units: U, the width of each recurrent layer, and of the alignment.
      layers: the layers of the encoder, each of two directions. The decoder has one.
      dropout: the rate at the embeddings, before each layer of the encoder, and before
        the head; in [0, 1).
      start_id: the token that the decoder reads first.
      padding_id: the token id after the end of a source.
      tied_head: whether the head is the embedding table of targets.
    """

    task: ClassVar[str] = "seq2seq"
    reads: ClassVar[str] = "text"
    logit_softcap: ClassVar[float] = 0.0

    cell: str = "gru"
    vocab_size: int = 8192
    source_vocab_size: int = 0
    context: int = 256
    source_context: int = 0
    width: int = 256
    units: int = 256
    layers: int = 1
    dropout: float = 0.0
    start_id: int = 0
    padding_id: int = 0
    tied_head: bool = False

    def __post_init__(self):
        name = "recurrent_encoder_decoder"
        one_of(f"{name}.cell", self.cell, _CELLS)
        for least, fields in _AT_LEAST.items():
            for field in fields:
                at_least(f"{name}.{field}", getattr(self, field), least)
        check_fraction(f"{name}.dropout", self.dropout)
        for field, most in (
            ("start_id", self.vocab_size),
            ("padding_id", self.source_ids),
        ):
            value = getattr(self, field)
            if value >= most:
                raise ValueError(f"{name}.{field}: {value}, below {most} allowed.")

    @property
    def source_ids(self) -> int:
        """The number of token ids of sources."""
        return self.source_vocab_size or self.vocab_size

    @property
    def source_limit(self) -> int:
        """The longest source, in tokens; 0 is any length."""
        return self.source_context or self.context

    @property
    def feature_width(self) -> int:
        """The width of what the head reads."""
        return self.width


@keras.saving.register_keras_serializable(package="zoo")
class RecurrentEncoderDecoder(Seq2Seq):
    """Maps a source and `tokens_BT` to `logits_BTV`, and offers the Decoder protocol.

    The state of the Decoder is the sources' lengths [B], the encoder's output
    [B, S, 2 U], and its keys [B, S, U]; then float32 h [B, U], and c of an LSTM. The
    source's tensors never change. `step` also takes fewer of them than rows: then they
    are those of the sources, and the rows of one source stand together.
    """

    fixed_state = 3

    def __init__(self, config: Config, with_head: bool = True, **kwargs):
        super().__init__(config, **kwargs)
        self.supports_jit = False  # the training path contains compiled loops
        c, U = config, config.units
        self.embedding = Embedding(c.vocab_size, c.width, name="embedding")
        self.source_embedding = None
        if c.source_vocab_size:
            self.source_embedding = Embedding(
                c.source_vocab_size, c.width, name="source_embedding"
            )
        self.dropout = Dropout(c.dropout)
        self.encoder = [
            tuple(
                Recurrent(c.cell, 2 * U if i else c.width, U, name=f"{way}_{i}")
                for way in ("forward", "backward")
            )
            for i in range(c.layers)
        ]
        self.decoder = AttentiveRecurrent(c.cell, c.width, 2 * U, U, name="decoder")
        self.alignment = AdditiveAttention(U, 2 * U, U, name="alignment")
        states, stddev = self.decoder.cell.states, U**-0.5
        self.initial = Linear(U, states * U, stddev=stddev, name="initial")
        read = 3 * U + c.width
        self.readout = Linear(read, c.width, stddev=read**-0.5, name="readout")
        self.untied_head = None
        if with_head and not c.tied_head:
            self.untied_head = Linear(c.width, c.vocab_size, name="head")
        self.built = True

    def features(self, tokens_BT, training=False, source=None, source_lengths=None):
        """The input of the head: [B, T, D]; see `Seq2Seq.features`."""
        self.check_inputs(tokens_BT, source)
        lengths_B = self.lengths(source) if source_lengths is None else source_lengths
        values_BSC, keys_BSA, state = self._encode(source, lengths_B, training)

        def attend(h_BU):
            return self.alignment.call(h_BU, values_BSC, keys_BSA, lengths_B, training)

        x_TBD = self.embedding.call(tf.transpose(tokens_BT))
        x_TBD = self.dropout(x_TBD, training=training)
        h_TBU, context_TBC = self.decoder.read_all(x_TBD, state, attend)
        y_TBD = self._read_out(h_TBU, context_TBC, x_TBD, training)
        return tf.transpose(y_TBD, (1, 0, 2))

    def start(self, tokens_BT, lengths_B, capacity):
        """Encodes sources and reads the start token: the Decoder's first call.

        Args:
          tokens_BT: int32, the sources, right-padded with any id.
          lengths_B: int32, at least 1 each.
          capacity: not used; the size of the state does not depend on it.

        Returns:
          The logits [B, V] after the start token, and the state.
        """
        shapes.check("tokens", tokens_BT, "BT")
        values_BSC, keys_BSA, state = self._encode(tokens_BT, lengths_B)
        token_B = tf.fill(tf.shape(lengths_B), self.config.start_id)
        return self.step(
            token_B, [tf.identity(lengths_B), values_BSC, keys_BSA, *state]
        )

    def step(self, token_B, state, in_place=False):
        """Reads one more token of each row; see `EncoderDecoder.step`."""
        del in_place  # what changes is small: each step makes a new one
        shapes.check("token", token_B, "B")
        lengths_B, values_BSC, keys_BSA, *own = state
        x_BD = self.embedding.call(token_B)
        context_BC = self.alignment.call(own[0], values_BSC, keys_BSA, lengths_B)
        own = self.decoder.step(tf.concat([x_BD, context_BC], 1), own)
        h_BU = tf.cast(own[0], self.compute_dtype)
        y_BD = self._read_out(h_BU, context_BC, x_BD)
        return self.logits(y_BD), [*state[: self.fixed_state], *own]

    def _encode(self, source_BS, lengths_B, training=False):
        """What attention reads, its keys, and the decoder's first state."""

        # Each source is reversed within its length. So padding comes after the tokens
        # in both directions, and the recurrence needs no mask.
        def reverse(x_SBN):
            return tf.reverse_sequence(x_SBN, lengths_B, seq_axis=0, batch_axis=1)

        table = self.source_embedding or self.embedding
        x_SBN = table.call(tf.transpose(source_BS))
        for forward, backward in self.encoder:
            x_SBN = self.dropout(x_SBN, training=training)
            ahead_SBU, _ = forward.call(x_SBN, training=training)
            back_SBU, _ = backward.call(reverse(x_SBN), training=training)
            x_SBN = tf.concat([ahead_SBU, reverse(back_SBU)], 2)
        # the backward direction has read the whole source at its first position
        first_BU = x_SBN[0, :, self.config.units :]
        state = tf.tanh(self.initial.call(first_BU, training))
        state = tf.split(tf.cast(state, tf.float32), self.decoder.cell.states, 1)
        values_BSC = tf.transpose(x_SBN, (1, 0, 2))
        return values_BSC, self.alignment.keys(values_BSC, training), state

    def _read_out(self, h, context, x, training=False):
        """The input of the head for outputs, contexts and embeddings of the decoder."""
        y = self.readout.call(tf.concat([h, context, x], -1), training)
        return self.dropout(tf.tanh(y), training=training)


registry.register(
    "recurrent_encoder_decoder",
    Config,
    RecurrentEncoderDecoder,
    "recurrent encoder-decoder with additive attention",
)
