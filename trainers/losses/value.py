"""The clipped loss of the values of tokens (Schulman et al. 2017, arXiv:1707.06347)."""

import tensorflow as tf

from trainers.losses.masked import token_sum


def value_loss(values_BT, old_BT, returns_BT, mask_BT, *, clip: float = 0.0):
    """The sum over tokens of half the squared error.

    With a clip, the error is the larger one of two: that of the value, and that of the
    value held within `clip` of the old one.

    Args:
      values_BT: with the gradient.
      old_BT: the values at the rollout.
      returns_BT: what the values should be.
      mask_BT: float32, 1 at the tokens that count; elsewhere no value matters.
      clip: in units of the reward; 0 is off.

    Returns:
      (sum, weight, metrics): float32 scalars. The weight is the number of tokens. The
      metric is (sum, weight) too: `value_clip`, the share of tokens whose value moved
      further than the clip.
    """
    held = mask_BT > 0
    values_BT, old_BT, returns_BT = (
        tf.where(held, x, 0.0) for x in (values_BT, old_BT, returns_BT)
    )
    errors_BT = tf.square(values_BT - returns_BT)
    metrics = {}
    if clip:
        near_BT = tf.clip_by_value(values_BT, old_BT - clip, old_BT + clip)
        errors_BT = tf.maximum(errors_BT, tf.square(near_BT - returns_BT))
        moved_BT = tf.cast(tf.abs(values_BT - old_BT) > clip, tf.float32)
        metrics["value_clip"] = token_sum(moved_BT, mask_BT)
    return *token_sum(errors_BT / 2, mask_BT), metrics


def explained_variance(values_BT, returns_BT, mask_BT):
    """(sum, weight) of 1 - Var(returns - values) / Var(returns) over tokens.

    1 is a perfect value, 0 no better than a constant. It is exact over the tokens
    given. Where several parts are added, each is centred on its own means.
    """

    def squares(x_BT):
        total, count = token_sum(x_BT, mask_BT)
        return token_sum(tf.square(x_BT - total / tf.maximum(count, 1.0)), mask_BT)[0]

    spread = squares(returns_BT)
    return spread - squares(returns_BT - values_BT), spread
