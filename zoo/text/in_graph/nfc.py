"""Unicode normalization form C with core operations.

The algorithm is that of Unicode Standard Annex 15: decompose, put marks in canonical
order, compose again. The tables come from the installed `tokenizers`, character by
character, so both have the same Unicode version.

Example: "e", acute accent, dot below.

    decompose    e, acute, dot below: each is one character already.
    order        e, dot below, acute: the dot below has the lower class.
    compose      Round 1: "e" and the dot below have a composite: "ẹ", acute.
                 Round 2: "ẹ" and the acute accent have none. The result is "ẹ", acute.
"""

import functools

import tensorflow as tf
from tokenizers import normalizers

from zoo.text.in_graph import pre_tokenizers, ragged_ops

POINTS = 0x110000
# Above the largest number that `tables` gives a mark.
_MARKS = 256
# Marks with the lowest and the highest class, U+0334 and U+0345.
_LOWEST, _HIGHEST = "\u0334", "\u0345"


class Composed(tf.Module):
    """Normalization form C of texts."""

    def __init__(self):
        """Builds the tables."""
        super().__init__()
        decomposed, composed, order = tables()
        self._expand = Expand(decomposed)
        self._order = Order()
        pairs = {first * POINTS + second: p for (first, second), p in composed.items()}
        self._pairs = ragged_ops.table(pairs, tf.int64, tf.int32, -1)
        # A text without these characters is in form C.
        active = {second for _, second in composed} | set(order)
        active |= set(decomposed) - set(composed.values())
        self._inert = f"[^{pre_tokenizers.ranges(active)}]*"

    def __call__(self, text_B: tf.Tensor) -> tf.Tensor:
        """The texts in form C, string [B]."""
        inert = tf.reduce_all(tf.strings.regex_full_match(text_B, self._inert))
        return tf.cond(inert, lambda: text_B, lambda: self._normalize(text_B))

    def _normalize(self, text_B):
        """Form C by all three steps."""
        points_BN = tf.strings.unicode_decode(text_B, "UTF-8")
        point_N, row_N = self._expand(
            points_BN.values, ragged_ops.row_of_each(points_BN)
        )
        point_N, row_N = self._compose(*self._order.sort(point_N, row_N))
        points_BN = ragged_ops.ragged(point_N, row_N, tf.size(text_B, tf.int64))
        return tf.strings.unicode_encode(points_BN, "UTF-8")

    def _compose(self, point_N, row_N):
        """Joins each starter with marks behind it: one pair for a starter and round."""

        def go(again, point_N, row_N, passed_N):
            return again

        def one_round(again, point_N, row_N, passed_N):
            count = tf.size(point_N)
            place_N = tf.range(count)
            order_N = self._order.lookup(point_N)
            start_N = (order_N == 0) | ragged_ops.changes(row_N)
            # The starter of a place is the last starter before the place.
            group_N = tf.cumsum(tf.cast(start_N, tf.int32), exclusive=True)
            starts = tf.concat([[0], *ragged_ops.keep(start_N, place_N)], 0)
            starter_N = tf.gather(starts, group_N)
            beside_N = starter_N == place_N - 1
            above_N = (order_N > 0) & (ragged_ops.before(order_N, 0) < order_N)
            key_N = tf.cast(tf.gather(point_N, starter_N), tf.int64) * POINTS
            new_N = self._pairs.lookup(key_N + tf.cast(point_N, tf.int64))
            fits_N = (new_N >= 0) & (beside_N | above_N) & ~passed_N & (group_N > 0)
            fits_N &= tf.gather(row_N, starter_N) == row_N
            # Each starter takes its first mark that fits, and no mark before that one
            # in later rounds.
            first = tf.math.segment_min(tf.where(fits_N, place_N, count), group_N)
            first_N = tf.gather(first, group_N)
            hit_N = fits_N & (place_N == first_N)
            at, new = ragged_ops.keep(hit_N, starter_N, new_N)
            point_N = tf.tensor_scatter_nd_update(point_N, at[:, None], new)
            passed_N |= (place_N < first_N) & (first_N < count)
            kept = ragged_ops.keep(~hit_N, point_N, row_N, passed_N)
            return tf.reduce_any(hit_N), *kept

        one = tf.TensorShape([None])
        passed_N = tf.zeros_like(point_N, tf.bool)
        result = tf.while_loop(
            go,
            one_round,
            [tf.size(point_N) > 1, point_N, row_N, passed_N],
            shape_invariants=[tf.TensorShape([]), one, one, one],
        )
        return result[1], result[2]


class Order(tf.Module):
    """The canonical order of marks."""

    def __init__(self):
        """Builds the table."""
        super().__init__()
        self._table = ragged_ops.table(tables()[2], tf.int32, tf.int32, 0)

    def lookup(self, point_N: tf.Tensor) -> tf.Tensor:
        """A number that sorts marks, 0 for other characters."""
        return self._table.lookup(point_N)

    def sort(self, point_N: tf.Tensor, row_N: tf.Tensor):
        """Sorts the marks of each run; returns both arguments in this order."""
        order_N = self.lookup(point_N)
        first_N = ragged_ops.changes(row_N) | (order_N == 0)
        run_N = tf.cumsum(tf.cast(first_N, tf.int64))
        by = tf.argsort(run_N * _MARKS + tf.cast(order_N, tf.int64), stable=True)
        return tf.gather(point_N, by), tf.gather(row_N, by)


class Expand(tf.Module):
    """Replaces characters by strings of characters, or by nothing."""

    def __init__(self, replacements: dict[int, tuple[int, ...]]):
        """Builds the tables; characters without a replacement stay."""
        super().__init__()
        numbers = {point: number for number, point in enumerate(replacements, start=1)}
        self._number = ragged_ops.table(numbers, tf.int32, tf.int32, 0)
        lengths = [1, *map(len, replacements.values())]
        self._lengths = tf.constant(lengths)
        self._starts = tf.cumsum(self._lengths, exclusive=True)
        self._pool = tf.constant([0, *(p for r in replacements.values() for p in r)])

    def __call__(self, point_N: tf.Tensor, row_N: tf.Tensor):
        """The new characters, and the row that each belongs to."""
        number_N = self._number.lookup(point_N)
        start_N = tf.gather(self._starts, number_N)
        limit_N = start_N + tf.gather(self._lengths, number_N)
        taken = ragged_ops.ranges(start_N, limit_N)
        source = ragged_ops.row_of_each(taken)
        kept = tf.gather(tf.where(number_N == 0, point_N, -1), source)
        new = tf.where(kept >= 0, kept, tf.gather(self._pool, taken.values))
        return new, tf.gather(row_N, source)


@functools.cache
def tables() -> tuple[dict, dict, dict]:
    """Canonical decompositions, primary composites and the canonical order of marks.

    Returns:
      Three tables: from a character to the characters that it decomposes to; from two
      characters to their composite; from a mark to a number above 0 that sorts it.
    """
    form_d = normalizers.NFD().normalize_str
    form_c = normalizers.NFC().normalize_str
    decomposed, composed = {}, {}
    for point in pre_tokenizers.code_points():
        text = form_d(chr(point))
        if text != chr(point):
            decomposed[point] = tuple(map(ord, text))
            first = form_c(text[:-1])
            if len(first) == 1 and form_c(chr(point)) == chr(point):
                composed[ord(first), ord(text[-1])] = point

    def behind(one, other):
        # whether form D puts `one` behind `other`
        return form_d(one + other) == other + one != one + other

    marks = [
        chr(point)
        for point in pre_tokenizers.matching(r"\p{M}") - set(decomposed)
        if behind(chr(point), _LOWEST) or behind(_HIGHEST, chr(point))
    ]
    marks.sort(key=functools.cmp_to_key(lambda a, b: behind(a, b) - behind(b, a)))
    order, number = {}, 0
    for before, mark in zip([_LOWEST, *marks], marks, strict=False):
        number += not order or behind(mark, before)
        order[ord(mark)] = number
    return decomposed, composed, order
