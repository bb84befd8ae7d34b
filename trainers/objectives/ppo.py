"""Proximal policy optimisation from rewards of whole answers, with a critic.

Sources: Schulman et al. 2017 (PPO, arXiv:1707.06347) and 2016 (GAE, arXiv:1506.02438);
Ziegler et al. 2019 (the divergence in the reward, arXiv:1909.08593); Stiennon et al.
2020 (arXiv:2009.01325).
"""

import dataclasses
from typing import ClassVar

import tensorflow as tf

from trainers.losses import kl as kl_lib
from trainers.losses.advantages import gae, whiten
from trainers.losses.masked import token_sum
from trainers.losses.policy_gradient import policy_loss
from trainers.losses.value import explained_variance, value_loss
from trainers.objectives.features import features
from trainers.objectives.loss import Loss
from trainers.objectives.rollout_options import RolloutOptions
from trainers.objectives.sampled import sampled_logprobs
from zoo.fields import at_least, check_fraction


@dataclasses.dataclass(kw_only=True, slots=True)
class PPO(RolloutOptions):
    """Raises the probability of tokens that lead to more reward than the critic saw.

    The last token of an answer, its end token if there is one, is paid the reward.
    Every token is paid -kl_coefficient * (log policy - log reference), of the model's
    own probabilities at temperature 1. So the optimum of whole answers is reference *
    exp(reward / kl_coefficient).

    The optimizer of the method's authors is Adam with epsilon 1e-5.

    Attributes:
      gamma: how much the next token's worth counts; 1 is the sum of rewards.
      lam: of the generalised advantages: 0 trusts the critic, 1 the rewards.
      clip: the ratio is held in [1 - clip, 1 + clip].
      clip_value: how far a value may move from that of the rollout; 0 is off.
      value_weight: the weight of half the squared error of the critic.
      whiten_rewards: whether what tokens are paid is divided by its deviation.
      whiten_advantages: whether the advantages of a rollout get mean 0, deviation 1.
      kl_coefficient: the weight of the divergence; 0 needs no reference.
      kl_target: the divergence of an answer, in nats, that an adaptive coefficient
        holds; 0 keeps the coefficient.
      kl_horizon: answers in which the adaptive coefficient may change by a fifth.
      reference: where the reference comes from: "start", "base" (the model without its
        adapters), or a model directory.
      shared_body: whether the critic is a head on the policy's features, and its loss
        trains the policy's body too; else it has a copy of the body.
      epochs: how often the answers of a rollout are learnt.
    """

    name: ClassVar[str] = "ppo"
    trains: ClassVar[tuple[str, ...]] = ("policy", "critic")

    gamma: float = 1.0
    lam: float = 0.95
    clip: float = 0.2
    clip_value: float = 0.2
    value_weight: float = 0.1
    whiten_rewards: bool = False
    whiten_advantages: bool = True
    kl_coefficient: float = 0.05
    kl_target: float = 0.0
    kl_horizon: float = 10000.0
    reference: str = "start"
    shared_body: bool = False
    epochs: int = 4

    def __post_init__(self):
        RolloutOptions.__post_init__(self)
        for field in ("gamma", "lam"):
            if not 0 <= getattr(self, field) <= 1:
                raise ValueError(
                    f"objective.{field}: {getattr(self, field)}, 0 to 1 allowed."
                )
        check_fraction("objective.clip", self.clip)
        for field in ("clip_value", "value_weight", "kl_coefficient", "kl_target"):
            at_least(f"objective.{field}", getattr(self, field), 0)
        if not self.kl_horizon > 0:
            raise ValueError(
                f"objective.kl_horizon: {self.kl_horizon}, above 0 allowed."
            )
        if self.kl_target and not self.kl_coefficient:
            raise ValueError(
                f"objective.kl_coefficient: 0, but kl_target {self.kl_target} changes "
                "it by factors; above 0 allowed."
            )

    @property
    def needs(self) -> dict[str, str]:
        """Policy and critic learn; the reference is frozen."""
        reference = {"reference": self.reference} if self.kl_coefficient else {}
        critic = "value_head" if self.shared_body else "value"
        return {"policy": "model", "critic": critic, **reference}

    def values(self, roles, batch, training) -> tf.Tensor:
        """The critic's value of the text up to each token, float32 [B, T].

        Args:
          roles: "policy" and "critic".
          batch: `tokens` [B, T].
          training: whether the caller computes gradients.
        """
        body = roles["policy" if self.shared_body else "critic"]
        return _values(roles, features(body, batch, training), batch)

    def advantages(self, rollout) -> dict[str, tf.Tensor]:
        """What the answers of a whole rollout teach.

        Args:
          rollout: `rewards` float32 [N]; `weights`, `old_values` float32 [N, T]; with a
            reference also `own_logprobs`, `reference_logprobs` float32 [N, T], and the
            scalar `kl_coefficient`, which stands for the objective's own.

        Returns:
          `advantages` and `returns` float32 [N, T], 0 off the answers.
        """
        mask_NT = rollout["weights"]
        paid_NT = rollout["rewards"][:, None] * last_tokens(mask_NT)
        if self.kl_coefficient:
            coefficient = rollout.get("kl_coefficient", self.kl_coefficient)
            k1_NT = kl_lib.k1(rollout["own_logprobs"], rollout["reference_logprobs"])
            paid_NT -= coefficient * tf.where(mask_NT > 0, k1_NT, 0.0)
        if self.whiten_rewards:
            paid_NT = whiten(paid_NT, mask_NT, shift_mean=False)
        advantages_NT, returns_NT = gae(
            paid_NT, rollout["old_values"], mask_NT, self.gamma, self.lam
        )
        if self.whiten_advantages:
            advantages_NT = whiten(advantages_NT, mask_NT)
        return {"advantages": advantages_NT, "returns": returns_NT}

    def loss(self, roles, batch, training) -> Loss:
        """The Loss of a Batch of answers.

        Args:
          roles: "policy" and "critic".
          batch: `tokens`, `targets` int32 [B, T]; `weights`, `old_logprobs`,
            `advantages`, `returns`, `old_values` float32 [B, T].
          training: whether the caller computes gradients.

        Returns:
          The mean over tokens, with the metrics of `policy_loss` and `value_loss`, both
          losses, the entropy, and the part of the returns' variance that the critic
          explains.
        """
        policy, mask_BT = roles["policy"], batch["weights"]
        x_ND = features(policy, batch, training)
        logp_BT, entropy_BT = sampled_logprobs(policy, x_ND, batch["targets"], self)
        total, weight, metrics = policy_loss(
            logp_BT,
            batch["old_logprobs"],
            batch["advantages"],
            mask_BT,
            aggregation="dapo",
            clip_low=self.clip,
            clip_high=self.clip,
            max_length=self.max_new_tokens,
        )
        if not self.shared_body:
            x_ND = features(roles["critic"], batch, training)
        values_BT, returns_BT = _values(roles, x_ND, batch), batch["returns"]
        errors, _, of_values = value_loss(
            values_BT, batch["old_values"], returns_BT, mask_BT, clip=self.clip_value
        )
        metrics |= of_values
        metrics["policy_loss"] = (total, weight)
        metrics["value_loss"] = (errors, weight)
        metrics["entropy"] = token_sum(entropy_BT, mask_BT)
        metrics["explained_variance"] = explained_variance(
            tf.stop_gradient(values_BT), returns_BT, mask_BT
        )
        return Loss(total + self.value_weight * errors, weight, metrics)


def last_tokens(mask_NT) -> tf.Tensor:
    """1 at the last token of each answer, float32 [N, T]; no token of none."""
    later_NT = tf.cumsum(mask_NT, -1, exclusive=True, reverse=True)
    return tf.where((mask_NT > 0) & (later_NT == 0), 1.0, 0.0)


def _values(roles, x_ND, batch) -> tf.Tensor:
    """The critic's values of features, float32 [B, T]."""
    return tf.reshape(roles["critic"].values(x_ND), tf.shape(batch["tokens"]))
