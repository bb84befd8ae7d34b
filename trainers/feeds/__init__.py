"""Feeds: where the Batches of a run come from, by the name an objective gives."""

from trainers.feeds import pairs, table, text
from trainers.feeds.feed import Feed, Roles
from trainers.roles import Start
from trainers.run import Run
from zoo.fields import one_of

__all__ = ["BY_NAME", "Feed", "Roles", "make"]

BY_NAME = {"pairs": pairs.make, "table": table.make, "text": text.make}


def make(run: Run, start: Start) -> Feed:
    """Reads the data that the Run's objective asks for.

    Raises:
      ValueError: data that are missing, empty, broken, or do not fit the model.
    """
    one_of(f"feed of {run.objective.name}", run.objective.feed, BY_NAME)
    return BY_NAME[run.objective.feed](run, start)
