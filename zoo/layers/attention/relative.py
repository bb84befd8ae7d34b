"""T5's relative positions: a learned bias of attention's scores.

Source: Raffel et al. 2019 (arXiv:1910.10683). A bucket stands for a distance, and far
distances share buckets: half of the buckets of a direction have one distance each, the
others grow with its logarithm. An example, of 8 buckets for one direction and the
largest distance 16:

    distance   0  1  2  3  4  5  6  7  8  9  10  11  12  13  14  15  16  17 ...
    bucket     0  1  2  3  4  4  5  5  6  6   6   6   7   7   7   7   7   7
"""

import math

import keras
import numpy as np
import tensorflow as tf


def buckets(count: int, most: int) -> np.ndarray:
    """The bucket of each distance from 0 to `most` in one direction, int32.

    Args:
      count: the number of buckets; even.
      most: the distance from which on all share the last bucket; above count / 2.
    """
    exact = count // 2
    distance = np.arange(most + 1)
    # float32 as in the published models: a border is a matter of the last bit
    ratio = np.log(np.maximum(distance, exact) / exact).astype(np.float32)
    far = ratio / np.float32(math.log(most / exact)) * np.float32(count - exact)
    far = np.minimum(exact + far.astype(np.int32), count - 1)
    return np.where(distance < exact, distance, far).astype(np.int32)


class RelativeBias(keras.layers.Layer):
    """A number for each bucket and each head; all layers of a stack share it.

    Args:
      heads: H.
      count: the number of buckets.
      most: positions that far apart share the last bucket of their direction.
      causal: whether all buckets are for earlier keys; else half of them are for later
        keys.
    """

    def __init__(self, heads, count, most, causal, **kwargs):
        super().__init__(**kwargs)
        self.causal, self.count, self.most = causal, count, most
        self.buckets = buckets(count if causal else count // 2, most)
        self.weight = self.add_weight(
            shape=(count, heads),
            initializer=keras.initializers.RandomNormal(stddev=0.02),
            name="weight",
            autocast=False,
        )
        self.built = True

    def whole(self, T):
        """The bias [H, T, T] of each query and each key, in the compute dtype."""
        place_T = tf.range(T)
        return tf.transpose(self._of(place_T[:, None] - place_T), (2, 0, 1))

    def at(self, position_B, S):
        """The bias [B, H, S] of the query at a position of each row, and S keys."""
        return tf.transpose(self._of(position_B[:, None] - tf.range(S)), (0, 2, 1))

    def _of(self, distance):
        """The bias [..., H] of distances [...], of queries minus keys."""
        near = tf.maximum(distance, 0) if self.causal else tf.abs(distance)
        bucket = tf.gather(tf.constant(self.buckets), tf.minimum(near, self.most))
        if not self.causal:
            bucket += tf.where(distance < 0, self.count // 2, 0)
        bias = tf.gather(tf.convert_to_tensor(self.weight.value), bucket)
        return tf.cast(bias, self.compute_dtype)
