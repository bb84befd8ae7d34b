"""Chooses the evaluation of a model by what its Config says: `reads` and `task`."""

from trainers.evaluation import language, table
from trainers.evaluation.measured import Evaluated
from trainers.evaluation.request import Request
from zoo.directory import Loaded
from zoo.fields import one_of


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
    if config.task != "generate":
        raise ValueError(f"--model: {where} is no language model.")
    if loaded.tokenizer is None:
        raise ValueError(f"--model: {where} has no tokenizer.json.")
    one_of("--format", request.format, language.FORMATS)
    if request.format != "lm":
        return language.of_rows(loaded, request)
    if request.metrics:
        raise ValueError(
            "--metrics: documents have no right answers; give --format, one of "
            f"{', '.join(language.FORMATS[1:])}."
        )
    return language.of_documents(loaded, request)
