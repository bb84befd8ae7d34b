"""Byte pair encoding (Sennrich et al. 2016, arXiv:1508.07909) with core operations.

The rule of BPE is sequential. It merges the pair of lowest rank, and the leftmost of
several, until no pair is left. Here one array holds the symbols of all words of a
request. A round merges all pairs that no other merge can pre-empt. So a word of n
symbols takes about log n rounds instead of n.

A merge pre-empts a pair if it comes first and takes one of the pair's two symbols. Let
the pair have the rank r. The merge on its left side then has a rank below r. Either it
joins the left neighbour and the left symbol as they are now. Or the left neighbour
first grows to the left, and the longer token then merges with the left symbol. The
right side is the same in the mirror, where a rank of r is enough. The table of pairs
holds for each pair the lowest rank of both ways, on each side.

Example: the merges `y a` (rank 0), `ya b` (rank 1), `b c` (rank 2).

    y a b c    `b c` is not certain: `a` may grow to `ya`, and `ya b` ranks below 2.
               Round 1 merges `y a`, round 2 merges `ya b`. The result is `yab c`.
    x a b c    `a` cannot grow, because `x a` has no rank. Round 1 merges `b c`.

The second way needs a left neighbour that can grow, which depends on its own left
neighbour, and so on. Where few pairs are certain, a round follows this chain for
`_STEPS` steps. It then also merges a pair whose rank is the lowest within the length
of the longest token.

Each merge must rank behind the merges that make its parts. `merges` orders them.
"""

import collections
import itertools

import tensorflow as tf

from zoo.text.in_graph import ragged_ops
from zoo.text.in_graph.bpe import runs as bpe_runs
from zoo.text.in_graph.bpe import windows as bpe_windows

# A symbol's number, which is also a rank, has 20 bits. A value of the table of pairs
# holds three of them.
_BITS = 20
NONE = 2**_BITS - 1
_STEPS = 2
_WINDOW = 2**15  # symbols; arrays of this size fit the processor's caches


class Pairs(tf.Module):
    """The merges as a table, and the loop that applies them.

    The loop numbers the symbols: first the symbols that words are made of, then the
    separator of words, then the merges by rank.

    Attributes:
      separator: the number of the separator.
      max_symbols: the number of symbols in the longest token.
    """

    def __init__(self, merges, symbols: list[int]):
        """Builds the tables.

        Args:
          merges: the result of `merges.prepare`.
          symbols: the ids of the symbols that words are made of.

        Raises:
          ValueError: there are too many merges.
        """
        super().__init__()
        self.separator = len(symbols)
        first = len(symbols) + 1
        if first + len(merges.ids) > NONE:
            raise ValueError(
                f"model.merges: {len(merges.ids)} merges, at most {NONE - first}"
            )
        self.max_symbols = merges.max_symbols
        self._window = max(_WINDOW, 16 * merges.max_symbols)
        self._ids = tf.constant([*symbols, -1, *merges.ids])
        numbers = collections.defaultdict(list)
        for number, token in enumerate(symbols):
            numbers[token].append(number)
        for number, token in enumerate(merges.ids, start=first):
            numbers[token].append(number)
        self._runs = bpe_runs.Runs(merges.runs, numbers, first) if merges.runs else None
        # for each number, whether its merge is made place by place
        self._ordered = None
        if merges.ordered:
            ordered = [rank in merges.ordered for rank in range(len(merges.ids))]
            self._ordered = tf.constant([*[False] * first, *ordered, False])
        self._sizes = tf.constant([*[1] * first, *merges.sizes], tf.int64)
        pairs = {}
        for (left, right), ranks in merges.preempting_ranks.items():
            rank, low, high = (min(first + rank, NONE) for rank in ranks)
            # On the right a lower rank is needed: the left one of equal pairs is first.
            high = min(rank, high) + 1 if min(rank, high) < NONE else NONE
            value = (rank << 2 * _BITS) + (min(rank, low) << _BITS) + high
            for a, b in itertools.product(numbers[left], numbers[right]):
                pairs[(a << _BITS) + b] = value
        none = (NONE << 2 * _BITS) + (NONE << _BITS) + NONE
        self._pairs = ragged_ops.table(pairs, tf.int64, tf.int64, none)

    def words(self, symbol_N: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Merges the symbols of words.

        Args:
          symbol_N: int64 numbers, with a separator before and after each word.

        Returns:
          The ids of all words, int32, with -1 for each separator; and the places of
          the separators, int64.
        """
        if self._runs is not None:
            symbol_N = self._runs.join(symbol_N)
        done, symbol_N = tf.cond(
            tf.size(symbol_N) > self._window,
            lambda: bpe_windows.merge(
                symbol_N, self._merge, self._sizes, self.separator, self._window
            ),
            lambda: (False, symbol_N),
        )
        symbol_N = tf.cond(done, lambda: symbol_N, lambda: self._merge(symbol_N))
        edges = tf.squeeze(tf.where(tf.equal(symbol_N, self.separator)), 1)
        return tf.gather(self._ids, symbol_N), edges

    def _merge(self, symbol_N):
        """Merges symbols, int64 [N], round by round until no pair has a rank."""

        def found(symbol_N):
            next_N = ragged_ops.behind(symbol_N, self.separator)
            return self._pairs.lookup(symbol_N * 2**_BITS + next_N)

        def go(symbol_N, found_N):
            return tf.reduce_any(found_N < NONE << 2 * _BITS)

        def one_round(symbol_N, found_N):
            rank_N, hit_N = self._certain(found_N)
            if self._ordered is not None:
                hit_N = self._one_by_one(symbol_N, rank_N, hit_N)
            symbol_N = tf.where(hit_N, rank_N, symbol_N)
            left = tf.where(tf.logical_not(ragged_ops.before(hit_N, False)))
            symbol_M = tf.gather_nd(symbol_N, left)
            return symbol_M, found(symbol_M)

        one = tf.TensorShape([None])
        return tf.while_loop(
            go, one_round, [symbol_N, found(symbol_N)], shape_invariants=[one, one]
        )[0]

    def _certain(self, found_N):
        """The rank of the pair at each place, and whether it may merge now."""
        rank_N = tf.bitwise.right_shift(found_N, 2 * _BITS)
        left_N = tf.bitwise.bitwise_and(tf.bitwise.right_shift(found_N, _BITS), NONE)
        right_N = tf.bitwise.bitwise_and(found_N, NONE)
        valid_N = rank_N < NONE
        clear_N = rank_N < _preempting_rank(left_N, right_N)
        clear, valid = (tf.reduce_sum(tf.cast(x, tf.int32)) for x in (clear_N, valid_N))

        def thorough():
            # Costs more, and pays where few pairs are certain.
            left_N2, right_N2 = left_N, right_N
            for _ in range(_STEPS):
                further_N = ragged_ops.before(left_N2, NONE)
                left_N2 = tf.maximum(left_N, tf.minimum(rank_N, further_N))
                further_N = ragged_ops.behind(right_N2, NONE)
                right_N2 = tf.maximum(right_N, tf.minimum(rank_N + 1, further_N))
            lowest_N = valid_N & (rank_N == _lowest_around(rank_N, self.max_symbols))
            sure_N = lowest_N | (rank_N < _preempting_rank(left_N2, right_N2))
            return _every_other(sure_N, rank_N)

        hit_N = tf.cond(4 * clear < valid, thorough, lambda: clear_N)
        return rank_N, hit_N

    def _one_by_one(self, symbol_N, rank_N, hit_N):
        """Lets a merge of `merges.ordered` wait for all lower ones around it."""
        ordered_N = tf.gather(
            self._ordered, tf.minimum(rank_N, tf.size(self._ordered, tf.int64) - 1)
        )

        def waiting():
            # Among equal ranks, the leftmost is the lowest key.
            count = tf.size(rank_N, tf.int64)
            key_N = rank_N * count + tf.range(count)
            word_N = tf.cumsum(tf.cast(tf.equal(symbol_N, self.separator), tf.int32))
            lowest_W = tf.math.segment_min(key_N, word_N)
            near_N = _lowest_around(key_N, 2 * self.max_symbols)
            free_N = (key_N == near_N) | (key_N == tf.gather(lowest_W, word_N))
            return tf.where(ordered_N, free_N, hit_N)

        return tf.cond(tf.reduce_any(ordered_N), waiting, lambda: hit_N)


def _preempting_rank(left_N, right_N):
    """The lowest rank of a merge that takes a symbol of each pair, [N]."""
    return tf.minimum(ragged_ops.before(left_N, NONE), ragged_ops.behind(right_N, NONE))


def _lowest_around(rank_N, distance):
    """The lowest rank within `distance` places or slightly more, [N]."""
    size = tf.size(rank_N)
    padded = tf.pad(rank_N, [[0, -size % distance]], constant_values=rank_N.dtype.max)
    block = tf.reduce_min(tf.reshape(padded, [-1, distance]), 1)
    last = rank_N.dtype.max
    beside = ragged_ops.before(block, last), ragged_ops.behind(block, last)
    block = tf.minimum(block, tf.minimum(*beside))
    return tf.reshape(tf.tile(block[:, None], [1, distance]), [-1])[:size]


def _every_other(sure_N, rank_N):
    """Keeps every other one of equal pairs that overlap: 1 and 3 in "aaaa"."""
    again_N = sure_N & (ragged_ops.before(rank_N, NONE) == rank_N)
    # A pair is not sure if it overlaps an equal pair that is not sure.
    start_N = ~(again_N & ragged_ops.before(sure_N, False))
    place_N = tf.range(tf.size(rank_N, tf.int64))
    (starts,) = ragged_ops.keep(start_N, place_N)
    first_N = tf.gather(starts, tf.cumsum(tf.cast(start_N, tf.int32)) - 1)
    sure_N &= tf.gather(sure_N & ~again_N, first_N)
    return sure_N & ((place_N - first_N) % 2 == 0)
