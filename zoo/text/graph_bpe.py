"""Byte pair encoding (Sennrich et al. 2016, arXiv:1508.07909) with core operations.

The rule is sequential: merge the pair of lowest rank, the leftmost of several, until no
pair is left. Here all words of a request lie in one array of symbols, and each round
merges at once every pair of which it is certain that nothing can pre-empt it, so that a
word of n symbols takes about log n rounds, and not n.

A pair of rank r is pre-empted if, before its turn, its left symbol merges with what is
left of it or its right symbol with what is right of it. The left symbol can do so
directly (the pair on the left has a rank below r), or after its left neighbour has
itself merged to the left, if there is a merge of a rank below r whose left part ends
with that neighbour. That is a recursion from pair to pair, written `_threat` below, and
cut off after a few steps on the safe side. Where little is certain in that way, a pair
may also merge if no pair of a lower rank is as near as the longest token is long.

This needs merges of which each ranks behind those that make its parts; `graph_merges`
sees to that.
"""

import tensorflow as tf

from zoo.text import graph_arrays

# Ranks have 20 bits, three of them make the value of the table of pairs.
_BITS = 20
NONE = 2**_BITS - 1
_STEPS = 2


class Pairs(tf.Module):
    """The merges as a table, and the loop that applies them."""

    def __init__(self, merges, size: int):
        """Builds the tables.

        Args:
          merges: what `graph_merges.prepare` gave.
          size: the number of ids.
        """
        super().__init__()
        self.separator = size
        self._base = size + 1
        self._reach = merges.reach
        self._ids = tf.constant([0, *merges.ids], tf.int64)
        none = (NONE << 2 * _BITS) + (NONE << _BITS) + NONE
        pairs = {
            left * self._base + right: (rank << 2 * _BITS) + (low - 1 << _BITS) + high
            for (left, right), (rank, low, high) in merges.threats.items()
        }
        self._pairs = graph_arrays.table(pairs, tf.int64, tf.int64, none)

    def words(self, symbol_N: tf.Tensor, count) -> tuple[tf.Tensor, tf.Tensor]:
        """Merges the symbols of words.

        Args:
          symbol_N: int64 ids, with a separator before, between and behind words.
          count: the number of words, M.

        Returns:
          The tokens of all words, int32, and where each word starts and the last one
          ends, int64 [M + 1].
        """
        symbol_N = self._merge(symbol_N)
        edge_N = tf.equal(symbol_N, self.separator)
        # Of no words there are two separators too.
        edges = tf.squeeze(tf.where(edge_N), 1)[: count + 1]
        (tokens,) = graph_arrays.keep(~edge_N, tf.cast(symbol_N, tf.int32))
        return tokens, edges - tf.range(tf.size(edges, tf.int64))

    def _merge(self, symbol_N):
        def found(symbol_N):
            return self._pairs.lookup(symbol_N * self._base + tf.roll(symbol_N, -1, 0))

        def go(symbol_N, found_N):
            return tf.reduce_any(found_N < NONE << 2 * _BITS)

        def round_(symbol_N, found_N):
            rank_N, hit_N = self._certain(found_N)
            new_N = tf.gather(self._ids, tf.where(hit_N, rank_N, 0))
            symbol_N = tf.where(hit_N, new_N, symbol_N)
            (symbol_M,) = graph_arrays.keep(~tf.roll(hit_N, 1, 0), symbol_N)
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
        clear_N = (
            valid_N
            & (_threat(rank_N, left_N, 1) >= rank_N)
            & (_threat(rank_N, right_N, -1) >= rank_N)
        )
        plain_N = clear_N & (tf.roll(rank_N, 1, 0) != rank_N)
        # Fewer than a quarter of all pairs.
        surplus_N = tf.where(plain_N, 3, tf.where(valid_N, -1, 0))
        hit_N = tf.cond(
            tf.reduce_sum(surplus_N) < 0,
            lambda: _every_other(
                clear_N | (valid_N & (rank_N == _lowest_around(rank_N, self._reach))),
                rank_N,
            ),
            lambda: plain_N,
        )
        return rank_N, hit_N


def _threat(rank_N, longer_N, side):
    """The lowest rank at which a neighbour may take a symbol of the pair, [N].

    Of the pairs beside a place, `rank_N` is the rank of the pair itself and `longer_N`
    the lowest rank of a merge in which the outer part is longer than the neighbour.
    """
    threat_N = tf.minimum(rank_N, longer_N)
    for _ in range(_STEPS):
        further_N = tf.roll(threat_N, side, 0)
        threat_N = tf.minimum(rank_N, tf.maximum(longer_N, further_N))
    return tf.roll(threat_N, side, 0)


def _lowest_around(rank_N, reach):
    """The lowest rank within `reach` places or some more, [N]."""
    size = tf.size(rank_N)
    padded = tf.pad(rank_N, [[0, -size % reach]], constant_values=NONE)
    block = tf.reduce_min(tf.reshape(padded, [-1, reach]), 1)
    block = tf.minimum(block, tf.minimum(tf.roll(block, 1, 0), tf.roll(block, -1, 0)))
    return tf.repeat(block, reach)[:size]


def _every_other(sure_N, rank_N):
    """Of pairs that overlap, as in "aaaa", the first, the third and so on."""
    again_N = sure_N & (tf.roll(rank_N, 1, 0) == rank_N)
    # A pair that repeats one that is not sure is not sure either.
    start_N = ~(again_N & tf.roll(sure_N, 1, 0))
    place_N = tf.range(tf.size(rank_N, tf.int64))
    (starts,) = graph_arrays.keep(start_N, place_N)
    first_N = tf.gather(starts, tf.cumsum(tf.cast(start_N, tf.int32)) - 1)
    sure_N &= tf.gather(sure_N & ~again_N, first_N)
    return sure_N & ((place_N - first_N) % 2 == 0)
