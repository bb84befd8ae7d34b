"""Feeds: where the Batches of a run come from, by the name an objective gives."""

from trainers.feeds import table, text
from trainers.feeds.feed import Feed, Roles
from trainers.roles import Start
from trainers.run import Run
from zoo.data import augmentation
from zoo.fields import one_of

__all__ = ["BY_NAME", "Feed", "Roles", "make"]

BY_NAME = {"table": table.make, "text": text.make}


def make(run: Run, start: Start) -> Feed:
    """Reads the data that the Run's objective asks for.

    Raises:
      ValueError: data that are missing, empty, broken, or do not fit the model.
    """
    one_of(f"feed of {run.objective.name}", run.objective.feed, BY_NAME)
    _check_augment(run, start.config)
    return BY_NAME[run.objective.feed](run, start)


def _check_augment(run, config):
    """Refuses augmentation where a target is a token or a number of the text."""
    if not any(augmentation.parse(run.data.augment)):
        return
    if config.task != "classify" or config.reads != "text":
        raise ValueError(
            f"config.data.augment: {run.data.augment!r}, but only texts with one label "
            "allowed; a change of these data would make their targets wrong."
        )
