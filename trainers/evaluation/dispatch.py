"""Chooses the evaluation of a model by what its Config says: `reads` and `task`."""

from collections.abc import Callable

from trainers.evaluation import (
    encoders,
    labelled,
    language,
    preferences,
    seq2seq,
    table,
)
from trainers.evaluation.measured import Evaluated
from trainers.evaluation.request import Request
from zoo.directory import Loaded

_TEXT: dict[str, Callable[[Loaded, Request], Evaluated]] = {
    "generate": language.evaluate,
    "seq2seq": seq2seq.evaluate,
    "classify": labelled.evaluate,
    "regress": labelled.evaluate,
    "tag": labelled.evaluate,
    "embed": encoders.of_pairs,
    "fill_mask": encoders.of_masks,
}


def evaluated(loaded: Loaded, where: str, request: Request) -> Evaluated:
    """Evaluates a model.

    Args:
      loaded: the model and its tokenizer.
      where: its directory, for messages.
      request: the data and the metrics.

    Raises:
      ValueError: a model that this command does not evaluate, or data that do not fit.
    """
    config = loaded.model.config
    if config.reads == "features":
        return table.of_table(loaded.model, request)
    if config.task not in _TEXT:
        raise ValueError(f"--model: {where} is no language model.")
    if loaded.tokenizer is None:
        raise ValueError(f"--model: {where} has no tokenizer.json.")
    if config.task == "generate" and request.format == "pair":
        return encoders.of_pairs(loaded, request)  # which has embeddings too
    if request.format == "preference" and config.task in ("generate", "regress"):
        return preferences.evaluate(loaded, request)
    return _TEXT[config.task](loaded, request)
