"""What all kinds of attention share: how products become scores, and heads.

`tf.where` applies the masks: the graph optimizer would rewrite a product and a scaled
sum into a slow fused kernel.
"""

from typing import NamedTuple

import tensorflow as tf

NEVER = -30000.0  # finite in bfloat16, and exp() of it is 0


class Scores(NamedTuple):
    """How the products of queries and keys become attention scores.

    Attributes:
      scale: the factor of the products; 0 means the square root of 1 / head width.
      softcap: scaled products become softcap * tanh(product / softcap); 0 is off.
      window: how many positions a position sees, itself and earlier ones; 0 means all.
    """

    scale: float = 0.0
    softcap: float = 0.0
    window: int = 0


PLAIN = Scores()


def split(x, batch, heads):
    """[B*T, H * head width] to [B, H, T, head width]."""
    x = tf.reshape(x, (batch, -1, heads, x.shape[-1] // heads))
    return tf.transpose(x, (0, 2, 1, 3))


def join(x_BHTd):
    """[B, H, T, head width] to [B*T, H * head width]."""
    width = x_BHTd.shape[1] * x_BHTd.shape[3]
    return tf.reshape(tf.transpose(x_BHTd, (0, 2, 1, 3)), (-1, width))


def masked(z, seen):
    """The scores, and `NEVER` where `seen` is False."""
    return tf.where(seen, z, tf.cast(NEVER, z.dtype))


def capped(z, softcap):
    """The capped scores, and the derivative of the cap (None without a cap)."""
    if not softcap:
        return z, None
    t = tf.tanh(z / softcap)
    return softcap * t, 1 - t * t
