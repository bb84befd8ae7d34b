"""How long answers are, how much they repeat, and how much they copy, by words.

Each function gives what `zoo.metrics.bootstrap.ratio` needs of each answer.
"""

from collections.abc import Sequence

import numpy as np

_REPEATED, _COPIED = 4, 2  # words of an n-gram


def lengths(answers: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """The words of answers and of references, float64 [N, 2]; the ratio is of all."""
    pairs = zip(answers, references, strict=True)
    return np.array([[len(a.split()), len(r.split())] for a, r in pairs], np.float64)


def repetition(answers: Sequence[str]) -> np.ndarray:
    """How many 4-grams of an answer stood in it before, and how many it has.

    Source: Welleck et al. 2019 (arXiv:1908.04319), "seq-rep-4".

    Returns:
      float64 [N, 2].
    """
    found = [_grams(answer, _REPEATED) for answer in answers]
    return np.array([[len(g) - len(set(g)), len(g)] for g in found], np.float64)


def copying(answers: Sequence[str], sources: Sequence[str]) -> np.ndarray:
    """How many 2-grams of an answer stand in its source, and how many it has.

    Source: See et al. 2017 (arXiv:1704.04368), who count those that do not.

    Returns:
      float64 [N, 2].
    """
    rows = []
    for answer, source in zip(answers, sources, strict=True):
        own, given = _grams(answer, _COPIED), set(_grams(source, _COPIED))
        rows.append([sum(gram in given for gram in own), len(own)])
    return np.array(rows, np.float64)


def _grams(text: str, size: int) -> list[tuple[str, ...]]:
    """The n-grams of a text's words, in small letters."""
    words = text.casefold().split()
    return [tuple(words[i : i + size]) for i in range(len(words) - size + 1)]
