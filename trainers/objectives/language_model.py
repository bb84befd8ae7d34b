"""Next-token prediction, for pretraining and fine-tuning."""

import dataclasses
from typing import ClassVar

import tensorflow as tf

from trainers.objectives.loss import Loss
from zoo.fields import check_fraction
from zoo.layers.cross_entropy import linear_cross_entropy


@dataclasses.dataclass(kw_only=True, slots=True)
class LanguageModel:
    """The negative log-likelihood of each target token, in nats.

    Attributes:
      label_smoothing: the share of each target spread over the vocabulary
        (Szegedy et al. 2015, arXiv:1512.00567); not applied in evaluation.
    """

    name: ClassVar[str] = "language_model"
    needs: ClassVar[dict[str, str]] = {"policy": "model"}
    trains: ClassVar[tuple[str, ...]] = ("policy",)
    feed: ClassVar[str] = "text"

    label_smoothing: float = 0.0

    def __post_init__(self):
        check_fraction("objective.label_smoothing", self.label_smoothing)

    def loss(self, roles, batch, training) -> Loss:
        """The Loss of a Batch with `tokens`, `targets`, `weights` [B, T].

        Packed Batches have `segments` and `positions` [B, T] too.
        """
        model = roles["policy"]
        packed = {
            f"{name}_BT": batch[name]
            for name in ("segments", "positions")
            if name in batch
        }
        x_BTD = model.features(batch["tokens"], training=training, **packed)
        weight_VD, bias_V = model.head()
        weights_N = tf.reshape(batch["weights"], [-1])
        total = linear_cross_entropy(
            tf.reshape(x_BTD, (-1, x_BTD.shape[-1])),
            weight_VD,
            bias_V,
            tf.reshape(batch["targets"], [-1]),
            weights_N,
            softcap=getattr(model.config, "logit_softcap", 0.0),
            smoothing=self.label_smoothing if training else 0.0,
        )
        return Loss(total, tf.reduce_sum(weights_N), {})
