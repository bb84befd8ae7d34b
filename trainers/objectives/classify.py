"""Classification by cross-entropy; regression by the mean squared error."""

import dataclasses
from typing import ClassVar

import tensorflow as tf

from trainers.objectives.loss import Loss
from zoo.fields import check_fraction


@dataclasses.dataclass(kw_only=True, slots=True)
class Classify:
    """Learns the labels of table rows, of texts, or of the tokens of texts.

    Attributes:
      label_smoothing: the share of each target spread over the classes (Szegedy et al.
        2015, arXiv:1512.00567); not applied in evaluation.
    """

    name: ClassVar[str] = "classify"
    needs: ClassVar[dict[str, str]] = {"policy": "model"}
    trains: ClassVar[tuple[str, ...]] = ("policy",)
    feed: ClassVar[str] = "labels"

    label_smoothing: float = 0.0

    def __post_init__(self):
        check_fraction("objective.label_smoothing", self.label_smoothing)

    def loss(self, roles, batch, training) -> Loss:
        """The cross-entropy in nats and the accuracy; or the squared errors.

        Args:
          roles: "policy", whose task is "classify", "tag" or "regress".
          batch: `features` [B, F], or `tokens` [B, T] and `lengths` [B]; `label` and
            `weights`, both [B], or [B, T] to tag.
          training: whether the caller will compute gradients.
        """
        model, label, weights = roles["policy"], batch["label"], batch["weights"]
        reads = ("features",) if "features" in batch else ("tokens", "lengths")
        y = model(*(batch[name] for name in reads), training=training)
        weight = tf.reduce_sum(weights)
        if not model.config.classes:
            errors_B = tf.square(y - tf.cast(label, tf.float32))
            return Loss(tf.reduce_sum(errors_B * weights), weight, {})
        label = tf.cast(label, tf.int32)
        target = tf.one_hot(label, model.config.classes)  # [B, C] or [B, T, C]
        if training:
            share = self.label_smoothing
            target = target * (1 - share) + share / model.config.classes
        losses = tf.nn.softmax_cross_entropy_with_logits(target, y)
        right = tf.cast(tf.argmax(y, -1, tf.int32) == label, tf.float32)
        return Loss(
            tf.reduce_sum(losses * weights),
            weight,
            {"accuracy": (tf.reduce_sum(right * weights), weight)},
        )
