"""Distillation: a student learns the next-token distributions of a teacher.

Sources: Hinton et al. 2015 (arXiv:1503.02531); Agarwal et al. 2023 (arXiv:2306.13649),
without their samples of the student: the texts are those of the data.
"""

import dataclasses
from typing import ClassVar

import tensorflow as tf

from trainers.objectives.features import features
from trainers.objectives.loss import Loss
from zoo.fields import one_of
from zoo.layers import divergence


@dataclasses.dataclass(kw_only=True, slots=True)
class Distill:
    """The divergence from a teacher, mixed with the loss of the target tokens.

    Evaluation gives the loss of the target tokens alone, which compares with that of
    the objective `language_model`.

    Attributes:
      teacher: a model directory, or another source of `zoo.directory.load`, with the
        vocabulary of the student.
      divergence: "forward_kl", "reverse_kl" or "jsd", see `zoo.layers.divergence`.
      temperature: above 0; divides the logits of both.
      alpha: from 0 to 1, the part of the divergence in the loss; the rest is that of
        the target tokens.
    """

    name: ClassVar[str] = "distill"
    trains: ClassVar[tuple[str, ...]] = ("policy",)
    feed: ClassVar[str] = "text"

    teacher: str = ""
    divergence: str = "forward_kl"
    temperature: float = 1.0
    alpha: float = 0.5

    def __post_init__(self):
        one_of("objective.divergence", self.divergence, divergence.KINDS)
        if not self.temperature > 0:
            raise ValueError(
                f"objective.temperature: {self.temperature}, above 0 allowed."
            )
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"objective.alpha: {self.alpha}, 0 to 1 allowed.")

    @property
    def needs(self) -> dict[str, str]:
        """The student is the Run's model; the teacher is frozen."""
        return {"policy": "model", "teacher": self.teacher}

    def loss(self, roles, batch, training) -> Loss:
        """The Loss of a Batch with `tokens`, `targets`, `weights` [B, T].

        The metrics are the divergence and the cross-entropy a target token, in nats.
        """
        weights_N = tf.reshape(batch["weights"], [-1])
        loss, apart, hard = divergence.linear_distillation(
            _head(roles["policy"], batch, training),
            _head(roles["teacher"], batch, False),
            tf.reshape(batch["targets"], [-1]),
            weights_N,
            self.divergence,
            self.temperature,
            self.alpha,
        )
        weight = tf.reduce_sum(weights_N)
        metrics = {"divergence": (apart, weight), "cross_entropy": (hard, weight)}
        return Loss(loss if training else hard, weight, metrics)


def _head(model, batch, training) -> divergence.Head:
    """The head of a language model and its input for a Batch."""
    softcap = getattr(model.config, "logit_softcap", 0.0)
    weight_VD, bias_V = model.head()
    x_ND = features(model, batch, training)
    return divergence.Head(x_ND, weight_VD, bias_V, softcap)
