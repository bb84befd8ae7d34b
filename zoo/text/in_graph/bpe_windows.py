"""Merges a long array of symbols window by window, to the same tokens.

Two facts make that exact, whatever the merges are. Tokens of which each two neighbours,
taken by themselves, are merged to just these two, are what their whole text is merged
to: for think of the first merge across an edge between two of them; it would have come
in the text of these two as well. And of what a text is merged to, each two neighbours
are like that, for nothing ever merged across their edges.

So a window may start where a token of the last one starts. If its first token is that
same token, then the tokens of the last window before it and its own are all of them
neighbours that were seen side by side. If it is not, which takes a chain of merges that
pre-empt each other over an eighth of a window, all is merged at once instead.
"""

from collections.abc import Callable

import tensorflow as tf


def merge(
    symbol_N: tf.Tensor,
    merge: Callable[[tf.Tensor], tf.Tensor],
    sizes: tf.Tensor,
    separator: int,
    window: int,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Merges symbols, in time and memory linear in their number.

    Args:
      symbol_N: int64, a separator first.
      merge: what merges an array of any length.
      sizes: for each number the symbols that it is made of, int64.
      separator: the number that never merges.
      window: how many symbols; at least 16 times the largest size.

    Returns:
      Whether the windows fit together, and what `merge` gives for all symbols, int64;
      the symbols where they do not.
    """
    count = tf.size(symbol_N, tf.int64)

    def go(start, expected, good, number, parts):
        return good & (start < count)

    def step(start, expected, good, number, parts):
        merged_M = merge(symbol_N[start : start + window])
        good = tf.equal(merged_M[0], expected)

        def part():
            place_M = tf.cumsum(tf.gather(sizes, merged_M), exclusive=True)
            stop = _stop(merged_M, place_M, separator, window)
            return start + place_M[stop], merged_M[stop], merged_M[:stop]

        start, expected, taken = tf.cond(
            start + window < count, part, lambda: (count, expected, merged_M)
        )
        return start, expected, good, number + 1, parts.write(number, taken)

    parts = tf.TensorArray(
        tf.int64, 0, dynamic_size=True, infer_shape=False, element_shape=[None]
    )
    first = [tf.constant(number, tf.int64) for number in (0, separator)]
    *_, good, _, parts = tf.while_loop(
        go, step, [*first, True, 0, parts], parallel_iterations=1
    )
    return good, tf.cond(good, parts.concat, lambda: symbol_N)


def _stop(merged_M, place_M, separator, window):
    """How many tokens of a window to take: those before a word, if one starts late."""
    known = tf.where(place_M <= window - window // 8)
    late = tf.where(tf.equal(merged_M, separator) & (place_M >= window // 2))
    return tf.concat([known, late], 0)[-1, 0]
