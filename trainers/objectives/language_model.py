"""Next-token and hidden-token prediction, for pretraining and fine-tuning."""

import dataclasses
from typing import ClassVar

import tensorflow as tf

from trainers.objectives.features import features
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

        See `features` for what else a Batch may have. Of a model that guesses hidden
        tokens, few tokens are targets, so only those meet the head.
        """
        model = roles["policy"]
        targets_N = tf.reshape(batch["targets"], [-1])
        weights_N = tf.reshape(batch["weights"], [-1])
        x_ND = features(model, batch, training)
        if model.config.task == "fill_mask":
            place_M = tf.where(weights_N > 0)[:, 0]
            x_ND, targets_N, weights_N = (
                tf.gather(x, place_M) for x in (x_ND, targets_N, weights_N)
            )
        weight_VD, bias_V = model.head()
        total = linear_cross_entropy(
            x_ND,
            weight_VD,
            bias_V,
            targets_N,
            weights_N,
            softcap=getattr(model.config, "logit_softcap", 0.0),
            smoothing=self.label_smoothing if training else 0.0,
        )
        return Loss(total, tf.reduce_sum(weights_N), {})
