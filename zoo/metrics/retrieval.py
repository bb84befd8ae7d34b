"""Ranked results of a search beside the relevant ones."""

from collections.abc import Collection, Hashable, Sequence

import numpy as np

Ranked = Sequence[Sequence[Hashable]]  # of each query the results, best first
Relevant = Sequence[Collection[Hashable]]  # of each query


def recalls_at_k(ranked: Ranked, relevant: Relevant, k: int) -> np.ndarray:
    """The share of the relevant results of each query that are among its first k.

    Args:
      ranked: the results of each query, best first, each once.
      relevant: the relevant results of each query, at least one.
      k: at least 1.

    Returns:
      float64 [N], 0 to 1.

    Raises:
      ValueError: there is no query, lengths differ, a query has no relevant result, or
        k is below 1.
    """
    _check(ranked, relevant)
    if k < 1:
        raise ValueError(f"k: {k}, at least 1 allowed.")
    pairs = zip(ranked, map(set, relevant), strict=True)
    return np.array(
        [len(wanted & set(found[:k])) / len(wanted) for found, wanted in pairs]
    )


def recall_at_k(ranked: Ranked, relevant: Relevant, k: int) -> float:
    """The mean of `recalls_at_k` over all queries."""
    return float(recalls_at_k(ranked, relevant, k).mean())


def reciprocal_ranks(ranked: Ranked, relevant: Relevant) -> np.ndarray:
    """1 / the rank of the first relevant result of each query; 0 where none is there.

    Arguments and errors are those of `recalls_at_k`.

    Returns:
      float64 [N], 0 to 1.
    """
    _check(ranked, relevant)
    found_N = []
    for results, wanted in zip(ranked, map(set, relevant), strict=True):
        ranks = (rank for rank, result in enumerate(results, 1) if result in wanted)
        rank = next(ranks, None)
        found_N.append(1 / rank if rank else 0.0)
    return np.array(found_N)


def mean_reciprocal_rank(ranked: Ranked, relevant: Relevant) -> float:
    """The mean of `reciprocal_ranks` over all queries (Voorhees 1999)."""
    return float(reciprocal_ranks(ranked, relevant).mean())


def _check(ranked, relevant):
    """Refuses no query, other lengths, and a query without a relevant result."""
    if len(ranked) != len(relevant) or not len(ranked):
        raise ValueError(
            f"queries: {len(ranked)} with results, {len(relevant)} with relevant ones; "
            "as many of both allowed, and at least 1."
        )
    for number, wanted in enumerate(relevant):
        if isinstance(wanted, str) or not len(wanted):
            raise ValueError(
                f"query {number}: relevant {wanted!r:.40}, at least 1 allowed."
            )
