"""Asks more prompts until enough groups of answers have rewards that differ.

Equal rewards teach nothing, so a rollout of few groups with variance is a small one.
Source: Yu et al. 2025 (dynamic sampling, DAPO, arXiv:2503.14476, section 3.2).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from trainers.rollouts.sampling import Answers


class Scored(NamedTuple):
    """Answers with their rewards.

    Attributes:
      answers: N of them.
      rewards: float64 [N].
      parts: name to the part of the reward, [N].
    """

    answers: Answers
    rewards: np.ndarray
    parts: dict[str, np.ndarray]


class Sampled(NamedTuple):
    """What a rollout sampled, and what it learns of it.

    Attributes:
      every: the answers of all rounds, those of one prompt together.
      learnt: those of as many prompts as one round asks.
      rounds: how many there were.
    """

    every: Scored
    learnt: Scored
    rounds: int


def until_full(ask: Callable[[int], Scored], samples: int, most: int) -> Sampled:
    """Asks until there are as many groups with variance as a round has groups.

    Of more such groups the first ones are learnt. Where they are still too few after
    the last round, the first groups without variance take the free places, so that all
    rollouts have equally many rows.

    Args:
      ask: the answers of a round, by its number; equally many in each.
      samples: answers to one prompt.
      most: rounds.
    """
    rounds = [ask(0)]
    groups = len(rounds[0].rewards) // samples
    while len(rounds) < most and _differ(rounds, samples).sum() < groups:
        rounds.append(ask(len(rounds)))
    every = _joined(rounds)
    first_G = np.argsort(~_differ(rounds, samples), kind="stable")[:groups]
    rows_GS = np.sort(first_G)[:, None] * samples + np.arange(samples)
    return Sampled(every, _taken(every, rows_GS.ravel()), len(rounds))


def differing(rewards_N: np.ndarray, samples: int) -> np.ndarray:
    """Whether the float32 rewards of a group differ, bool [N / samples]."""
    rewards_GS = rewards_N.astype(np.float32).reshape(-1, samples)
    return np.ptp(rewards_GS, axis=1) > 0


def _differ(rounds, samples):
    """The same for all rounds."""
    return differing(np.concatenate([r.rewards for r in rounds]), samples)


def _joined(rounds) -> Scored:
    """The answers of all rounds, in their order."""
    answers = [r.answers for r in rounds]
    return Scored(
        Answers(
            [sample for a in answers for sample in a.samples],
            np.concatenate([a.ended for a in answers]),
            np.concatenate([a.logprobs for a in answers]),
        ),
        np.concatenate([r.rewards for r in rounds]),
        {
            name: np.concatenate([r.parts[name] for r in rounds])
            for name in rounds[0].parts
        },
    )


def _taken(scored, rows_N) -> Scored:
    """Some of the answers."""
    answers = scored.answers
    return Scored(
        Answers(
            [answers.samples[i] for i in rows_N],
            answers.ended[rows_N],
            answers.logprobs[rows_N],
        ),
        scored.rewards[rows_N],
        {name: values[rows_N] for name, values in scored.parts.items()},
    )
