"""Rotary positions: rotate pairs of numbers by angles that grow with the position.

A scaling lets a model read longer texts than its training had, because it slows the
rotation down. "linear" slows all pairs down. "llama3" and "yarn" slow down the pairs
that complete few rotations within the training context.

Sources: Su et al. 2021 (arXiv:2104.09864); Chen et al. 2023 (linear,
arXiv:2306.15595); Peng et al. 2023 (yarn, arXiv:2309.00071); Llama Team 2024 (llama3,
arXiv:2407.21783); Black et al. 2022 (a part of each head, arXiv:2204.06745).
"""

import math
from typing import NamedTuple, cast

import numpy as np
import tensorflow as tf

from zoo.layers import batch_invariant
from zoo.layers.xla_cluster import xla_cluster

SCALINGS = ("none", "linear", "llama3", "yarn")


class Scaling(NamedTuple):
    """How much slower pairs rotate than in training.

    Attributes:
      kind: "none", "linear" (all pairs), "llama3" or "yarn" (slow pairs).
      factor: the frequency of a slow pair is divided by it.
      context: the longest text of training, in tokens (llama3, yarn).
      slow, fast: in rotations per `context`. A pair below `slow` is slowed down by
        `factor`. A pair above `fast` keeps its frequency. A pair between is mixed.
      magnitude: the factor of yarn's cosines and sines; 0 means 0.1 * ln(factor) + 1.
    """

    kind: str = "none"
    factor: float = 1.0
    context: int = 0
    slow: float = 1.0
    fast: float = 32.0
    magnitude: float = 0.0


AS_TRAINED = Scaling()


def frequencies(width, theta, scaling=AS_TRAINED):
    """The angle of each pair, in radians per position.

    Pair i of width / 2 pairs has the frequency theta ** (-2 i / width).

    Args:
      width: how many numbers are rotated; even.
      theta: the base of the frequencies, above 1.
      scaling: a `Scaling`.

    Returns:
      A float32 array [width / 2], and the factor of cosines and sines.
    """
    # rounds as transformers does: at position 2000 another last bit costs 1e-4
    exponent = np.arange(0, width, 2, dtype=np.float32) / width
    power = (theta ** exponent.astype(np.float64)).astype(np.float32)
    inverse = 1 / power
    if scaling.kind == "none":
        return inverse, 1.0
    slow = inverse / scaling.factor
    if scaling.kind == "linear":
        return slow, 1.0
    if scaling.kind == "llama3":
        kept = llama3_kept(inverse, scaling)
        return slow * (1 - kept) + inverse * kept, 1.0
    kept = 1 - _ramp(width, theta, scaling)
    slow = 1 / (scaling.factor * power)
    magnitude = scaling.magnitude or 0.1 * math.log(max(scaling.factor, 1.0)) + 1
    return slow * (1 - kept) + inverse * kept, magnitude


def llama3_kept(frequencies, scaling):
    """Returns the share, 0 to 1, that Llama 3's scaling keeps of each frequency.

    Args:
      frequencies: radians per position, [width / 2].
      scaling: a `Scaling`; its `factor` is not used.
    """
    rotations = scaling.context / (2 * math.pi / frequencies)
    kept = (rotations - scaling.slow) / (scaling.fast - scaling.slow)
    return np.clip(kept, 0, 1)


def _ramp(width, theta, scaling):
    """Yarn's weights [width / 2]: 0 for fast pairs, 1 for slow pairs, linear between.

    The line starts and ends at whole pairs, as in the reference implementation.
    """

    def pair(rotations):
        """The index of the pair with this many rotations per context."""
        ratio = scaling.context / (rotations * 2 * math.pi)
        return width * math.log(ratio) / (2 * math.log(theta))

    first = max(math.floor(pair(scaling.fast)), 0)
    last = min(math.ceil(pair(scaling.slow)), width - 1)
    length = last - first or 0.001
    pairs = np.arange(width // 2, dtype=np.float32)
    return np.clip((pairs - first) / length, 0, 1)


def rotation(positions_N, inverse, magnitude=1.0):
    """The cosines and signed sines [N, 1, 2 * pairs] for `rotate`.

    Args:
      positions_N: int32.
      inverse, magnitude: the results of `frequencies`.
    """
    half = len(inverse)
    inverse = np.pad(inverse, (0, -half % batch_invariant.LANES))
    angle = tf.cast(positions_N, tf.float32)[:, None] * inverse
    cos, sin = tf.cos(angle)[:, :half], tf.sin(angle)[:, :half]
    if magnitude != 1:
        cos, sin = cos * magnitude, sin * magnitude
    return tf.concat([cos, cos], 1)[:, None], tf.concat([-sin, sin], 1)[:, None]


def rotate(x, cos, sin, training=False):
    """Rotates each pair (i, i + width / 2) of the first `width` numbers of a head.

    Args:
      x: [N, heads, head width]. `width` is that of `cos`; later numbers do not change.
      cos, sin: the results of `rotation` for the rows.
      training: whether the caller will compute gradients.

    Returns:
      [N, heads, head width] in the dtype of x.
    """
    width = cos.shape[-1]
    if width < x.shape[-1]:
        x, rest = tf.split(x, [width, x.shape[-1] - width], -1)
        return tf.concat([rotate(x, cos, sin, training), rest], -1)
    if not training:
        return _rotate(x, cos, sin)

    @tf.custom_gradient
    def rotate_with_gradient(x):
        return _compiled(x, cos, sin), lambda dy: _compiled(dy, cos, -sin)

    return cast(tf.Tensor, rotate_with_gradient(x))


def _rotate(x, cos, sin):
    """Rotates all pairs of [N, heads, width] in float32."""
    wide = tf.cast(x, tf.float32)
    left, right = tf.split(wide, 2, -1)
    return tf.cast(wide * cos + tf.concat([right, left], -1) * sin, x.dtype)


_compiled = xla_cluster(_rotate)
