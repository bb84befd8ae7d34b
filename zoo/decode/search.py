"""The knobs of beam search as tensors, one value for each row."""

from typing import Any, NamedTuple

import tensorflow as tf

from zoo.generation_config import SEARCH, GenerationConfig
from zoo.knobs import Knob, Range


class Search(NamedTuple):
    """The knobs of beam search: one tensor [B] for each of `generation_config.SEARCH`.

    Types, ranges and meanings are those of that table.
    """

    beams: Any
    length_penalty: Any
    early_stopping: Any
    num_return_sequences: Any
    no_repeat_ngram: Any

    @classmethod
    def specs(cls) -> "Search":
        """The tf.TensorSpec of each knob."""
        return cls(*(tf.TensorSpec([None], knob.dtype) for knob in SEARCH))

    @classmethod
    def filled(cls, generation: GenerationConfig, rows: int) -> "Search":
        """The values of a GenerationConfig for every row."""
        values = (
            tf.constant(getattr(generation, knob.name), knob.dtype) for knob in SEARCH
        )
        return cls(*(tf.fill([rows], value) for value in values))


def searching(beams: int) -> tuple[Knob, ...]:
    """The knobs of a search with so many beams at most; none of 0 beams."""
    if not beams:
        return ()
    few = {name: Range(1, beams) for name in ("beams", "num_return_sequences")}
    return tuple(knob._replace(range=few.get(knob.name, knob.range)) for knob in SEARCH)
