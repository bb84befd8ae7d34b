"""Dropout that draws other masks on each replica.

Source: Srivastava et al. 2014.
"""

from typing import Any

import keras
import tensorflow as tf


class Dropout(keras.layers.Dropout):
    """`keras.layers.Dropout`, with another mask on each replica of a strategy.

    Every replica of `tf.distribute` has its own copy of the layer's seed, and all
    copies are equal. So the masks of Keras' layer are equal on all replicas. This layer
    adds the number of the replica to the seed. On one replica both layers give the same
    bits.
    """

    seed_generator: Any

    def call(self, inputs, training=False):
        """Returns inputs; in training a fraction `rate` is 0, the rest is scaled up."""
        if not training or not self.rate:
            return inputs
        seed = self.seed_generator.next()
        context = tf.distribute.get_replica_context()
        if context is not None and context.num_replicas_in_sync > 1:
            replica: Any = context.replica_id_in_sync_group
            seed += tf.stack([tf.cast(replica, seed.dtype), tf.zeros((), seed.dtype)])
        # as Keras does: XLA takes seeds of int32
        seed = tf.cast(tf.math.floormod(seed, tf.int32.max - 1), tf.int32)
        return tf.nn.experimental.stateless_dropout(inputs, rate=self.rate, seed=seed)
