"""The words of many texts as numbers, without a Python object for each word.

A word is a run of letters, digits and marks, in lower case. A character of a script
that has no spaces between words (`zoo.data.stages.kinds`) is a word of its own, so an
n-gram of words is an n-gram of characters there. All else parts words.

The number of a word is a polynomial of its first 24 characters and its length, modulo
2^64, mixed. It is the same in each process and on each machine.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from zoo.data.stages import kinds

_LETTER, _ALONE = 1, 2
_BASE = np.uint64(0x9E3779B97F4A7C15)
_LONGEST = 24  # characters of a word that count


class Words(NamedTuple):
    """The words of some texts, one text after the other.

    Attributes:
      hashes_W: uint64, a number for each word.
      starts_W: int64, the first character of each word in the joined texts.
      texts_D: int64 [D + 1]: text d has the words texts_D[d] to texts_D[d + 1].
      joints_D: int64 [D + 1]: the first character of each text in the joined texts,
        which have one newline between two texts, and the end.
      newlines_N: int64, the places of all newlines in the joined texts.
    """

    hashes_W: np.ndarray
    starts_W: np.ndarray
    texts_D: np.ndarray
    joints_D: np.ndarray
    newlines_N: np.ndarray


def words(texts: Sequence[str]) -> Words:
    """Finds the words of texts; about 30 bytes of memory for a character."""
    lower, kind = _tables()
    joined = "\n".join(texts).encode("utf-32-le", "surrogatepass")
    points = np.frombuffer(joined, np.uint32)
    sizes = np.fromiter(map(len, texts), np.int64, len(texts))
    joints_D = np.concatenate([[0], np.cumsum(sizes + 1)])
    kind_N = kind.take(points, mode="clip")
    # a word begins at each lone character, and at a letter that is behind no letter
    starts = kind_N != 0
    starts[1:] &= (kind_N[1:] == _ALONE) | (kind_N[:-1] != _LETTER)
    starts_W = np.flatnonzero(starts)
    ends = kind_N != 0
    ends[:-1] &= (kind_N[:-1] == _ALONE) | (kind_N[1:] != _LETTER)
    lengths_W = np.flatnonzero(ends) + 1 - starts_W
    values = lower.take(points, mode="clip")
    return Words(
        _hashes(values, starts_W, lengths_W),
        starts_W,
        np.searchsorted(starts_W, joints_D),
        joints_D,
        np.flatnonzero(points == 10),
    )


def ngrams(found: Words, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The n-grams of `size` words of each text.

    A text with fewer words, but with one, has one n-gram: all of its words.

    Returns:
      The numbers of the n-grams, uint64, and int64 [D + 1]: text d has those from
      [d] to [d + 1].
    """
    counts_D = np.diff(found.texts_D)
    grams_D = np.where(counts_D >= size, counts_D - size + 1, np.minimum(counts_D, 1))
    starts_D = np.concatenate([[0], np.cumsum(grams_D)])
    text_G = np.repeat(np.arange(len(counts_D)), grams_D)
    first_G = np.arange(starts_D[-1]) - (starts_D[:-1] - found.texts_D[:-1])[text_G]
    padded = np.concatenate([found.hashes_W, np.zeros(size, np.uint64)])
    total_G = padded[first_G]
    for place in range(1, size):
        total_G *= _BASE
        total_G += padded[first_G + place]
    short_S = np.flatnonzero((counts_D < size) & (counts_D > 0))
    total_S = np.zeros(len(short_S), np.uint64)
    for place in range(size - 1):
        on = counts_D[short_S] > place
        total_S[on] *= _BASE
        total_S[on] += found.hashes_W[found.texts_D[short_S[on]] + place]
    total_G[starts_D[short_S]] = total_S
    return mix(total_G), starts_D


def spans(found: Words, bounds_N: np.ndarray) -> np.ndarray:
    """A number for the words between neighbouring places of the joined texts.

    Args:
      found: the words.
      bounds_N: int64, rising places, such as line ends; the last is behind all words.

    Returns:
      uint64 [N - 1]; 0 where no word begins.
    """
    first_N = np.searchsorted(found.starts_W, bounds_N)
    low_S, size_S = first_N[:-1], np.diff(first_N)
    values_S = np.zeros(len(low_S), np.uint64)
    filled = size_S > 0
    if filled.any():
        place_W = np.arange(first_N[0], first_N[-1]) - np.repeat(low_S, size_S)
        word_W = found.hashes_W[first_N[0] : first_N[-1]]
        word_W = mix(word_W + place_W.astype(np.uint64) * _BASE)
        sums = np.add.reduceat(word_W, low_S[filled] - first_N[0])
        values_S[filled] = np.maximum(mix(sums), np.uint64(1))
    return values_S


def mix(values: np.ndarray) -> np.ndarray:
    """Spreads 64-bit numbers: the last step of MurmurHash3 (Appleby, public domain)."""
    values = values ^ (values >> np.uint64(33))
    values *= np.uint64(0xFF51AFD7ED558CCD)
    values ^= values >> np.uint64(33)
    values *= np.uint64(0xC4CEB9FE1A85EC53)
    values ^= values >> np.uint64(33)
    return values


def _hashes(values, starts_W, lengths_W):
    """The number of each word: its values from start to start + length."""
    order = np.argsort(-np.minimum(lengths_W, _LONGEST).astype(np.int8), kind="stable")
    starts = starts_W[order]
    lengths = np.minimum(lengths_W, _LONGEST)[order]
    total = lengths_W[order].astype(np.uint64)
    # the words with more than `place` characters stand in front
    counts = np.searchsorted(-lengths, -np.arange(_LONGEST), side="left")
    for place, count in enumerate(counts):
        if not count:
            break
        part = total[:count]
        part *= _BASE
        part += values[starts[:count] + place]
    hashes_W = np.empty_like(total)
    hashes_W[order] = mix(total)
    return hashes_W


@functools.cache
def _tables():
    """The lower case of each code point, uint32, and its kind, uint8."""
    table = kinds.table()
    kind = np.zeros(len(table), np.uint8)
    kind[np.isin(table, list(b"a0"))] = _LETTER
    kind[table == ord("c")] = _ALONE
    lower = np.arange(len(table), dtype=np.uint32)
    for point in np.flatnonzero(kind == _LETTER).tolist():
        small = chr(point).lower()
        if len(small) == 1:
            lower[point] = ord(small)
    return lower, kind
