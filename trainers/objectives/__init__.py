"""Objectives: one training method a file, and the contract they share.

An objective is a dataclass of its options with four members:

    name                                   how configs call it
    needs, trains                          the models it is given; those that learn
    feed                                   where its Batches come from: "text", "table"
    loss(cast, batch, training) -> Loss
"""

from trainers.objectives.classify import Classify
from trainers.objectives.language_model import LanguageModel

BY_NAME = {cls.name: cls for cls in (Classify, LanguageModel)}

__all__ = ["BY_NAME", "Classify", "LanguageModel"]
