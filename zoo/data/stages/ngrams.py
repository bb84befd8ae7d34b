"""N-grams of one text, counted with sorted numbers and not with a table of strings.

A word has a number of 64 bits, and so has an n-gram: sums of products of the numbers of
its characters and of its words. Two n-grams of a text of m words share one by chance
with a probability of about m^2 / 2^65: one in ten million for a text of 10 MB.

The arrays of one short text cost more to make than to compute. So `are_clear` bounds
the n-grams of many texts at once, and most texts need no closer look. A bound is too
high where n-grams of two texts meet, or share the first bits of their numbers.
"""

import functools
from collections.abc import Iterator, Sequence

import numpy as np

from zoo.data.stages.kinds import is_unspaced, kinds

# Odd, so that it has an inverse: 2^64 / the golden ratio.
_BASE = 0x9E3779B97F4A7C15
_MIX = np.uint64(0xD6E8FEB86659FD93)
STEP = np.uint64(0xA0761D6478BD642F)
_HALF = np.uint64(32)
_LONGEST = 2**14  # characters of a text of many; the arrays of a longer one are large
_AT_ONCE = 2**16  # characters of many texts; so there are fewer than 2^16 words
_BITS = np.uint64(16)  # of a text's or a word's number, as many as a chunk has
_BLOCK = 2**18  # characters at a time: tables of 2 MiB; a longer word counts as several


class Ngrams:
    """The n-grams of a text.

    An n-gram has n words. The words of a text without spaces are its characters, and an
    n-gram has 2 n of them.

    Args:
      text: the text.
    """

    def __init__(self, text: str):
        self._unspaced = is_unspaced(text)
        if self._unspaced:
            codes, letters = _characters(text)
            numbers = _mixed(codes[letters].astype(np.uint64))
            ends = np.arange(len(numbers) + 1)
        else:
            numbers, _, lengths = words(text)
            ends = np.concatenate([[0], np.cumsum(lengths)])
        self._words, self._ends = numbers, ends
        self._made = 1, numbers  # the n-grams of the last n

    def _numbers(self, n: int) -> np.ndarray:
        """The number of each n-gram, by its first word: [m] of uint64."""
        last, numbers = self._made if self._made[0] <= n else (1, self._words)
        for more in range(last + 1, n + 1):
            # The first step leaves the words as they are, and the others add in place.
            longer = numbers[:-1] * STEP if more == 2 else numbers[:-1]
            if more > 2:
                longer *= STEP
            longer += self._words[more - 1 :]
            numbers = longer
        self._made = n, numbers
        return numbers

    def _lengths(self, n: int) -> np.ndarray:
        """The characters of each n-gram, without spaces: [m] of int64."""
        return self._ends[n:] - self._ends[:-n]

    def _size(self, n: int) -> int:
        """How many words an n-gram has."""
        return 2 * n if self._unspaced else n

    def top_exceeds(self, n: int, limit: float) -> bool:
        """Whether the most frequent n-gram has more characters than `limit`.

        Its characters and spaces count once for each time that it is there. Of n-grams
        that are as frequent, the first one in the text counts. An n-gram that is there
        once never exceeds.
        """
        spaces = 0 if self._unspaced else n - 1
        n = self._size(n)
        numbers = self._numbers(n)
        if len(numbers) < 2:
            return False
        longest = n if self._unspaced else int(self._lengths(n).max()) + spaces
        # A bound that needs no order: n-grams that share their first bits.
        bits = min(16, len(numbers).bit_length() + 2)
        buckets = (numbers >> np.uint64(64 - bits)).view(np.int64)
        if int(np.bincount(buckets).max()) * longest <= limit:
            return False
        ordered = np.sort(numbers)
        starts = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
        starts = np.concatenate([[0], starts, [len(ordered)]])
        counts = np.diff(starts)
        most = int(counts.max())
        if most == 1 or most * longest <= limit:
            return False
        frequent = ordered[starts[:-1][counts == most]]
        one = len(frequent) == 1  # the usual case, and ten times as fast
        found = numbers == frequent[0] if one else np.isin(numbers, frequent)
        first = int(np.argmax(found))
        length = int(self._ends[first + n] - self._ends[first]) + spaces
        return most * length > limit

    def duplicates_may_exceed(self, n: int, limit: float) -> bool:
        """Whether n-grams of n or more words that come again may exceed `limit`.

        An upper bound for `duplicates` of n and of all larger n: all words that are in
        any n-gram that is there twice.
        """
        n = self._size(n)
        numbers = self._numbers(n)
        if len(numbers) < 2:
            return False
        ordered = np.sort(numbers)
        twice = ordered[1:][ordered[1:] == ordered[:-1]]
        if len(twice) * int(self._lengths(n).max()) <= limit:
            return False
        places = np.flatnonzero(np.isin(numbers, twice))
        ends = np.minimum(places + n, np.append(places[1:], len(self._words)))
        return int((self._ends[ends] - self._ends[places]).sum()) > limit

    def duplicates(self, n: int) -> int:
        """Characters in n-grams that were there before, each character once.

        Reads from left to right. An n-gram that was seen counts, and reading goes on
        behind it.
        """
        n = self._size(n)
        numbers = self._numbers(n).tolist()
        ends = self._ends.tolist()
        seen: set[int] = set()
        total = place = 0
        while place < len(numbers):
            if numbers[place] in seen:
                total += ends[place + n] - ends[place]
                place += n
            else:
                seen.add(numbers[place])
                place += 1
        return total


def _blocks(text: str):
    """Start and end of pieces of a text, cut at a space where there is one."""
    start = 0
    while len(text) - start > _BLOCK:
        stop = start + _BLOCK
        cut = kinds(text).rfind(b" ", start, stop) + 1
        yield start, cut or stop
        start = cut or stop
    yield start, len(text)


def words(text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The words of a text, which stand between white space.

    Returns:
      For each word its number (uint64), its first character, and its length. A word of
      more than 2^18 characters counts as several.
    """
    codes, letters = _characters(text)
    found = [
        _words(codes[start:stop], letters[start:stop], start)
        for start, stop in _blocks(text)
    ]
    if len(found) == 1:
        numbers, starts, lengths = found[0]
    else:
        numbers, starts, lengths = map(np.concatenate, zip(*found, strict=True))
    return _mixed(numbers), starts, lengths


def _characters(text: str) -> tuple[np.ndarray, np.ndarray]:
    """The code of each character, and whether it is no white space."""
    codes = (
        np.frombuffer(text.encode(), np.uint8)
        if text.isascii()
        else np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    )
    return codes, np.frombuffer(kinds(text), np.uint8) != ord(" ")


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """Spreads numbers, in place: new pages of memory take longer than the sums."""
    numbers += np.uint64(1)
    numbers *= _MIX
    numbers ^= numbers >> _HALF
    return numbers


def _words(codes, letters, first) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`words` of a block whose first character has the number `first`."""
    powers, inverses = _powers()
    inside = np.zeros(len(letters) + 2, bool)
    inside[1:-1] = letters
    edges = np.flatnonzero(inside[1:] != inside[:-1])
    starts, ends = edges[::2], edges[1::2]
    sums = np.zeros(len(codes) + 1, np.uint64)
    np.cumsum(codes * powers[: len(codes)], out=sums[1:])
    numbers = (sums[ends] - sums[starts]) * inverses[starts]
    return numbers, starts + first, ends - starts


@functools.cache
def _powers() -> tuple[np.ndarray, np.ndarray]:
    """The powers of the base and of its inverse modulo 2^64: [_BLOCK] each."""
    numbers = np.ones((2, _BLOCK), np.uint64)
    numbers[0, 1:] = _BASE
    numbers[1, 1:] = pow(_BASE, -1, 2**64)
    return tuple(np.cumprod(numbers, axis=1, dtype=np.uint64))


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
    number_W, starts, lengths = words(" ".join(texts))
    first_D = np.searchsorted(starts, np.cumsum(sizes_D + 1) - sizes_D - 1)
    counts_D = np.diff(first_D, append=len(number_W))
    clear_D = counts_D > 0  # no word, no bound
    text_W = np.repeat(np.arange(len(texts)), counts_D)
    sums = np.concatenate([[0], np.cumsum(lengths)])
    gram_W = number_W.copy()  # the n-gram from each word on
    place = np.arange(len(number_W))
    for n in range(2, max(shares) + 1):
        place = place[place <= len(number_W) - n]
        gram_W[place] = gram_W[place] * STEP + number_W[place + n - 1]
        # A longer n-gram that comes again starts with one that does.
        place, again, runs, times = _repeated(gram_W, text_W, place)
        if not len(again):
            break
        if n == max(shares):
            again = np.sort(again)
            ends = np.minimum(again + n, np.append(again[1:], len(number_W)))
            sizes = sums[ends] - sums[again]
            bound_D = np.bincount(text_W[again], sizes, len(texts))
        elif n in shares:
            longest = np.maximum.reduceat(sums[again + n] - sums[again], runs)
            bound_D = np.zeros(len(texts), np.int64)
            sizes = times * (longest + n - 1)
            np.maximum.at(bound_D, text_W[again[runs]], sizes)
        else:
            continue
        clear_D &= bound_D <= shares[n] * sizes_D
    return clear_D


def _repeated(gram_W, text_W, place) -> tuple[np.ndarray, ...]:
    """The n-grams that are in one text more than once, each by its first word.

    Args:
      gram_W: the n-gram from each word on, of which the first 32 bits are compared.
      text_W: the text of each word; an n-gram belongs to that of its first word.
      place: the n-grams to compare.

    Returns:
      All of them; those that were there before, equal ones together; where among these
      each run of equal ones starts; and how often the n-gram of each run is there.
    """
    texts = text_W[place].astype(np.uint64) << np.uint64(48)
    keys = texts | gram_W[place] >> _HALF << _BITS | place.astype(np.uint64)
    keys.sort()
    same = np.zeros(len(keys) + 1, bool)  # as the one before
    np.equal(keys[1:] >> _BITS, keys[:-1] >> _BITS, out=same[1:-1])
    place = (keys & np.uint64(2**16 - 1)).astype(np.int64)
    later = np.flatnonzero(same)
    runs = np.flatnonzero(np.diff(later, prepend=-2) != 1)
    times = np.diff(runs, append=len(later)) + 1
    return place[same[1:] | same[:-1]], place[later], runs, times
