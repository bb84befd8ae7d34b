"""Classification by cross-entropy; regression by the mean squared error."""

import dataclasses
from typing import ClassVar

import tensorflow as tf

from trainers.objectives.loss import Loss
from zoo.fields import check_fraction


@dataclasses.dataclass(kw_only=True, slots=True)
class Classify:
    """Learns labels from Batches of `features` [B, F], `label` [B], `weights` [B].

    Attributes:
      label_smoothing: the share of each target spread over the classes.
    """

    name: ClassVar[str] = "classify"
    needs: ClassVar[dict[str, str]] = {"policy": "model"}
    trains: ClassVar[tuple[str, ...]] = ("policy",)
    feed: ClassVar[str] = "labels"

    label_smoothing: float = 0.0

    def __post_init__(self):
        check_fraction("objective.label_smoothing", self.label_smoothing)

    def loss(self, roles, batch, training) -> Loss:
        """The cross-entropy in nats and the accuracy; or the squared errors."""
        model, label, weights_B = roles["policy"], batch["label"], batch["weights"]
        y = model(batch["features"], training=training)
        weight = tf.reduce_sum(weights_B)
        if not model.config.classes:
            errors_B = tf.square(y - tf.cast(label, tf.float32))
            return Loss(tf.reduce_sum(errors_B * weights_B), weight, {})
        label = tf.cast(label, tf.int32)
        target_BC = tf.one_hot(label, model.config.classes)
        if training:
            share = self.label_smoothing
            target_BC = target_BC * (1 - share) + share / model.config.classes
        loss_B = tf.nn.softmax_cross_entropy_with_logits(target_BC, y)
        right_B = tf.cast(tf.argmax(y, -1, tf.int32) == label, tf.float32)
        return Loss(
            tf.reduce_sum(loss_B * weights_B),
            weight,
            {"accuracy": (tf.reduce_sum(right_B * weights_B), weight)},
        )
