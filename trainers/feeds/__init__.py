"""Feeds: where the Batches of a run come from, by the name an objective gives."""

from trainers.feeds import labelled, table, text
from trainers.feeds.feed import Feed, Roles
from trainers.roles import Start
from trainers.run import Run
from zoo import registry
from zoo.fields import one_of

__all__ = ["BY_NAME", "Feed", "Roles", "make"]


def _labels(run: Run, start: Start) -> Feed:
    """The feed of labels: of a table's rows, or of texts."""
    config = start.config
    if config.task not in ("classify", "regress", "tag"):
        raise ValueError(
            f"config.model: {registry.name_of(config)} has no labels, which the "
            f"objective {run.objective.name} learns; the model headed puts them on it."
        )
    by_reads = {"features": table.make, "text": labelled.make}
    return by_reads[config.reads](run, start)


BY_NAME = {"labels": _labels, "text": text.make}


def make(run: Run, start: Start) -> Feed:
    """Reads the data that the Run's objective asks for.

    Raises:
      ValueError: data that are missing, empty, broken, or do not fit the model.
    """
    one_of(f"feed of {run.objective.name}", run.objective.feed, BY_NAME)
    return BY_NAME[run.objective.feed](run, start)
