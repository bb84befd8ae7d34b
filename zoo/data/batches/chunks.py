"""Batches whose rows are of about one size, but differ from epoch to epoch.

Without rows of one size, most of a batch would be padding. An epoch permutes all rows,
cuts them into chunks of `_CHUNK` batches, and sorts each chunk by size. Then it
permutes the batches. All of that is a function of the seed and the batch's number, so
the position stays one integer.

A mixture has no common epoch. Its rows are drawn as in `pipeline`, and each `_CHUNK`
batches are sorted and permuted alike; so the counts of its sources are exact in chunks.
"""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from zoo.data import shuffling
from zoo.data.batches.pipeline import Batch, drawn, endless, firsts
from zoo.fields import at_least

_CHUNK = 16  # batches whose rows are sorted together


def sorted_batches(
    make: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], Batch],
    sizes: np.ndarray,
    batch: int,
    seed: int,
    start: int = 0,
    counts: Sequence[int] = (),
    shares: Sequence[int] = (1,),
) -> tf.data.Dataset:
    """Endless batches of rows of about one size; each epoch takes every row once.

    Args:
      make: makes a batch of the numbers of its rows, int64 [B]; of whether each row
        counts, bool [B]; and of the number of the batch.
      sizes: of each row, integers [R].
      batch: B, rows of a batch; rows that do not count fill the last one of an epoch.
      seed: decides the orders.
      start: the number of the first batch.
      counts: of a mixture: rows of each source, which follow each other in `sizes`.
      shares: of a mixture, as in `pipeline.endless_mixture`.

    Raises:
      ValueError: an argument is out of its range.
    """
    at_least("batch", batch, 1)
    rows = len(sizes)
    count = -(-rows // batch)
    with tf.device("CPU:0"):
        sizes_R = tf.constant(sizes, tf.int64)

    def take(row_K, there_K, place, number) -> Batch:
        """The batch at a place of a chunk of rows, once the chunk is sorted."""
        # what fills the last chunk comes last
        size_K = tf.where(there_K, tf.gather(sizes_R, row_K), tf.int64.max)
        order_K = tf.argsort(size_K, stable=True)
        at_B = order_K[place * batch :][:batch]
        at_B = tf.ensure_shape(at_B, [batch])  # known to tf.distribute
        return make(tf.gather(row_K, at_B), tf.gather(there_K, at_B), number)

    if len(shares) > 1:
        draw, first_S = drawn(counts, shares, seed), firsts(counts)

        def mixed(chunk_1, place_1) -> Batch:
            chunk, place = chunk_1[0], place_1[0]
            number_K = chunk * (_CHUNK * batch)
            number_K += tf.range(_CHUNK * batch, dtype=tf.int64)
            source_K, _, own_K = draw(number_K)
            row_K = tf.gather(first_S, source_K) + own_K
            there_K = tf.ones_like(row_K, tf.bool)
            return take(row_K, there_K, place, chunk * _CHUNK + place)

        return endless(mixed, _CHUNK, 1, seed, start, shuffle=True)

    def numbered(epoch_1, number_1) -> Batch:
        epoch, number = epoch_1[0], number_1[0]
        first = number // _CHUNK * (_CHUNK * batch)
        place_K = first + tf.range(_CHUNK * batch, dtype=tf.int64)
        there_K = place_K < rows
        place_K = tf.where(there_K, place_K, 0)
        epoch_K = tf.fill(tf.shape(place_K), epoch)
        row_K = shuffling.permuted(seed, epoch_K, place_K, rows)
        return take(row_K, there_K, number % _CHUNK, epoch * count + number)

    return endless(numbered, count, 1, seed, start, shuffle=True)
