"""Rewards: numbers that say how good a sampled answer is.

    rewards.make(entries, ...)   the rewards of a config: scores of samples, in parallel
    rewards.register(name)       a decorator for a function of your own
    rewards.Sample               what a function reads

`functions` has the built-in ones, and `model` the reward of a model directory.
"""

from trainers.rewards.registry import register
from trainers.rewards.sample import Sample
from trainers.rewards.scoring import Rewards, make

__all__ = ["Rewards", "Sample", "make", "register"]
