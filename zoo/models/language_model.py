"""The part that all language models share: the head, and the way to Keras and back."""

from typing import Any

import keras
import tensorflow as tf

from zoo import registry
from zoo.layers import pooling
from zoo.layers.embedding import Embedding
from zoo.layers.linear import Linear, read


class LanguageModel(registry.ConfigSerializable, keras.Model):
    """Maps `tokens_BT` to `logits_BTV`, and offers the Decoder protocol.

    A subclass has a Config with `vocab_size`, `context` and `logit_softcap`. It sets
    `embedding` and `untied_head`, or overrides `head` and `logits`. It defines:

      features(tokens_BT, training=False, segments_BT=None, positions_BT=None)
                                              the input of the head, [B, T, D]
      start(tokens_BT, lengths_B, capacity)   reads prompts; returns logits and a state
      step(token_B, state, in_place=False)    reads a token; returns logits and a state

    `embed` maps texts to vectors, as that of a `TextEncoder` does.
    """

    embedding: Embedding
    untied_head: Linear | None

    def __init__(self, config: Any, **kwargs):
        super().__init__(**kwargs)
        self.config = config

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

    def logits(self, x):
        """Float32 logits [..., V] of features [..., D]."""
        weight_VD, bias_V = self.head()
        flat = tf.reshape(x, (-1, weight_VD.shape[1]))
        y = tf.matmul(flat, tf.cast(weight_VD, x.dtype), transpose_b=True)
        y = tf.cast(y, tf.float32)
        if bias_V is not None:
            y = tf.nn.bias_add(y, bias_V)
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
