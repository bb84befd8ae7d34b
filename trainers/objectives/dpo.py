"""Direct preference optimisation and its family, on pairs of answers.

See `trainers.losses.preference` for the kinds and their sources.
"""

import dataclasses
from typing import ClassVar

import tensorflow as tf

from trainers.losses import preference
from trainers.objectives import replicas
from trainers.objectives.logprobs import logprobs
from trainers.objectives.loss import Loss
from trainers.objectives.mismatched import mismatched
from zoo.fields import at_least, one_of


@dataclasses.dataclass(kw_only=True, slots=True)
class DPO:
    """Raises the log-probability of chosen answers over that of rejected ones.

    The implicit reward of an answer is beta times its score.

    Attributes:
      kind: of `trainers.losses.preference.KINDS`. Where a score is a sum, beta is about
        0.1; of sigmoid_norm and simpo, it is about 2 to 10.
      beta: above 0; a larger one holds the policy nearer to the reference.
      label_smoothing: of conservative and robust, the share of pairs with swapped
        answers; above 0 and below 0.5.
      gamma: of simpo, the margin of the rewards.
      desirable, undesirable: of kto, the weights of chosen and rejected answers.
      reference: "start" is a frozen copy of the model before the first step. "base" is
        the model with its adapters off. "cached" is the model before the first step,
        whose log-probabilities are computed once and kept in the workdir. Else it is a
        model directory; empty for simpo and orpo, which have none.
    """

    name: ClassVar[str] = "dpo"
    trains: ClassVar[tuple[str, ...]] = ("policy",)
    feed: ClassVar[str] = "preferences"
    task: ClassVar[str] = "generate"

    kind: str = "sigmoid"
    beta: float = 0.1
    label_smoothing: float = 0.0
    gamma: float = 0.5
    desirable: float = 1.0
    undesirable: float = 1.0
    reference: str = "start"

    def __post_init__(self):
        one_of("objective.kind", self.kind, preference.KINDS)
        if not self.beta > 0:
            raise ValueError(f"objective.beta: {self.beta}, above 0 allowed.")
        for field in ("gamma", "desirable", "undesirable"):
            at_least(f"objective.{field}", getattr(self, field), 0)
        smoothed = self.kind in preference.SMOOTHED
        if smoothed and not 0 < self.label_smoothing < 0.5:
            raise ValueError(
                f"objective.label_smoothing: {self.label_smoothing}, above 0 and below "
                f"0.5 allowed for the kind {self.kind}."
            )
        if not smoothed and self.label_smoothing:
            raise ValueError(
                f"objective.label_smoothing: {self.label_smoothing}, 0 allowed for the "
                f"kind {self.kind}; {', '.join(preference.SMOOTHED)} have it."
            )
        if (self.kind in preference.ALONE) != (not self.reference):
            allowed = "start, base, cached or a model directory"
            if self.kind in preference.ALONE:
                allowed = "'' (none)"
            raise ValueError(
                f"objective.reference: {self.reference!r}, {allowed} allowed for the "
                f"kind {self.kind}."
            )
        if self.kind == "kto" and self.reference == "cached":
            raise ValueError(
                "objective.reference: 'cached', but kto also needs the reference's "
                "view of mismatched answers; start, base or a model directory allowed."
            )

    @property
    def needs(self) -> dict[str, str]:
        """The policy is the Run's model; the reference may need a model of its own."""
        if self.reference in ("", "cached"):
            return {"policy": "model"}
        return {"policy": "model", "reference": self.reference}

    @property
    def whole_batch(self) -> bool:
        """Whether pairs depend on each other: those of kto share an estimate."""
        return self.kind == "kto"

    def loss(self, roles, batch, training) -> Loss:
        """The mean loss of the pairs of a Batch.

        The metrics are the share of pairs with a higher reward of the chosen answer,
        the margin of the rewards, and both rewards; of kto also the `kl` of its loss.

        Args:
          roles: "policy", and "reference" where there is one.
          batch: `tokens`, `targets`, `weights` [B, 2, T], `lengths` [B, 2], and
            `reference_logprobs` [B, 2], the sums of a cached reference. A pair of
            length 0 is absent.
          training: whether the caller computes gradients.
        """
        weights_B = tf.cast(batch["lengths"][:, 0] > 0, tf.float32)
        lengths_B2 = tf.reduce_sum(batch["weights"], -1)
        sums_B2 = answer_logprobs(roles["policy"], batch, training)
        reference_B2 = self._reference(roles, batch, training)
        scores_B2 = preference.scores(self.kind, sums_B2, lengths_B2, reference_B2)
        weight = tf.reduce_sum(weights_B)
        metrics = {}
        if self.kind == "kto":
            kl = self._kl(roles, batch, training)
            metrics["kl"] = (kl * weight, weight)
            losses_B = preference.kto(
                scores_B2, kl, self.beta, self.desirable, self.undesirable
            )
        else:
            losses_B = preference.losses(
                self.kind, scores_B2, self.beta, self.label_smoothing, self.gamma
            )
        rewards_B2 = self.beta * tf.stop_gradient(scores_B2)
        metrics |= {
            name: (tf.reduce_sum(x_B * weights_B), weight)
            for name, x_B in of_rewards(rewards_B2).items()
        }
        return Loss(tf.reduce_sum(losses_B * weights_B), weight, metrics)

    def _reference(self, roles, batch, training):
        """The sums of the reference, [B, 2], or None."""
        if self.reference == "cached":
            return batch["reference_logprobs"]
        if not self.reference:
            return None
        # the same path as the policy's, so that both are equal before the first step
        found_B2 = answer_logprobs(roles["reference"], batch, training)
        return tf.stop_gradient(found_B2)

    def _kl(self, roles, batch, training):
        """The mean log-ratio of answers to other prompts, over all replicas."""
        other = mismatched(batch, roles["policy"].limit)
        there_N = tf.cast(tf.reduce_any(other["weights"] > 0, 1), tf.float32)

        def sums_of(model):
            logp_NT, _ = logprobs(model, other, training)
            return tf.reduce_sum(logp_NT * other["weights"], 1)

        ratio_N = sums_of(roles["policy"]) - sums_of(roles["reference"])
        total = replicas.sum_of_all(tf.reduce_sum(ratio_N * there_N))
        return preference.kto_kl(total, replicas.sum_of_all(tf.reduce_sum(there_N)))


def answer_logprobs(model, batch, training) -> tf.Tensor:
    """The log-probability of each answer of groups, summed over its tokens.

    Args:
      model: a language model.
      batch: `tokens`, `targets` and `weights` [B, G, T].
      training: whether the caller computes gradients.

    Returns:
      float32 [B, G].
    """
    _, groups, length = batch["tokens"].shape
    length = length or tf.shape(batch["tokens"])[2]
    names = ("tokens", "targets", "weights")
    flat = {name: tf.reshape(batch[name], (-1, length)) for name in names}
    logp_NT, _ = logprobs(model, flat, training)
    sums_N = tf.reduce_sum(logp_NT * flat["weights"], 1)
    return tf.reshape(sums_N, (-1, groups))


def of_rewards(rewards_B2) -> dict[str, tf.Tensor]:
    """What is told of the rewards of pairs: name to float32 [B].

    Equal rewards are no success of a model, so they count as wrong.
    """
    chosen_B, rejected_B = rewards_B2[:, 0], rewards_B2[:, 1]
    return {
        "accuracy": tf.cast(chosen_B > rejected_B, tf.float32),
        "margin": chosen_B - rejected_B,
        "chosen_reward": chosen_B,
        "rejected_reward": rejected_B,
    }
