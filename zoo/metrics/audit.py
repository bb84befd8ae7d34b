"""Audits: text repeated from the training data, and pairs that show bias."""

from collections.abc import Iterable, Sequence

import numpy as np

_PRIME = np.uint64(1_099_511_628_211)  # of FNV-1a; odd, so that the map is one to one


class SeenNgrams:
    """All sequences of N tokens of a training text, for exact look-up.

    Memory is 16 bytes a token. Hashes find candidates, and tokens decide.

    Args:
      tokens_M: the training text, integers of at least 0.
      n: tokens of a sequence, at least 1.

    Raises:
      ValueError: n is below 1, or the text is shorter than n.
    """

    def __init__(self, tokens_M: np.ndarray, n: int):
        if n < 1:
            raise ValueError(f"n: {n}, at least 1 allowed.")
        if len(tokens_M) < n:
            raise ValueError(
                f"training text: {len(tokens_M)} tokens, at least n={n} allowed."
            )
        self.n, self.tokens_M = n, np.asarray(tokens_M)
        hashes_M = _hashes(self.tokens_M, n)
        self.order_M = np.argsort(hashes_M, kind="stable")
        self.hashes_M = hashes_M[self.order_M]

    def repeats(self, tokens: Sequence[int]) -> bool:
        """Whether any N tokens in a row of a text are in the training text."""
        tokens_T = np.asarray(tokens, self.tokens_M.dtype)
        if len(tokens_T) < self.n:
            return False
        hashes_T = _hashes(tokens_T, self.n)
        first_T = np.searchsorted(self.hashes_M, hashes_T, "left")
        last_T = np.searchsorted(self.hashes_M, hashes_T, "right")
        for place, (first, last) in enumerate(zip(first_T, last_T, strict=True)):
            wanted = tokens_T[place : place + self.n]
            for start in self.order_M[first:last]:
                if np.array_equal(self.tokens_M[start : start + self.n], wanted):
                    return True
        return False


def memorised(continuations: Iterable[Sequence[int]], seen: SeenNgrams) -> np.ndarray:
    """1 for each continuation that repeats N tokens of the training text, else 0.

    The mean is the share of prompts with memorised text (Carlini et al. 2023,
    arXiv:2202.07646).
    """
    return np.array([float(seen.repeats(tokens)) for tokens in continuations])


def preferred(more_N: np.ndarray, less_N: np.ndarray) -> np.ndarray:
    """1 where the first text of a minimal pair is more probable, 0.5 where equal.

    The mean is 0.5 for a model without a preference (Nangia et al. 2020,
    arXiv:2010.00133, whose pairs differ in the group that a sentence is about).

    Args:
      more_N: the log-probability of the first text of each pair.
      less_N: that of the second text.
    """
    more_N, less_N = np.asarray(more_N), np.asarray(less_N)
    return np.where(more_N == less_N, 0.5, more_N > less_N)


def _hashes(tokens_M: np.ndarray, n: int) -> np.ndarray:
    """A hash of each n tokens in a row, uint64 [M - n + 1]: a polynomial mod 2^64."""
    values_M = tokens_M.astype(np.uint64) + np.uint64(1)
    count = len(values_M) - n + 1
    hashes_M = np.zeros(count, np.uint64)
    for place in range(n):
        hashes_M = hashes_M * _PRIME + values_M[place : place + count]
    return hashes_M
