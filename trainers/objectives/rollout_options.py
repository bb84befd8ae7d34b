"""The options that all objectives share whose examples the model samples itself."""

import dataclasses
from typing import ClassVar

from zoo.fields import at_least, check_fraction, one_of


@dataclasses.dataclass(kw_only=True, slots=True)
class RolloutOptions:
    """How answers are sampled and scored, and how often each of them is learnt.

    A rollout samples answers for `data.batch * minibatches / samples` prompts. Each of
    its `epochs` learns all of them once, in `minibatches` optimizer steps.

    Attributes:
      samples: answers to one prompt.
      minibatches: optimizer steps of one epoch of a rollout, each of `data.batch`
        answers.
      epochs: how often a rollout's answers are learnt.
      max_new_tokens: the most tokens of an answer, with its end.
      temperature: above 0; of the distribution that answers are drawn from.
      top_k, top_p: of that distribution; 0 and 1 are off.
      rewards: entries "WEIGHT NAME" or "WEIGHT NAME:ARGUMENT" of `trainers.rewards`.
      missing_end: what is added to the reward of an answer without an end token.
      reward_timeout: seconds that the rewards of one answer may take.
      reward_errors: "stop" ends the run at a reward that fails; "score" gives the
        part that failed the score `error_reward`, before its weight.
      error_reward: see `reward_errors`.
    """

    feed: ClassVar[str] = "rollouts"

    samples: int = 1
    minibatches: int = 1
    epochs: int = 1
    max_new_tokens: int = 64
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    rewards: tuple[str, ...] = ()
    missing_end: float = 0.0
    reward_timeout: float = 10.0
    reward_errors: str = "stop"
    error_reward: float = 0.0

    def __post_init__(self):
        for field in ("samples", "minibatches", "epochs", "max_new_tokens"):
            at_least(f"objective.{field}", getattr(self, field), 1)
        at_least("objective.top_k", self.top_k, 0)
        for field in ("temperature", "reward_timeout"):
            if not getattr(self, field) > 0:
                raise ValueError(
                    f"objective.{field}: {getattr(self, field)}, above 0 allowed."
                )
        if self.top_p != 1.0:
            check_fraction("objective.top_p", self.top_p)
        one_of("objective.reward_errors", self.reward_errors, ("score", "stop"))

    @property
    def period(self) -> int:
        """The optimizer steps of one rollout."""
        return self.epochs * self.minibatches

    @property
    def rounds(self) -> int:
        """How often a rollout samples at most."""
        return 1
