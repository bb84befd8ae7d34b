"""The type of a feed: where the Batches of a run come from.

A feed's position is one integer, the number of the next batch. So a checkpoint stores
the position by storing the step.
"""

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from trainers.objectives.loss import Mean
from trainers.run import Run
from zoo.data.fingerprints import Fingerprint
from zoo.text.tokenizer import Tokenizer

Roles = dict[str, Any]  # name to model
Evaluate = Callable[[Roles], dict[str, float]]


class Feed(NamedTuple):
    """The data of a run.

    Attributes:
      train: `train(number, roles)`: the endless Batches from that number on: a
        tf.data.Dataset, or a generator, which the loop asks for one Batch at a time.
      evaluate: `evaluate(roles)`: the metrics of the evaluation data; None without
        such data.
      rows: examples, or windows of packed ones, in one pass over the training data.
      units: what a step consumes, for the progress bar: ("tokens", 8192).
      tokenizer: a Tokenizer, or None.
      prepare: `prepare(roles)`: called once before the first step.
      cache: `cache(roles, folder)`: called after `prepare`; computes what the feed
        keeps in the workdir, or reads what an earlier process kept there.
      kept: `kept(roles)`: a context in which the model is as it is written, such as
        with rewards of mean 0.
      show: `show(roles)`: a text sample of what was learnt, or "".
      fingerprint: of the data and of the models beside them (`zoo.data.fingerprints`),
        by which a resumed run sees that they changed.
      length: inputs of the longest example, for the estimate of memory.
      labels: the names of the classes in the training data, by index; () without.
      variables: more variables that change in training and belong in a checkpoint.
      pictures: `pictures()`: name to PNG, of the last evaluation.
      period: a feed that samples from the model reads its weights at multiples of so
        many steps. Only there is the position one integer, so checkpoints and
        evaluations are at multiples too, and the run ends at one.
      metrics: `metrics()`: name to `Mean`, what was measured since the last call. The
        loop asks after each Batch, and adds them to those of the steps.
      close: `close()`: ends the processes that the feed started; called at the end of
        the run, also where it fails.
      reading: `reading()`: a context in which the loop asks for a Batch, so that errors
        of the data are raised as they were.
      source_tokenizer: the Tokenizer of sources; None is `tokenizer`.
    """

    train: Callable[[int, Roles], Iterable[Any]]
    evaluate: Evaluate | None
    rows: int
    units: tuple[str, int]
    tokenizer: Tokenizer | None
    prepare: Callable[[Roles], None]
    show: Callable[[Roles], str]
    fingerprint: Fingerprint
    length: int
    labels: tuple[str, ...] = ()
    variables: tuple[Any, ...] = ()
    pictures: Callable[[], dict[str, bytes]] = dict
    cache: Callable[[Roles, pathlib.Path], None] = lambda roles, folder: None
    kept: Callable[[Roles], contextlib.AbstractContextManager] = contextlib.nullcontext
    period: int = 1
    metrics: Callable[[], dict[str, Mean]] = dict
    close: Callable[[], None] = lambda: None
    reading: Callable[[], contextlib.AbstractContextManager] = contextlib.nullcontext
    source_tokenizer: Tokenizer | None = None


def check_period(run: Run, steps: int, period: int) -> None:
    """Refuses a run that would evaluate, stop or save while a period lasts.

    Raises:
      ValueError: a number of steps is no multiple of the feed's period.
    """
    given = {"steps": steps, "eval_every": run.eval_every, "save_every": run.save_every}
    for field, value in given.items():
        if value % period:
            raise ValueError(
                f"config.{field}: {value}, a multiple of {period} allowed: the "
                f"objective {run.objective.name} learns each rollout in {period} steps "
                "(epochs x minibatches)."
            )


def check_best(run: Run, names: Iterable[str]) -> None:
    """Refuses to choose the best model by a metric that evaluation does not have.

    Args:
      run: the Run, which evaluates.
      names: of the metrics of evaluation.

    Raises:
      ValueError: `best` is none of them.
    """
    if run.best.removeprefix("+") not in names:
        raise ValueError(
            f"config.best: {run.best!r}; one of {', '.join(names)} allowed, with a + "
            "before it where larger is better."
        )


def check_dropout(run: Run, config: Any, reason: str) -> None:
    """Refuses dropout of the model that learns, or of its adapters.

    Args:
      run: the Run.
      config: of the model.
      reason: why, for the message.

    Raises:
      ValueError: a rate is above 0.
    """
    rates = {
        f"config.model.{field.name}": getattr(config, field.name)
        for field in dataclasses.fields(config)
        if "dropout" in field.name
    }
    for where, rate in {**rates, "config.lora.dropout": run.lora.dropout}.items():
        if rate:
            raise ValueError(f"{where}: {rate}, 0 allowed: with dropout, {reason}.")
