"""What all models that predict tokens share: the head, and the way to Keras and back.

`LanguageModel` continues a text. `Seq2Seq` answers a source with a target.
"""

from typing import Any

import keras
import tensorflow as tf

from zoo import registry, shapes
from zoo.layers import pooling
from zoo.layers.embedding import Embedding
from zoo.layers.linear import Linear, product, read


class _TokenModel(registry.ConfigSerializable, keras.Model):
    """A model with a Config, an embedding of what it predicts, and a head.

    `own_products` says whether its products are those of `linear.product`, which has a
    way of its own for one row.
    """

    own_products = True
    embedding: Embedding
    untied_head: Linear | None

    def __init__(self, config: Any, **kwargs):
        super().__init__(**kwargs)
        self.config = config

    def logits(self, x):
        """Float32 logits [..., V] of features [..., D]."""
        weight_VD, bias_V = self.head()
        flat = tf.reshape(x, (-1, weight_VD.shape[1]))
        weight_VD = tf.cast(weight_VD, x.dtype)
        if bias_V is None or x.dtype != tf.float32:
            y = tf.cast(product(flat, weight_VD), tf.float32)
            y = y if bias_V is None else tf.nn.bias_add(y, bias_V)
        else:
            y = product(flat, weight_VD, bias_V)
        if self.config.logit_softcap:
            y = self.config.logit_softcap * tf.tanh(y / self.config.logit_softcap)
        if len(x.shape) == 2:
            return y
        shape: list[Any] = [tf.shape(x)[:-1], [weight_VD.shape[0]]]
        return tf.reshape(y, tf.concat(shape, 0))

    def head(self):
        """The head's float32 weight [V, D], and its bias [V] or None."""
        if self.untied_head is None:
            return self.embedding.table(), None
        weight, bias = self.untied_head.weight, self.untied_head.bias
        bias_V = None if bias is None else read(bias, tf.float32)
        return read(weight, tf.float32), bias_V


class LanguageModel(_TokenModel):
    """Maps `tokens_BT` to `logits_BTV`, and offers the Decoder protocol.

    A subclass has a Config with `vocab_size`, `context` and `logit_softcap`. It sets
    `embedding` and `untied_head`, or overrides `head` and `logits`. It defines:

      features(tokens_BT, training=False, segments_BT=None, positions_BT=None)
                                              the input of the head, [B, T, D]
      start(tokens_BT, lengths_B, capacity)   reads prompts; returns logits and a state
      step(token_B, state, in_place=False)    reads a token; returns logits and a state

    and, where one pass can read several tokens, for drafts (`zoo.decode.speculation`):

      steps(tokens_BQ, state, in_place=False) reads Q tokens; returns logits [B, Q, V]
                                              and a state
      forget(state, count_B)                  the state without each row's last tokens

    `embed` maps texts to vectors, as that of a `TextEncoder` does.
    """

    @property
    def limit(self) -> int:
        """The largest number of positions that the model can read; 0 is any number."""
        return self.config.context

    def features(
        self, tokens_BT, training=False, segments_BT=None, positions_BT=None
    ) -> tf.Tensor:
        """The input of the head: [B, T, D] in the compute dtype.

        Args:
          tokens_BT: int32.
          training: whether the caller will compute gradients.
          segments_BT: int32, the number of each token's segment, where a row packs
            several texts; a token sees its own segment only. None: a row is one text.
          positions_BT: int32, the position of each token in its text; None is 0..T-1.
        """
        raise NotImplementedError

    def embed(self, tokens_BT, lengths_B, training=False) -> tf.Tensor:
        """The mean of each text's features, float32 [B, D].

        Args:
          tokens_BT: int32, right-padded with any id.
          lengths_B: int32, the tokens of each text, at least 1.
          training: whether the caller will compute gradients.
        """
        return pooling.mean(self.features(tokens_BT, training), lengths_B)

    def call(self, tokens_BT, training=False):
        """Float32 logits [B, T, V]; those of position t depend on tokens 0..t."""
        # under a Strategy, `fit` builds the model with the mean of the replicas' tokens
        tokens_BT = tf.cast(tokens_BT, tf.int32)
        return self.logits(self.features(tokens_BT, training))


class Seq2Seq(_TokenModel):
    """Maps a source and `tokens_BT` to `logits_BTV`, and offers the Decoder protocol.

    The Decoder's prompt is the source: `start` also reads `config.start_id`, and each
    `step` a token of the target. A subclass has a Config with `source_limit` and
    `padding_id`, and sets and defines what a subclass of `LanguageModel` does, but for

      features(tokens_BT, training=False, source=None, source_lengths=None)

    Attributes:
      reads_source: True: the tokens of a prompt are no part of the answer.
      fixed_state: the number of the state's first tensors, which no step changes.
    """

    reads_source = True
    fixed_state = 0

    @property
    def limit(self) -> int:
        """The longest source that the model can read, in tokens; 0 is any length."""
        return self.config.source_limit

    @property
    def target_limit(self) -> int:
        """The most tokens of a target, with the start token; 0 is any number."""
        return self.config.context

    def features(
        self, tokens_BT, training=False, source=None, source_lengths=None
    ) -> tf.Tensor:
        """The input of the head: [B, T, D] in the compute dtype.

        Args:
          tokens_BT: int32, what the decoder reads: the start token, then the target
            without its last token; right-padded with any id.
          training: whether the caller will compute gradients.
          source: int32 [B, S], right-padded with any id.
          source_lengths: int32 [B], at least 1 each; None: a source ends before the
            padding ids at the end of its row.

        Raises:
          ValueError: there is no source, or a rank or a length is not allowed.
        """
        raise NotImplementedError

    def call(self, tokens_BT, source=None, source_lengths=None, training=False):
        """Float32 logits [B, T, V]; those of position t depend on tokens 0..t.

        Args:
          tokens_BT: as for `features`; or a dict of `tokens`, `source` and perhaps
            `source_lengths`, which is what Keras' `fit` gives.
          source, source_lengths, training: as for `features`.
        """
        given = {"source": source, "source_lengths": source_lengths}
        if isinstance(tokens_BT, dict):
            given = dict(tokens_BT)
            tokens_BT = given.pop("tokens")
        # under a Strategy, `fit` builds the model with the mean of the replicas' tokens
        given = {k: x if x is None else tf.cast(x, tf.int32) for k, x in given.items()}
        tokens_BT = tf.cast(tokens_BT, tf.int32)
        return self.logits(self.features(tokens_BT, training, **given))

    def lengths(self, source_BS):
        """The length of each source without the padding ids at its end, at least 1."""
        end_S = tf.range(1, tf.shape(source_BS)[1] + 1)
        real_BS = source_BS != self.config.padding_id
        return tf.maximum(tf.reduce_max(tf.where(real_BS, end_S, 0), 1), 1)

    def check_inputs(self, tokens_BT, source_BS) -> None:
        """Refuses tokens or sources of a wrong rank, or too long ones."""
        if source_BS is None:
            raise ValueError("source: None, int32 [B, S] allowed.")
        for name, x, dims, most in (
            ("tokens", tokens_BT, "BT", self.target_limit),
            ("source", source_BS, "BS", self.limit),
        ):
            length = shapes.check(name, x, dims)[dims[1]]
            if most and length is not None and length > most:
                raise ValueError(f"{name}: {length} positions, at most {most} allowed.")
