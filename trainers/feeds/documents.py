"""The documents of a language model's run: raw texts in memory, or shards on disk.

Both give the same batches for the same documents, so the feed does not ask which.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from trainers.objectives.loss import Mean
from trainers.run import Data, Run
from zoo.data import batches, formats, mixtures, streams
from zoo.data.damage import Damage
from zoo.data.mixtures import Part
from zoo.data.phases import Phase
from zoo.data.shards import Shards
from zoo.text.tokenizer import Tokenizer


class Documents(NamedTuple):
    """Documents as batches.

    Attributes:
      sizes: tokens of each source's stream.
      train: `train(length, batch, seed, start=, shares=, schedule=)`: the batches.
      held_out: `held_out(length, batch)`: one pass over what is held out; or None.
      bytes: of what is held out.
      reading: `reading()`: a context that raises errors of the data as they were.
    """

    sizes: list[int]
    train: Callable[..., Any]
    held_out: Callable[[int, int], Any] | None
    bytes: int
    reading: Callable[[], AbstractContextManager] = contextlib.nullcontext


def of_texts(
    train: Sequence[list[str]], valid: list[str], tokenizer: Tokenizer
) -> Documents:
    """Raw texts.

    Args:
      train: the documents of each source.
      valid: what is held out of all of them, or nothing.
      tokenizer: of the run.
    """
    each = [formats.language_model(texts, tokenizer) for texts in train]
    stream, starts = mixtures.join_streams(each)
    own = formats.language_model(valid, tokenizer) if valid else None

    def train_batches(length, batch, seed, **more):
        given = {"weights": stream.weights, "starts": starts, **more}
        return batches.lm_batches(stream.tokens, length, batch, seed, **given)

    sizes = [len(s.tokens) for s in each]
    if own is None:
        return Documents(sizes, train_batches, None, 0)

    def held_out(length, batch):
        given = own.tokens, length, batch
        return batches.eval_windows(*given, weights=own.weights)[0]

    return Documents(sizes, train_batches, held_out, own.bytes)


def of_shards(
    run: Run, parts: Sequence[Part], found: Mapping[str, Shards], tokenizer: Tokenizer
) -> Documents:
    """Shards, or a mixture with some.

    Args:
      run: the Run.
      parts: its sources.
      found: those that are shards, and perhaps `data.valid`, by spec.
      tokenizer: of the shards.

    Raises:
      ValueError: a source is missing or broken, more records are damaged than the
        budget allows, or there is nothing to evaluate on.
    """
    data = run.data
    if data.clean and all(part.source in found for part in parts):
        raise ValueError(
            f"config.data.clean: {data.clean!r}, but shards hold tokens; clean the "
            "texts when the shards are prepared."
        )
    damage = Damage(data.max_bad_rows)
    train, valid = streams.read(
        parts, found, tokenizer, damage, data.valid, data.hold_out, data.clean
    )
    if valid is None and run.eval_every:
        raise ValueError(
            f"config.eval_every: {run.eval_every}, but the shards have no split "
            "'valid'; give config.data.valid, or set eval_every to 0."
        )
    if damage.budget:
        for stream in train:
            stream.check()
        print(f"shards: {len(damage.records)} damaged records are skipped.")

    def train_batches(length, batch, seed, **more):
        return batches.stream_batches(train, length, batch, seed, **more)

    sizes = [stream.tokens for stream in train]
    if valid is None:
        return Documents(sizes, train_batches, None, 0, damage.shown)

    def held_out(length, batch):
        return batches.eval_stream(valid, length, batch)[0]

    @contextlib.contextmanager
    def reading():
        with damage.shown(), valid.damage.shown():
            yield

    return Documents(sizes, train_batches, held_out, valid.bytes, reading)


def tokenizer_of_shards(
    found: Mapping[str, Shards], given: Tokenizer | None, where: str
) -> Tokenizer:
    """The tokenizer of a run that reads shards.

    Args:
      found: the shards by spec, at least one.
      given: the run's own, or None, which takes that of the first folder.
      where: what messages call the run's own.

    Raises:
      ValueError: shards were made by another tokenizer.
    """
    first = next(iter(found.values()))
    tokenizer = given or first.tokenizer
    for folder in found.values():
        folder.check_tokenizer(tokenizer, where if given else str(first.folder))
    return tokenizer


class Shares:
    """The shares of a schedule as metrics, which the loop asks for after each batch.

    Args:
      data: of the Run.
      found: its phases.
    """

    def __init__(self, data: Data, found: Sequence[Phase]):
        self._batch, self._phases, self._step = data.batch, found, 0

    def begin(self, step: int) -> None:
        """The next batch has this number."""
        self._step = step

    def metrics(self) -> dict[str, Mean]:
        """The share of each source in this batch's phase, by the source's number."""
        row = self._step * self._batch
        self._step += 1
        shares = next(p.shares for p in reversed(self._phases) if p.row <= row)
        total = sum(shares)
        return {f"mixture_{i}": Mean(n / total, 1) for i, n in enumerate(shares)}
