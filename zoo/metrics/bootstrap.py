"""Intervals of any measure by the bootstrap, and the difference of two systems.

A measure is a function of rows: an array whose first dimension is the examples. The
bootstrap draws as many examples with replacement, again and again, and looks at how the
measure varies. Source: Efron and Tibshirani 1993, chapters 13 and 15.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import stats

Measure = Callable[[np.ndarray], float]  # rows [N, ...] -> a number

_AT_ONCE = 100  # resamples, a bound on memory


class Interval(NamedTuple):
    """The percentile interval of a measure.

    Attributes:
      low: its lower end.
      high: its upper end.
    """

    low: float
    high: float


class Difference(NamedTuple):
    """How two systems differ on the same examples.

    Attributes:
      value: the measure of the first system minus that of the second.
      low: the lower end of its percentile interval.
      high: the upper end.
      p_value: two-sided, 0 to 1; small where the sign of the difference is sure.
    """

    value: float
    low: float
    high: float
    p_value: float


def mean(rows_N: np.ndarray) -> float:
    """The mean of rows, the usual measure."""
    return float(np.mean(rows_N))


def ratio(rows_N2: np.ndarray) -> float:
    """The sum of the first column over that of the second: a weighted mean."""
    total, weight = np.sum(rows_N2, 0)
    return float(total / weight) if weight else 0.0


def interval(
    rows_N: np.ndarray,
    measure: Measure = mean,
    seed: int = 0,
    resamples: int = 1000,
    level: float = 0.95,
) -> Interval:
    """The percentile interval of a measure over examples.

    Args:
      rows_N: [N, ...], what the measure needs of each example.
      measure: of any choice of rows, with repetitions.
      seed: of the resamples; equal seeds give equal intervals.
      resamples: how many.
      level: the share of resamples in the interval, between 0 and 1.

    Raises:
      ValueError: there is no row, or a number is out of its range.
    """
    rows_N = np.asarray(rows_N)
    low, high, _ = _resampled(
        len(rows_N), lambda at_N: measure(rows_N[at_N]), seed, resamples, level
    )
    return Interval(low, high)


def paired(
    rows_N: np.ndarray,
    others_N: np.ndarray,
    measure: Measure = mean,
    seed: int = 0,
    resamples: int = 1000,
    level: float = 0.95,
) -> Difference:
    """The difference of two systems on the same examples, by the paired bootstrap.

    A resample takes the same examples of both. The p value is twice the share of
    resamples on the other side of 0 (a difference of exactly 0 is on both sides), with
    one more resample there, as a sample can never show a probability of 0.

    Args:
      rows_N: [N, ...] of the first system.
      others_N: [N, ...] of the second system, in the same order.
      measure: as in `interval`.
      seed: as in `interval`.
      resamples: as in `interval`.
      level: as in `interval`.

    Raises:
      ValueError: as `interval`, or the systems answered other numbers of examples.
    """
    rows_N, others_N = np.asarray(rows_N), np.asarray(others_N)
    if len(rows_N) != len(others_N):
        raise ValueError(
            f"examples: {len(rows_N)} and {len(others_N)}, equal numbers allowed."
        )

    def difference(at_N):
        return measure(rows_N[at_N]) - measure(others_N[at_N])

    count = len(rows_N)
    low, high, drawn_R = _resampled(count, difference, seed, resamples, level)
    side = min(np.sum(drawn_R <= 0), np.sum(drawn_R >= 0))
    p_value = min(2 * (side + 1) / (len(drawn_R) + 1), 1.0)
    return Difference(difference(np.arange(count)), low, high, float(p_value))


def _resampled(count, measure, seed, resamples, level):
    """The ends of the interval, and the measure of each resample."""
    if count < 1:
        raise ValueError("examples: none, at least 1 allowed.")
    if resamples < 1:
        raise ValueError(f"resamples: {resamples}, at least 1 allowed.")
    if not 0 < level < 1:
        raise ValueError(f"level: {level}, between 0 and 1 allowed.")
    if count == 1:  # scipy refuses what has one resample only
        only = float(measure(np.zeros(1, int)))
        return only, only, np.full(resamples, only)
    result = stats.bootstrap(
        (np.arange(count),),
        measure,
        n_resamples=resamples,
        batch=_AT_ONCE,
        vectorized=False,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    low, high = result.confidence_interval
    return float(low), float(high), result.bootstrap_distribution
