"""Policy gradients whose baseline is the other answers to a prompt: GRPO and relatives.

Sources: Shao et al. 2024 (GRPO, arXiv:2402.03300); Yu et al. 2025 (DAPO: clip-higher,
groups with variance, arXiv:2503.14476); Liu et al. 2025 (Dr. GRPO, arXiv:2503.20783);
Zheng et al. 2025 (GSPO, arXiv:2507.18071); Ahmadian et al. 2024 (RLOO,
arXiv:2402.14740).
"""

import dataclasses
from typing import ClassVar

import tensorflow as tf

from trainers.losses import kl as kl_lib
from trainers.losses.advantages import check_groups, of_groups, without_variance
from trainers.losses.masked import token_sum
from trainers.losses.policy_gradient import AGGREGATIONS, aggregate, policy_loss
from trainers.objectives.features import features
from trainers.objectives.logprobs import of_features
from trainers.objectives.loss import Loss
from trainers.objectives.rollout_options import RolloutOptions
from trainers.objectives.sampled import plain, sampled_logprobs
from zoo.fields import at_least, check_fraction, one_of


@dataclasses.dataclass(kw_only=True, slots=True)
class GRPO(RolloutOptions):
    """Raises the probability of answers that are better than others to their prompt.

    The advantage of an answer is its reward beside those of its group, divided by a
    deviation. Without that division ("none") it is the reward less the mean of the
    others, whose policy gradient is that of the mean reward. Division by the group's
    deviation optimises something else: prompts of nearly equal rewards count more, and
    the optimum under a divergence is another.

    The divergence from the reference is "reverse" KL(policy, reference), whose optimum
    is reference * exp(reward / kl_coefficient), or "forward" KL(reference, policy). In
    the "reward" the reverse one counts whole answers; it stays outside of `scale`. In
    the "loss" a divergence is that of each token, at the prefixes that were sampled.

    Attributes:
      samples: answers to one prompt, at least 2.
      aggregation: how tokens make a loss, see `policy_gradient.aggregate`: "dapo" and
        "bnpo" (the mean over tokens), "dr_grpo" (their sum over `max_new_tokens`),
        "grpo" (the mean over each answer, which favours long wrong answers), "gspo"
        (with the ratio of answers), "rloo" (with the ratio of answers, without means
        over tokens; its baseline is the mean of the other answers).
      scale: the deviation of rewards that divides: of the "group", the "batch" (all of
        a rollout), or "none"; "" is "none" for "rloo", and "group" for all others.
      clip_low, clip_high: the ratio is held in [1 - clip_low, 1 + clip_high]; a
        clip_high of 0 is clip_low.
      delta: the largest ratio where the advantage is negative; 0 is off.
      kl: "reverse", "forward", or "none".
      kl_place: "reward" or "loss"; "" is the reward, and the loss for "forward".
      kl_coefficient: the weight of the divergence; 0 needs no reference.
      reference: where the reference comes from: "start", "base" (the model without its
        adapters), or a model directory.
      mask_truncated: whether answers without an end token teach nothing; their rewards
        stay in the means of their groups. No divergence holds what teaches nothing.
      dynamic_sampling: whether a rollout asks more prompts in the place of those whose
        rewards are all equal. Such answers that are left are not in the means, and no
        divergence holds them.
      max_rounds: how often a rollout with `dynamic_sampling` samples at most; each
        round asks as many prompts as the first. 1 only leaves answers out.
    """

    name: ClassVar[str] = "grpo"
    trains: ClassVar[tuple[str, ...]] = ("policy",)

    samples: int = 8
    aggregation: str = "dapo"
    scale: str = ""
    clip_low: float = 0.2
    clip_high: float = 0.0
    delta: float = 0.0
    kl: str = "reverse"
    kl_place: str = ""
    kl_coefficient: float = 0.0
    reference: str = "start"
    mask_truncated: bool = False
    dynamic_sampling: bool = False
    max_rounds: int = 3

    def __post_init__(self):
        RolloutOptions.__post_init__(self)
        one_of("objective.aggregation", self.aggregation, AGGREGATIONS)
        check_groups(self.samples, self._scale)
        check_fraction("objective.clip_low", self.clip_low)
        at_least("objective.max_rounds", self.max_rounds, 1)
        for field in ("clip_high", "delta", "kl_coefficient"):
            at_least(f"objective.{field}", getattr(self, field), 0)
        if self.delta and self.delta <= 1 + self._clip_high:
            raise ValueError(
                f"objective.delta: {self.delta}, 0 or above 1 + clip_high, "
                f"{1 + self._clip_high}, allowed."
            )
        one_of("objective.kl_place", self.kl_place, ("", *kl_lib.PLACES))
        kl_lib.check_placement(self.kl, self._place)
        if self.kl_coefficient and self.kl == "none":
            raise ValueError(
                f"objective.kl_coefficient: {self.kl_coefficient}, 0 allowed where "
                "objective.kl is 'none'."
            )

    @property
    def rounds(self) -> int:
        """How often a rollout samples at most."""
        return self.max_rounds if self.dynamic_sampling else 1

    @property
    def needs(self) -> dict[str, str]:
        """The policy is the Run's model; the reference is frozen."""
        reference = {"reference": self.reference} if self.kl_coefficient else {}
        return {"policy": "model", **reference}

    @property
    def _scale(self) -> str:
        """Which deviation divides."""
        return self.scale or ("none" if self.aggregation == "rloo" else "group")

    @property
    def _clip_high(self) -> float:
        """How far above 1 the ratio may be."""
        return self.clip_high or self.clip_low

    @property
    def _place(self) -> str:
        """Where the divergence stands."""
        return self.kl_place or ("loss" if self.kl == "forward" else "reward")

    def advantages(self, rollout) -> dict[str, tf.Tensor]:
        """What the answers of a whole rollout teach.

        Args:
          rollout: `rewards` float32 [N] and `ended` bool [N], with the answers to one
            prompt together; `weights` float32 [N, T]; with a divergence in the reward
            also `own_logprobs`, `reference_logprobs` float32 [N, T].

        Returns:
          `advantages` float32 [N, T], and the `weights` of the tokens that teach.
        """
        weights_NT, rewards_N = rollout["weights"], rollout["rewards"]
        alone = self.aggregation == "rloo" or self._scale == "none"
        advantages_N = of_groups(rewards_N, self.samples, self._scale, alone)
        if self.kl_coefficient and self._place == "reward":
            k1_NT = kl_lib.k1(rollout["own_logprobs"], rollout["reference_logprobs"])
            k1_N = tf.reduce_sum(tf.where(weights_NT > 0, k1_NT, 0.0), -1)
            held_N = of_groups(k1_N, self.samples, "none", leave_one_out=True)
            advantages_N -= self.kl_coefficient * held_N
        teach_N = tf.ones_like(rewards_N)
        if self.mask_truncated:
            teach_N *= tf.cast(rollout["ended"], tf.float32)
        if self.dynamic_sampling:
            equal_N = tf.repeat(without_variance(rewards_N, self.samples), self.samples)
            teach_N *= tf.cast(~equal_N, tf.float32)
        return {
            "advantages": advantages_N[:, None] * weights_NT,
            "weights": teach_N[:, None] * weights_NT,
        }

    def loss(self, roles, batch, training) -> Loss:
        """The Loss of a Batch of answers.

        Args:
          roles: "policy".
          batch: `tokens`, `targets` int32 [B, T]; `weights`, `old_logprobs`,
            `advantages` float32 [B, T]; with a divergence in the loss also
            `reference_logprobs`.
          training: whether the caller computes gradients.

        Returns:
          The Loss, with the metrics of `policy_loss`, the entropy of a token, and the
          term of the divergence.
        """
        policy, mask_BT = roles["policy"], batch["weights"]
        targets_BT, old_BT = batch["targets"], batch["old_logprobs"]
        x_ND = features(policy, batch, training)
        logp_BT, entropy_BT = sampled_logprobs(policy, x_ND, targets_BT, self)
        how = {"aggregation": self.aggregation, "max_length": self.max_new_tokens}
        total, weight, metrics = policy_loss(
            logp_BT,
            old_BT,
            batch["advantages"],
            mask_BT,
            clip_low=self.clip_low,
            clip_high=self._clip_high,
            delta=self.delta,
            **how,
        )
        metrics["policy_loss"] = (total, weight)
        metrics["entropy"] = token_sum(entropy_BT, mask_BT)
        if self.kl_coefficient and self._place == "loss":
            own_BT = logp_BT
            if self.temperature != 1 or not plain(self):
                own_BT, _ = of_features(policy, x_ND, targets_BT)
            terms_BT = kl_lib.in_loss(
                self.kl, own_BT, batch["reference_logprobs"], old_BT
            )
            held, _ = aggregate(terms_BT, mask_BT, **how)
            total += self.kl_coefficient * held
            metrics["kl_loss"] = (held, weight)
        if self.dynamic_sampling and self.aggregation not in ("bnpo", "dapo"):
            # an answer that was left out must not count as one
            learnt_B = tf.cast(tf.reduce_any(mask_BT > 0, -1), tf.float32)
            share = tf.reduce_mean(learnt_B)
            weight *= share
            for name in metrics.keys() & {"policy_loss", "kl_loss"}:
                metrics[name] = (metrics[name][0], weight)
        return Loss(total, weight, metrics)
