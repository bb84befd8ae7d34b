"""Objectives: one training method a file, and the contract they share.

An objective is a dataclass of its options with four members:

    name                                   how configs call it
    needs, trains      role to where its model comes from (`trainers.roles`); the roles
                       that learn, of which the first is kept as the run's model
    feed               where its Batches come from, a name of `trainers.feeds`
    loss(roles, batch, training) -> Loss

`needs` may be a property, so that a field of the objective decides it. An objective
whose examples depend on each other also has `whole_batch = True`: accumulation is
refused, and its loss gathers what it needs from all replicas.

An objective of rollouts is a `RolloutOptions` and has two more members. Their Batches
are what the policy sampled:

    advantages(rollout)                    what the answers of a whole rollout teach
    values(roles, batch, training)         of a critic, before the rollout is learnt
"""

from trainers.objectives.classify import Classify
from trainers.objectives.contrastive import Contrastive
from trainers.objectives.distill import Distill
from trainers.objectives.grpo import GRPO
from trainers.objectives.language_model import LanguageModel
from trainers.objectives.ppo import PPO

_ALL = (Classify, Contrastive, Distill, GRPO, LanguageModel, PPO)
BY_NAME = {cls.name: cls for cls in _ALL}

__all__ = [
    "BY_NAME",
    "GRPO",
    "PPO",
    "Classify",
    "Contrastive",
    "Distill",
    "LanguageModel",
]
