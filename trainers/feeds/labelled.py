"""The feed of models that answer a text with labels."""

from trainers.feeds.feed import Feed
from trainers.roles import Start
from trainers.run import Run


def make(run: Run, start: Start) -> Feed:
    """Reads texts with labels.

    Raises:
      ValueError: the data or the model do not fit.
    """
    raise ValueError(f"config.data.format: {run.data.format!r} has no labels yet.")
