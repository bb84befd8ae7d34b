"""Additive attention, the alignment model of recurrent encoder-decoders.

Source: Bahdanau et al. 2014 (arXiv:1409.0473).
"""

import keras
import tensorflow as tf

from zoo.layers.attention.scores import masked
from zoo.layers.linear import Linear, read


class AdditiveAttention(keras.layers.Layer):
    """Attention by a small network: the score is v . tanh(W query + U value).

    Args:
      queries: the width of a query.
      values: C, the width of a value.
      width: A, that of the sum inside of tanh.
    """

    def __init__(self, queries: int, values: int, width: int, **kwargs):
        super().__init__(**kwargs)
        with keras.name_scope(self.name):
            self.query = Linear(queries, width, False, queries**-0.5, name="query")
            self.key = Linear(values, width, True, values**-0.5, name="key")
        self.score = self.add_weight(
            shape=(width,),
            initializer=keras.initializers.RandomNormal(stddev=width**-0.5),
            name="score",
            autocast=False,
        )
        self.built = True

    def keys(self, values_BSC, training=False):
        """The keys [B, S, A], which every query reads."""
        flat = tf.reshape(values_BSC, (-1, values_BSC.shape[2]))
        B, S = tf.unstack(tf.shape(values_BSC)[:2])
        return tf.reshape(self.key.call(flat, training), (B, S, self.score.shape[0]))

    def call(self, query_RQ, values_BSC, keys_BSA, lengths_B, training=False):
        """The mean of the values, weighted by attention, for each query.

        Args:
          query_RQ: B divides R; the queries of one text stand together.
          values_BSC: of texts that are right-padded to S positions.
          keys_BSA: what `keys` gave for them.
          lengths_B: int32, the positions of each text, at least 1.
          training: whether the caller will compute gradients.

        Returns:
          [R, C] in the dtype of the values.
        """
        dtype, (B, S) = values_BSC.dtype, tf.unstack(tf.shape(keys_BSA)[:2])
        A, C = keys_BSA.shape[2], values_BSC.shape[2]
        query_RA = self.query.call(tf.cast(query_RQ, dtype), training)
        query_Bn1A = tf.reshape(query_RA, (B, -1, 1, A))
        hidden_BnSA = tf.tanh(query_Bn1A + keys_BSA[:, None])
        score_A1 = read(self.score, dtype)[:, None]
        z = tf.matmul(tf.reshape(hidden_BnSA, (-1, A)), score_A1)
        z_BnS = tf.reshape(tf.cast(z, tf.float32), (B, -1, S))
        p_BnS = tf.nn.softmax(masked(z_BnS, tf.sequence_mask(lengths_B, S)[:, None]))
        return tf.reshape(tf.matmul(tf.cast(p_BnS, dtype), values_BSC), (-1, C))
