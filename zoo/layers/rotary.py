"""Rotary positions: angles that grow with the position, and how they are stretched.

A model that was trained on short texts reads longer ones when its slow pairs turn
slower still: all pairs (linear), or only those that made few turns within the texts
that it was trained on (llama3, yarn).

Sources: Su et al. 2021 (arXiv:2104.09864); Chen et al. 2023 (linear,
arXiv:2306.15595); Peng et al. 2023 (yarn, arXiv:2309.00071); Llama Team 2024 (llama3,
arXiv:2407.21783); Black et al. 2022 (a part of each head, arXiv:2204.06745).
"""

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from zoo.layers import batch_invariant, xla_cluster

SCALINGS = ("none", "linear", "llama3", "yarn")


class Scaling(NamedTuple):
    """How much slower pairs turn than they were trained to.

    Attributes:
      kind: "none"; "linear": all pairs; "llama3", "yarn": those that are slow.
      factor: by which a slow pair is slowed.
      context: the longest text before.
      slow, fast: a pair that made fewer turns than `slow` in `context` is slowed, one
        that made more than `fast` is left alone, in between it is a mixture.
      magnitude: of yarn's cosines and sines; 0 means 0.1 * ln(factor) + 1.
    """

    kind: str = "none"
    factor: float = 1.0
    context: int = 0
    slow: float = 1.0
    fast: float = 32.0
    magnitude: float = 0.0


AS_TRAINED = Scaling()


def frequencies(width, theta, scaling=AS_TRAINED):
    """The radians that each pair turns by a position.

    Args:
      width: of what is turned, two a pair.
      theta: the last pair is slower than the first by nearly this.
      scaling: a `Scaling`.

    Returns:
      A float32 array [width / 2], and what cosines and sines are multiplied by.
    """
    # rounded as transformers does: at position 2000 another last bit costs 1e-4
    share = np.arange(0, width, 2, dtype=np.float32) / width
    power = (theta ** share.astype(np.float64)).astype(np.float32)
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
    usual = 0.1 * math.log(max(scaling.factor, 1.0)) + 1
    return slow * (1 - kept) + inverse * kept, scaling.magnitude or usual


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
    """0 for yarn's fast pairs, 1 for its slow ones, a line from whole to whole pair."""

    def pair(turns):  # which pair makes so many
        ratio = scaling.context / (turns * 2 * math.pi)
        return width * math.log(ratio) / (2 * math.log(theta))

    first = max(math.floor(pair(scaling.fast)), 0)
    last = min(math.ceil(pair(scaling.slow)), width - 1)
    length = last - first or 0.001
    pairs = np.arange(width // 2, dtype=np.float32)
    return np.clip((pairs - first) / length, 0, 1)


def rotation(positions_N, inverse, magnitude=1.0):
    """The cosines and signed sines [N, 1, 2 * pairs] that `rotate` multiplies by.

    Args:
      positions_N: int32.
      inverse, magnitude: what `frequencies` gave.
    """
    half = len(inverse)
    inverse = np.pad(inverse, (0, -half % batch_invariant.LANES))
    angle = tf.cast(positions_N, tf.float32)[:, None] * inverse
    cos, sin = tf.cos(angle)[:, :half], tf.sin(angle)[:, :half]
    if magnitude != 1:
        cos, sin = cos * magnitude, sin * magnitude
    return tf.concat([cos, cos], 1)[:, None], tf.concat([-sin, sin], 1)[:, None]


def rotate(x, cos, sin, training=False):
    """Turns each pair (i, i + half) of the first numbers by its position's angle.

    Args:
      x: [N, heads, head width]; what lies behind the width of `cos` is left alone.
      cos, sin: what `rotation` gave for the rows.
      training: whether gradients will be asked for.
    """
    width = cos.shape[-1]
    if width < x.shape[-1]:
        x, rest = tf.split(x, [width, x.shape[-1] - width], -1)
        return tf.concat([rotate(x, cos, sin, training), rest], -1)
    if not training:
        return _turn(x, cos, sin)

    @tf.custom_gradient
    def turn(x):
        return _turn_fused(x, cos, sin), lambda dy: _turn_fused(dy, cos, -sin)

    return turn(x)


def _turn(x, cos, sin):
    wide = tf.cast(x, tf.float32)
    left, right = tf.split(wide, 2, -1)
    return tf.cast(wide * cos + tf.concat([right, left], -1) * sin, x.dtype)


_turn_fused = xla_cluster.cluster(_turn)
