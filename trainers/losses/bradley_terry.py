"""Losses of reward models: pairs of answers, or the best of several.

Sources: Bradley and Terry 1952; Touvron et al. 2023 (margins, arXiv:2307.09288);
Eisenstein et al. 2023 (centered rewards, arXiv:2312.09244); Ziegler et al. 2019 (the
best of several, arXiv:1909.08593).
"""

import tensorflow as tf

_NEVER = -1e9  # the logit of an absent answer


def pairs(rewards_B2, margin_B=0.0, center: float = 0.0) -> tf.Tensor:
    """-log s(r_chosen - r_rejected - margin) + center (r_chosen + r_rejected)^2.

    Args:
      rewards_B2: the chosen answer's in column 0, the rejected one's in column 1.
      margin_B: by how much the chosen reward is to be higher.
      center: the weight of the term that holds the sum of both near 0.

    Returns:
      The loss of each pair, float32 [B].
    """
    chosen_B, rejected_B = rewards_B2[:, 0], rewards_B2[:, 1]
    loss_B = tf.nn.softplus(margin_B - (chosen_B - rejected_B))
    return loss_B + center * tf.square(chosen_B + rejected_B)


def best_of(rewards_BK, there_BK=None) -> tf.Tensor:
    """The cross-entropy of the choice of the best answer among K.

    Args:
      rewards_BK: the best answer's in column 0.
      there_BK: bool, which answers there are; None is all.

    Returns:
      The loss of each group, float32 [B]. That of two answers is `pairs`.
    """
    if there_BK is not None:
        rewards_BK = tf.where(there_BK, rewards_BK, _NEVER)
    return tf.reduce_logsumexp(rewards_BK, 1) - rewards_BK[:, 0]
