"""Rewards: numbers that say how good a sampled answer is.

    rewards.make(entries, ...)   the rewards of a config: scores of samples, in parallel
    rewards.check_columns(...)   refuses examples without the columns that rewards read
    rewards.register(name)       a decorator for a function of your own
    rewards.Sample               what a function reads

`functions` has the built-in ones, and `model` the reward of a model directory.
"""

import typing

from trainers.rewards.registry import check_columns, register
from trainers.rewards.sample import Sample

if typing.TYPE_CHECKING:
    from trainers.rewards.scoring import Rewards, make

__all__ = ["Rewards", "Sample", "check_columns", "make", "register"]


def __getattr__(name: str) -> typing.Any:
    """Imports `scoring` on first use: workers need neither it nor its NumPy."""
    if name in ("Rewards", "make"):
        from trainers.rewards import scoring

        return getattr(scoring, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
