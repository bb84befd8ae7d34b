"""Batches of sources and targets, each side padded to the batch's own longest row.

Rows whose longer side has about one length share a batch. One trace of a step serves
all widths; they are multiples of 8, as kernels of matrix products like them, so that a
run has few of them.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from zoo.data.batches.chunks import sorted_batches
from zoo.data.batches.pipeline import Batch, one_pass

_MULTIPLE = 8  # tokens


def seq2seq_batches(
    tokens: np.ndarray,
    starts: np.ndarray,
    batch: int,
    seed: int,
    start: int = 0,
    padding: int = 0,
    counts: Sequence[int] = (),
    shares: Sequence[int] = (1,),
) -> tf.data.Dataset:
    """Endless batches of sources and targets; each epoch takes every example once.

    Args:
      tokens: int32 [N], the tokens of all rows.
      starts: int64 [2 R + 1]: the source of example i is the row 2 i, which is
        `tokens[starts[2 * i] : starts[2 * i + 1]]`; its target is the row 2 i + 1, and
        begins with the token that the decoder reads first.
      batch: B, examples of a batch; examples of weight 0 fill the last one of an epoch.
      seed: decides the orders.
      start: the number of the first batch.
      padding: the token behind a source.
      counts: of a mixture: examples of each source of data, which follow each other.
      shares: of a mixture, as in `pipeline.endless_mixture`.

    Returns:
      Batches of source [B,S] int32, source_lengths [B] int32, tokens [B,T] int32,
      targets [B,T] int32, weights [B,T] float32 and lengths [B] int32, where S and T
      are multiples of 8, or those of the longest source and target.

    Raises:
      ValueError: an argument is out of its range.
    """
    gather, sizes_R = _gatherer(tokens, starts, padding)

    def make(row_B, there_B, number) -> Batch:
        del number
        return gather(row_B, there_B)

    return sorted_batches(make, sizes_R, batch, seed, start, counts, shares)


def eval_seq2seq(
    tokens: np.ndarray, starts: np.ndarray, batch: int, padding: int = 0
) -> tf.data.Dataset:
    """One pass over sources and targets, sorted by size.

    The arguments are those of `seq2seq_batches`. The batches have an entry more, `row`
    [B] int64: the number of each example; examples of weight 0 fill the last batch.
    """
    gather, sizes_R = _gatherer(tokens, starts, padding)
    with tf.device("CPU:0"):
        order_R = tf.constant(np.argsort(sizes_R, kind="stable"))

    def make(place_B) -> Batch:
        there_B = place_B < len(sizes_R)
        row_B = tf.gather(order_R, tf.minimum(place_B, len(sizes_R) - 1))
        return {**gather(row_B, there_B), "row": row_B}

    return one_pass(make, len(sizes_R), batch)[0]


def _gatherer(tokens, starts, padding):
    """The function from the examples of a batch to the batch, and their sizes."""
    lengths = np.diff(starts)
    side_R2 = np.stack([lengths[::2], lengths[1::2] - 1], 1)
    longest_2 = side_R2.max(0)
    # by the longer side, and then by the tokens of both
    sizes_R = side_R2.max(1) * (longest_2.sum() + 1) + side_R2.sum(1)
    with tf.device("CPU:0"):  # where tf.data reads them
        tokens_N = tf.constant(tokens)
        first_R2 = tf.constant(np.stack([starts[:-1:2], starts[1::2]], 1))
        length_R2 = tf.constant(side_R2)

    def gather(row_B, there_B) -> Batch:
        first_B2 = tf.gather(first_R2, row_B)
        # a model may divide by a length
        length_B2 = tf.where(there_B[:, None], tf.gather(length_R2, row_B), 1)
        whole_2 = -(-tf.reduce_max(length_B2, 0) // _MULTIPLE) * _MULTIPLE
        source_width, target_width = tf.unstack(tf.minimum(whole_2, longest_2))

        def padded(side, width, shift, fill):
            place_T = tf.range(width)
            there_BT = place_T < length_B2[:, side, None]
            at_BT = tf.where(there_BT, first_B2[:, side, None] + place_T + shift, 0)
            return tf.where(there_BT, tf.gather(tokens_N, at_BT), fill), there_BT

        source_BS, _ = padded(0, source_width, 0, padding)
        tokens_BT, there_BT = padded(1, target_width, 0, 0)
        targets_BT, _ = padded(1, target_width, 1, 0)
        return {
            "source": source_BS,
            "source_lengths": tf.cast(length_B2[:, 0], tf.int32),
            "tokens": tokens_BT,
            "targets": targets_BT,
            "weights": tf.cast(there_BT & there_B[:, None], tf.float32),
            "lengths": tf.cast(length_B2[:, 1], tf.int32),
        }

    return gather, sizes_R
