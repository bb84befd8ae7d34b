"""Mixtures: several sources with weights, such as "3 kjv" and "1 text:more/*.txt".

The weights become whole shares: so many rows of each source in each pattern of rows
(`zoo.data.batches.pipeline`). A source that is used up starts again.
"""

import fractions
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from zoo.data import compressed, fingerprints, sources
from zoo.data.formats import Rows, Stream
from zoo.data.phases import Phase

_LONGEST = 10_000  # rows of a pattern
_DEFAULT = "kjv"  # the source that a Run names where it names none


class Part(NamedTuple):
    """One source of a mixture.

    Attributes:
      share: rows of this source in a pattern, at least 1.
      source: a spec of `zoo.data.sources`.
    """

    share: int
    source: str


def parts(source: str, mixture: Iterable[str] = ()) -> list[Part]:
    """The sources of a run: those of the mixture, or the one source.

    Args:
      source: a spec; beside a mixture empty or the default, kjv.
      mixture: entries "WEIGHT SPEC"; weights are numbers above 0.

    Raises:
      ValueError: both are given, an entry has another form, a source is named twice,
        or the weights need a pattern of more than 10,000 rows.
    """
    entries = list(mixture)
    if not entries:
        return [Part(1, source)]
    if source not in ("", _DEFAULT):
        raise ValueError(
            f"config.data.source: '{compressed.shown(source)}' beside "
            "config.data.mixture; one of the two allowed."
        )
    pairs = [_entry(entry) for entry in entries]
    specs = [spec for _, spec in pairs]
    for spec in specs:
        if specs.count(spec) > 1:
            raise ValueError(
                f"config.data.mixture: '{compressed.shown(spec)}' twice; name each "
                "source once."
            )
    shares = _shares([weight for weight, _ in pairs], "config.data.mixture")
    return [Part(*pair) for pair in zip(shares, specs, strict=True)]


def schedule(
    entries: Iterable[str], of: Sequence[Part]
) -> list[tuple[int, tuple[int, ...]]]:
    """The shares of a mixture's sources later, by the number of the step.

    Args:
      entries: "STEP: WEIGHT WEIGHT ...", a weight for each source in their order; 0
        leaves a source out. Steps rise.
      of: the sources.

    Returns:
      The number of the first step, counted from 0, and the shares from it on.

    Raises:
      ValueError: an entry has another form, or there are fewer than two sources.
    """
    found: list[tuple[int, tuple[int, ...]]] = []
    for entry in entries:
        where = f"config.data.schedule: {entry!r}"
        if len(of) < 2:
            raise ValueError(f"{where}, but only config.data.mixture has weights.")
        step, _, rest = entry.partition(":")
        weights = [_weight(text) for text in rest.split()]
        least = found[-1][0] + 1 if found else 1
        if not step.strip().isdecimal() or int(step) < least:
            raise ValueError(f"{where}, a step of at least {least} before ':' allowed.")
        if len(weights) != len(of) or min(weights) < 0 or not any(weights):
            raise ValueError(
                f"{where}, {len(of)} weights of at least 0 and one above 0 allowed."
            )
        found.append((int(step), tuple(_shares(weights, where))))
    return found


def split(
    read: Callable[[str, str, float], tuple[list, list]],
    of: Sequence[Part],
    valid: str = "",
    hold_out: float = 0.0,
) -> tuple[list[list], list]:
    """The training data of each source, and what is held out of all of them.

    Args:
      read: `read(source, valid, hold_out) -> (training, held out)`, such as
        `zoo.data.splits.documents`.
      of: the sources.
      valid: a spec that takes the place of what the sources hold out, or empty.
      hold_out: a share between 0 and 1, of each source.

    Raises:
      ValueError: as `read`.
    """
    found = [read(part.source, valid, hold_out) for part in of]
    training = [kept for kept, _ in found]
    if valid:
        return training, found[0][1]
    return training, [item for _, held_out in found for item in held_out]


def fingerprint(of: Sequence[Part], valid: str = "") -> fingerprints.Fingerprint:
    """The fingerprint of all data of a run; see `fingerprints.of_run`."""
    found: fingerprints.Fingerprint = {}
    for part in of:
        found |= fingerprints.of_run(part.source, valid)
    return found


def label_names(of: Sequence[Part], column: str) -> tuple[str, ...]:
    """The names that integers in a column of labels stand for, in all sources.

    Empty where no source names its integers; see `sources.label_names`.

    Raises:
      ValueError: two sources name them otherwise, or one lacks the column.
    """
    named = {part.source: sources.label_names(part.source, column) for part in of}
    named = {source: names for source, names in named.items() if names}
    if len(set(named.values())) > 1:
        shown = "; ".join(
            f"{compressed.shown(source)}: {', '.join(names):.80}"
            for source, names in named.items()
        )
        raise ValueError(
            f"config.data.mixture: the sources name their integer labels otherwise "
            f"({shown}); equal names allowed."
        )
    return next(iter(named.values()), ())


def join_streams(streams: Sequence[Stream]) -> tuple[Stream, list[int]]:
    """The streams one after the other, and where each starts."""
    starts = np.cumsum([0, *(len(s.tokens) for s in streams[:-1])]).tolist()
    if len(streams) == 1:
        return streams[0], starts
    weights: Any = [s.weights for s in streams]
    joined = Stream(
        np.concatenate([s.tokens for s in streams]),
        None if weights[0] is None else np.concatenate(weights),
        sum(s.bytes for s in streams) + len(streams) - 1,
        sum(s.documents for s in streams),
    )
    return joined, starts


def join_rows(rows: Sequence[Rows]) -> Rows:
    """The rows of all sources one after the other, with the sums of their counts."""
    if len(rows) == 1:
        return rows[0]
    read = np.cumsum([0, *(r.counts["read"] for r in rows[:-1])]).tolist()
    return Rows(
        np.concatenate([r.tokens for r in rows]),
        np.concatenate([r.weights for r in rows]),
        join_starts([r.starts for r in rows]),
        {name: sum(r.counts[name] for r in rows) for name in rows[0].counts},
        np.concatenate([r.labels for r in rows]),
        tuple(
            n + first for r, first in zip(rows, read, strict=True) for n in r.numbers
        ),
        None if rows[0].groups is None else join_starts([r.groups for r in rows]),
    )


def join_starts(starts: Sequence[np.ndarray]) -> np.ndarray:
    """Where each row starts, int64 [R + 1], of rows that follow each other.

    Args:
      starts: of each source, [R + 1]: row i is from `starts[i]` to `starts[i + 1] - 1`.
    """
    sizes = np.concatenate([np.diff(one) for one in starts])
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def about(of: Sequence[Part], counts: Sequence[int], unit: str) -> list[str]:
    """A line for each source: its share, and how many windows or rows it has."""
    pattern = sum(part.share for part in of)
    return [
        f"mixture: {part.share} of {pattern} {unit}: {compressed.shown(part.source)}, "
        f"{count} {unit} in an epoch"
        for part, count in zip(of, counts, strict=True)
    ]


def about_schedule(of: Sequence[Part], found: Sequence[Phase], batch: int) -> list[str]:
    """A line for each phase after the first: its shares, and what was used before it.

    Args:
      of: the sources.
      found: the phases.
      batch: rows of a step.
    """
    lines = []
    for phase in found[1:]:
        pattern = sum(phase.shares)
        each = [
            f"{share} of {pattern} {compressed.shown(part.source)} ({used} before)"
            for part, share, used in zip(of, phase.shares, phase.used, strict=True)
        ]
        lines.append(f"mixture from step {phase.row // batch} on: {', '.join(each)}")
    return lines


def _entry(entry: str) -> tuple[fractions.Fraction, str]:
    """The weight and the spec of an entry."""
    text, _, spec = entry.strip().partition(" ")
    weight = _weight(text)
    if weight <= 0 or not spec.strip():
        raise ValueError(
            f"config.data.mixture: '{compressed.shown(entry)}', a weight above 0 and a "
            "source allowed, such as '3 kjv'."
        )
    return weight, spec.strip()


def _weight(text: str) -> fractions.Fraction:
    """The number that a text is; -1 of any other text."""
    try:
        return fractions.Fraction(text)
    except (ValueError, ZeroDivisionError):
        return fractions.Fraction(-1)


def _shares(weights: Sequence[fractions.Fraction], where: str) -> list[int]:
    """The smallest whole numbers with the ratios of the weights."""
    unit = math.lcm(*(weight.denominator for weight in weights))
    shares = [int(weight * unit) for weight in weights]
    shares = [share // math.gcd(*shares) for share in shares]
    if sum(shares) > _LONGEST:
        raise ValueError(
            f"{where}: the weights make a pattern of {sum(shares)} rows, at most "
            f"{_LONGEST} allowed; take rounder weights."
        )
    return shares
