"""Merges a long array of symbols window by window, to the same tokens.

Call two tokens stable if BPE encodes their joined text as these two tokens. Two facts
hold for any list of merges.

1. If BPE encodes a text as some tokens, each two neighbours are stable: no merge ever
   crossed the edge between them.
2. If each two neighbours in a list of tokens are stable, BPE encodes the joined text as
   this list. Otherwise some merge would be the first one to cross an edge. That merge
   would also come in the text of the two tokens beside the edge.

So a window may start at a token of the window before. If its first token is that same
token, all neighbours were seen side by side, and fact 2 holds for both windows
together. Otherwise `merge` says no, and the caller merges the whole array at once. That
takes a chain of merges that pre-empt each other over an eighth of a window.

Example: windows of 8 symbols over `abcdefghijk`. Window 1 merges to `ab cd ef gh`. The
tokens near its end may depend on later text, so only `ab cd` is taken. Window 2 starts
at `ef` and merges to `ef ghi jk`. Its first token is the expected `ef`, so the result
is `ab cd ef ghi jk`.
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
      merge: a function that merges an array of any length.
      sizes: the symbols in each number's token, int64.
      separator: a number that never merges.
      window: the symbols in a window, at least 16 times the largest size.

    Returns:
      Whether the windows fit together, bool; and the merged symbols, int64, or
      `symbol_N` where they do not fit.
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
    """The number of tokens to take: up to the last word's start, or 7/8 of a window."""
    known = tf.where(place_M <= window - window // 8)
    late = tf.where(tf.equal(merged_M, separator) & (place_M >= window // 2))
    return tf.concat([known, late], 0)[-1, 0]
