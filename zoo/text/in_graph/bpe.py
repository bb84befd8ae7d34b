"""Byte pair encoding (Sennrich et al. 2016, arXiv:1508.07909) with core operations.

The rule is sequential: merge the pair of lowest rank, the leftmost of several, until no
pair is left. Here all words of a request lie in one array of symbols, and each round
merges at once every pair of which it is certain that nothing can pre-empt it, so that a
word of n symbols takes about log n rounds, and not n.

A pair of rank r is pre-empted if, before its turn, its left symbol merges with what is
left of it or its right symbol with what is right of it. The left symbol can do so
directly (the pair on the left has a rank below r), or after its left neighbour has
itself merged to the left, if there is a merge of a rank below r whose left part ends
with that neighbour. The table of pairs knows the lower of these ranks on each side. For
the second way the neighbour must be able to merge to the left, and so on: a recursion
from pair to pair, which is followed for some steps where little is certain. There a
pair may also merge if no pair of a lower rank is as near as the longest token is long.

This needs merges of which each ranks behind those that make its parts; `graph_merges`
sees to that.
"""

import collections
import itertools

import tensorflow as tf

from zoo.text.in_graph import bpe_windows, ragged_ops

# Numbers of symbols, which are ranks too, have 20 bits; three of them make the value
# of the table of pairs.
_BITS = 20
NONE = 2**_BITS - 1
_STEPS = 2
_WINDOW = 2**15  # symbols; their arrays stay in the caches


class Pairs(tf.Module):
    """The merges as a table, and the loop that applies them.

    Symbols have numbers of their own: first those that words are made of, as they were
    given, then the separator of words, then the merges by rank.

    Attributes:
      separator: its number.
    """

    def __init__(self, merges, symbols: list[int]):
        """Builds the tables.

        Args:
          merges: what `graph_merges.prepare` gave.
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
        self._window = max(_WINDOW, 16 * merges.reach)
        self._reach = merges.reach
        self._ids = tf.constant([*symbols, -1, *merges.ids])
        self._sizes = tf.constant([*[1] * first, *merges.sizes], tf.int64)
        numbers = collections.defaultdict(list)
        for number, token in enumerate(symbols):
            numbers[token].append(number)
        for number, token in enumerate(merges.ids, start=first):
            numbers[token].append(number)
        pairs = {}
        for (left, right), ranks in merges.threats.items():
            rank, low, high = (min(first + rank, NONE) for rank in ranks)
            # From the right a pair of equal rank is no threat.
            high = min(rank, high) + 1 if min(rank, high) < NONE else NONE
            value = (rank << 2 * _BITS) + (min(rank, low) << _BITS) + high
            for a, b in itertools.product(numbers[left], numbers[right]):
                pairs[(a << _BITS) + b] = value
        none = (NONE << 2 * _BITS) + (NONE << _BITS) + NONE
        self._pairs = ragged_ops.table(pairs, tf.int64, tf.int64, none)

    def words(self, symbol_N: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Merges the symbols of words.

        Args:
          symbol_N: int64 numbers, with a separator before, between and behind words.

        Returns:
          The tokens of all words, int32, still with the separators, -1, and the places
          of those, int64.
        """
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
        def found(symbol_N):
            next_N = ragged_ops.behind(symbol_N, self.separator)
            return self._pairs.lookup(symbol_N * 2**_BITS + next_N)

        def go(symbol_N, found_N):
            return tf.reduce_any(found_N < NONE << 2 * _BITS)

        def round_(symbol_N, found_N):
            rank_N, hit_N = self._certain(found_N)
            symbol_N = tf.where(hit_N, rank_N, symbol_N)
            left = tf.where(~ragged_ops.before(hit_N, False))
            symbol_M = tf.gather_nd(symbol_N, left)
            return symbol_M, found(symbol_M)

        one = tf.TensorShape([None])
        return tf.while_loop(
            go, round_, [symbol_N, found(symbol_N)], shape_invariants=[one, one]
        )[0]

    def _certain(self, found_N):
        """The rank of the pair at each place, and whether it may merge now."""
        rank_N = tf.bitwise.right_shift(found_N, 2 * _BITS)
        left_N = tf.bitwise.bitwise_and(tf.bitwise.right_shift(found_N, _BITS), NONE)
        right_N = tf.bitwise.bitwise_and(found_N, NONE)
        valid_N = rank_N < NONE
        clear_N = rank_N < _threat(left_N, right_N)
        clear, valid = (tf.reduce_sum(tf.cast(x, tf.int32)) for x in (clear_N, valid_N))

        # Where fewer than a quarter of all pairs are certain, it pays to know more.
        def thorough():
            left_N2, right_N2 = left_N, right_N
            for _ in range(_STEPS):
                further_N = ragged_ops.before(left_N2, NONE)
                left_N2 = tf.maximum(left_N, tf.minimum(rank_N, further_N))
                further_N = ragged_ops.behind(right_N2, NONE)
                right_N2 = tf.maximum(right_N, tf.minimum(rank_N + 1, further_N))
            lowest_N = valid_N & (rank_N == _lowest_around(rank_N, self._reach))
            sure_N = lowest_N | (rank_N < _threat(left_N2, right_N2))
            return _every_other(sure_N, rank_N)

        hit_N = tf.cond(4 * clear < valid, thorough, lambda: clear_N)
        return rank_N, hit_N


def _threat(left_N, right_N):
    """The lowest rank at which a neighbour may take a symbol of each pair."""
    return tf.minimum(ragged_ops.before(left_N, NONE), ragged_ops.behind(right_N, NONE))


def _lowest_around(rank_N, reach):
    """The lowest rank within `reach` places or some more, [N]."""
    size = tf.size(rank_N)
    padded = tf.pad(rank_N, [[0, -size % reach]], constant_values=NONE)
    block = tf.reduce_min(tf.reshape(padded, [-1, reach]), 1)
    beside = ragged_ops.before(block, NONE), ragged_ops.behind(block, NONE)
    block = tf.minimum(block, tf.minimum(*beside))
    return tf.reshape(tf.tile(block[:, None], [1, reach]), [-1])[:size]


def _every_other(sure_N, rank_N):
    """Of pairs that overlap, as in "aaaa", the first, the third and so on."""
    again_N = sure_N & (ragged_ops.before(rank_N, NONE) == rank_N)
    # A pair that repeats one that is not sure is not sure either.
    start_N = ~(again_N & ragged_ops.before(sure_N, False))
    place_N = tf.range(tf.size(rank_N, tf.int64))
    (starts,) = ragged_ops.keep(start_N, place_N)
    first_N = tf.gather(starts, tf.cumsum(tf.cast(start_N, tf.int32)) - 1)
    sure_N &= tf.gather(sure_N & ~again_N, first_N)
    return sure_N & ((place_N - first_N) % 2 == 0)
