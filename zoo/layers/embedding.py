"""A table of vectors."""

import keras
import tensorflow as tf

from zoo.layers.linear import read


class Embedding(keras.layers.Layer):
    """Looks up rows of a table [count, width].

    Args:
      count, width: the shape of the table.
      stddev: of its initial values.
    """

    def __init__(self, count, width, stddev=0.02, **kwargs):
        super().__init__(**kwargs)
        self.weight = self.add_weight(
            shape=(count, width),
            initializer=keras.initializers.RandomNormal(stddev=stddev),
            name="weight",
            autocast=False,
        )
        self.built = True

    def call(self, ids):
        """Returns the rows [..., width] of int32 ids [...], in the compute dtype."""
        rows = tf.gather(tf.convert_to_tensor(self.weight.value), ids)
        return tf.cast(rows, self.compute_dtype)

    def table(self):
        """The whole table, float32."""
        return read(self.weight, tf.float32)
