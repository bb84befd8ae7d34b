"""Bounds for the n-grams of many texts at once: most texts need no closer look.

The arrays of one short text cost more to make than to compute. A bound is too high
where n-grams of two texts meet, or share the first bits of their numbers. So a text
that the bounds clear is clear, and `zoo.data.stages.ngrams` decides about the others.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from zoo.data.stages import ngrams
from zoo.data.stages.kinds import is_unspaced

_LONGEST = 2**14  # characters of a text; the arrays of a longer one are large enough
_AT_ONCE = 2**16  # characters; so there are fewer texts than 2^16
_BITS = np.uint64(48)  # of the number of an n-gram that are compared


def are_clear(
    texts: Sequence[str], tops: Sequence[tuple[int, float]], n: int, share: float
) -> np.ndarray:
    """Which texts have no n-gram that comes again too often, as far as bounds tell.

    Args:
      texts: any texts.
      tops: for n in rising order, the share of a text's characters that
        `Ngrams.top_exceeds` compares.
      n: words of an n-gram, more than those of `tops`.
      share: of a text's characters that `Ngrams.duplicates_may_exceed` compares.

    Returns:
      bool [D]. False says nothing: the text may be clear, too.
    """
    clear_D = np.zeros(len(texts), bool)
    for chosen in _chunks(texts):
        found = [texts[number] for number in chosen]
        clear_D[chosen] = _are_clear(found, {**dict(tops), n: share})
    return clear_D


def _chunks(texts) -> Iterator[list[int]]:
    """The numbers of the texts that are short and have spaces, some at a time."""
    chosen, size = [], 0
    for number, text in enumerate(texts):
        if text and len(text) <= _LONGEST and not is_unspaced(text):
            chosen.append(number)
            size += len(text) + 1
            if size > _AT_ONCE:
                yield chosen
                chosen, size = [], 0
    if chosen:
        yield chosen


def _are_clear(texts, shares) -> np.ndarray:
    """`are_clear` of one chunk; the last of the shares is that of duplicates."""
    sizes_D = np.fromiter(map(len, texts), np.int64, len(texts))
    words, starts, lengths = ngrams.words(" ".join(texts))
    first_D = np.searchsorted(starts, np.cumsum(sizes_D + 1) - sizes_D - 1)
    counts_D = np.diff(first_D, append=len(words))
    clear_D = counts_D > 0  # no word, no bound
    sizes, first_D = sizes_D[clear_D], first_D[clear_D]
    count = len(first_D)
    fits = np.ones(count, bool)
    text_W = np.repeat(np.arange(count, dtype=np.uint64) << _BITS, counts_D[clear_D])
    sums = np.concatenate([[0], np.cumsum(lengths)])
    numbers = words
    for n in range(2, max(shares) + 1):
        if len(words) < n:
            break
        numbers = numbers[:-1] * ngrams.STEP + words[n - 1 :]
        if n not in shares:
            continue
        # An n-gram belongs to the text of its first word.
        long_W = np.zeros(len(words), np.int64)
        long_W[: len(numbers)] = sums[n:] - sums[:-n]
        longest = np.maximum.reduceat(long_W, first_D)
        again, most = _repeated(numbers, text_W[: len(numbers)], count)
        bound = again * longest if n == max(shares) else most * (longest + n - 1)
        fits &= (most < 2) | (bound <= shares[n] * sizes)
    clear_D[clear_D] = fits
    return clear_D


def _repeated(numbers, text_W, count) -> tuple[np.ndarray, np.ndarray]:
    """For each text: n-grams that were there before, and how often one is there."""
    ordered = np.sort(text_W | (numbers >> (np.uint64(64) - _BITS)))
    place = np.flatnonzero(ordered[1:] == ordered[:-1])
    text_N = (ordered[place] >> _BITS).astype(np.int64)
    again = np.bincount(text_N, minlength=count)
    most = np.ones(count, np.int64)
    starts = np.flatnonzero(np.diff(place, prepend=-2) != 1)  # of runs of equal ones
    times = np.diff(starts, append=len(place)) + 1
    np.maximum.at(most, text_N[starts], times)
    return again, most
