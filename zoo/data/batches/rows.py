"""Batches of rows of many lengths, each padded to the lengths of a few buckets.

Rows are sorted by length once, and neighbours share a batch. An epoch permutes the
batches and not the rows, so that the position stays one integer. The rows of a mixture
are drawn one by one, so that every batch is mixed; its lengths then differ more.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from zoo.data.batches.pipeline import (
    Batch,
    endless_batches,
    endless_mixture,
    firsts,
    one_pass,
)
from zoo.fields import at_least

_SMALLEST = 16  # tokens of the smallest bucket


def row_batches(
    tokens: np.ndarray,
    weights: np.ndarray,
    starts: np.ndarray,
    batch: int,
    seed: int,
    start: int = 0,
    counts: Sequence[int] = (),
    shares: Sequence[int] = (1,),
) -> tf.data.Dataset:
    """Endless batches for a language model out of rows.

    Args:
      tokens: int32 [N], the tokens of all rows.
      weights: float32 [N], the loss weight of each token as a target.
      starts: int64 [R + 1]: row i is `tokens[starts[i] : starts[i + 1]]`.
      batch: B, rows of a batch; rows of weight 0 fill the last one.
      seed: decides the order of the batches.
      start: the number of the first batch.
      counts: of a mixture: rows of each source, which follow each other in `starts`.
      shares: of a mixture, as in `pipeline.endless_mixture`.

    Returns:
      Batches of tokens [B,T] int32, targets [B,T] int32, weights [B,T] float32, where T
      is the smallest bucket that holds the batch's longest row.

    Raises:
      ValueError: an argument is out of its range.
    """
    at_least("batch", batch, 1)
    if len(shares) > 1:
        make = _mixed_batches(tokens, weights, starts, counts)
        return endless_mixture(make, counts, shares, batch, seed, start)
    make, count = _batches(tokens, weights, starts, batch)
    return endless_batches(make, count, seed, start)


def eval_rows(
    tokens: np.ndarray, weights: np.ndarray, starts: np.ndarray, batch: int
) -> tf.data.Dataset:
    """One pass over rows; arguments and batches are those of `row_batches`."""
    at_least("batch", batch, 1)
    make, count = _batches(tokens, weights, starts, batch)
    dataset, _ = one_pass(lambda number_1: make(number_1[0]), count, 1)
    return dataset


def bucket(length: int) -> int:
    """The inputs that a row of this many inputs is padded to: 16, 24, 32, 48, 64, ...

    At most a third of a row is padding, and a run has few shapes to compile.
    """
    size = _SMALLEST
    while size < length:
        size = size * 3 // 2 if size & (size - 1) == 0 else size * 4 // 3
    return size


def bucket_widths(longest: int) -> list[int]:
    """The widths that a batch may have, where the longest text has so many tokens.

    They are the buckets of `bucket`, but the last is `longest` itself: a bucket may be
    wider than the model's context.
    """
    widths, size = [], 1
    while size <= longest:
        widths.append(min(bucket(size), longest))
        size = bucket(size) + 1
    return widths


def _batches(tokens, weights, starts, batch):
    """The function from a batch's number to the batch, and how many there are."""
    lengths = np.diff(starts)
    order = np.argsort(lengths, kind="stable")
    count = -(-len(order) // batch)
    longest = lengths[order[np.minimum((np.arange(count) + 1) * batch, len(order)) - 1]]
    pad = _padding(tokens, weights, starts[:-1][order], lengths[order])
    with tf.device("CPU:0"):  # where tf.data reads them
        width_C = tf.constant(
            [min(bucket(n - 1), lengths.max() - 1) for n in longest.tolist()], tf.int64
        )

    def make(number) -> Batch:
        row_B = number * batch + tf.range(batch, dtype=tf.int64)
        filled_B = row_B < len(order)
        return pad(tf.minimum(row_B, len(order) - 1), filled_B, width_C[number])

    return make, count


def _mixed_batches(tokens, weights, starts, counts):
    """The function from sources, epochs and places of rows to their batch."""
    lengths = np.diff(starts)
    pad = _padding(tokens, weights, starts[:-1], lengths)
    widths = bucket_widths(int(lengths.max()) - 1)
    first_S = firsts(counts)
    with tf.device("CPU:0"):
        length_R, widths_K = tf.constant(lengths), tf.constant(widths, tf.int64)

    def make(source_B, epoch_B, place_B) -> Batch:
        del epoch_B
        row_B = tf.gather(first_S, source_B) + place_B
        longest_1 = tf.reduce_max(tf.gather(length_R, row_B), keepdims=True) - 1
        width = widths_K[tf.searchsorted(widths_K, longest_1)[0]]
        return pad(row_B, tf.ones_like(row_B, tf.bool), width)

    return make


def _padding(tokens, weights, first, lengths):
    """The function from rows, whether each counts, and a width to a batch."""
    with tf.device("CPU:0"):
        tokens_N, weights_N = tf.constant(tokens), tf.constant(weights)
        first_R, length_R = tf.constant(first), tf.constant(lengths)

    def pad(row_B, filled_B, width) -> Batch:
        first_B, length_B = tf.gather(first_R, row_B), tf.gather(length_R, row_B)
        place_T = tf.range(width)
        there_BT = (place_T < length_B[:, None] - 1) & filled_B[:, None]
        at_BT = tf.where(there_BT, first_B[:, None] + place_T, 0)
        zero = tf.zeros_like
        input_BT, target_BT = tf.gather(tokens_N, at_BT), tf.gather(tokens_N, at_BT + 1)
        weight_BT = tf.gather(weights_N, at_BT + 1)
        return {
            "tokens": tf.where(there_BT, input_BT, zero(input_BT)),
            "targets": tf.where(there_BT, target_BT, zero(target_BT)),
            "weights": tf.where(there_BT, weight_BT, zero(weight_BT)),
        }

    return pad
