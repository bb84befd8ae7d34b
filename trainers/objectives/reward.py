"""Reward models: a number for a text, learnt from preferences.

See `trainers.losses.bradley_terry` for the losses and their sources.
"""

import dataclasses
from typing import ClassVar

import tensorflow as tf

from trainers.losses import bradley_terry
from trainers.objectives.dpo import of_rewards
from trainers.objectives.loss import Loss
from zoo.fields import at_least


@dataclasses.dataclass(kw_only=True, slots=True)
class Reward:
    """Gives the chosen answer a higher reward than the rejected ones.

    The model reads a prompt and an answer without its end token, as a client sends
    them, and answers at the last token. Pairs may have a margin. The best of several
    answers is learnt as one class among them.

    Attributes:
      center: the weight of (r_chosen + r_rejected)^2, which holds rewards near 0; 0 is
        off.
    """

    name: ClassVar[str] = "reward"
    needs: ClassVar[dict[str, str]] = {"policy": "model"}
    trains: ClassVar[tuple[str, ...]] = ("policy",)
    feed: ClassVar[str] = "preferences"
    task: ClassVar[str] = "regress"

    center: float = 0.0

    def __post_init__(self):
        at_least("objective.center", self.center, 0)

    def loss(self, roles, batch, training) -> Loss:
        """The mean loss of the groups of a Batch.

        The metrics are those of `of_rewards`, where the rejected reward is the highest
        one, and `brier`: the mean square of 1 - s(margin), the error of the probability
        that the model gives to the label (Brier 1950).

        Args:
          roles: "policy", a model `headed` whose task is "regress".
          batch: `tokens` [B, G, T] and `lengths` [B, G], the chosen answer first. An
            answer of length 0 is absent. Pairs may have a `margin` [B].
          training: whether the caller computes gradients.
        """
        there_BG = batch["lengths"] > 0
        weights_B = tf.cast(there_BG[:, 0], tf.float32)
        rewards_BG = rewards_of(roles["policy"], batch, training)
        if rewards_BG.shape[1] == 2:
            margin_B = batch.get("margin", tf.zeros_like(weights_B))
            losses_B = bradley_terry.pairs(rewards_BG, margin_B, self.center)
        else:
            losses_B = bradley_terry.best_of(rewards_BG, there_BG)
        lowest = rewards_BG.dtype.min
        others_BG = tf.where(there_BG[:, 1:], rewards_BG[:, 1:], lowest)
        best_B = tf.where(weights_B > 0, tf.reduce_max(others_BG, 1), 0.0)
        shown = of_rewards(
            tf.stop_gradient(tf.stack([rewards_BG[:, 0], best_B], axis=1))
        )
        shown["brier"] = tf.square(tf.sigmoid(-shown["margin"]))
        weight = tf.reduce_sum(weights_B)
        return Loss(
            tf.reduce_sum(losses_B * weights_B),
            weight,
            {n: (tf.reduce_sum(x_B * weights_B), weight) for n, x_B in shown.items()},
        )


def rewards_of(model, batch, training=False) -> tf.Tensor:
    """The rewards of groups of answers, float32 [B, G].

    Args:
      model: `headed`, with the task "regress".
      batch: `tokens` [B, G, T] and `lengths` [B, G].
      training: whether the caller computes gradients.
    """
    _, groups, length = batch["tokens"].shape
    length = length or tf.shape(batch["tokens"])[2]
    tokens_NT = tf.reshape(batch["tokens"], (-1, length))
    lengths_N = tf.reshape(batch["lengths"], [-1])
    rewards_N = model(tokens_NT, lengths_N, training=training)
    return tf.reshape(rewards_N, (-1, groups))
