"""Batches of sources and targets, each side padded to a width of few.

A step is compiled for each pair of widths, so there is one width of targets for each
width of sources: that which holds nine of ten targets of such sources. A row whose
target is longer goes to the next pair that holds it. An example of widths of sources
and of targets:

    sources      16   24   32   48   60
    targets      16   24   48   48   71
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from zoo.data.batches.chunks import sorted_batches
from zoo.data.batches.pipeline import Batch, one_pass
from zoo.data.batches.rows import bucket, bucket_widths

_SHARE = 0.9  # of the targets that the width of their sources holds


class Widths(NamedTuple):
    """Pairs of widths, the smallest first.

    Attributes:
      source_W: of sources, int64 [W].
      target_W: of what the decoder reads, int64 [W].
      pair_R: the number of the smallest pair that holds each example, int64 [R].
    """

    source_W: np.ndarray
    target_W: np.ndarray
    pair_R: np.ndarray


def widths(source_R: np.ndarray, target_R: np.ndarray) -> Widths:
    """Pairs of widths for examples; see the module.

    Args:
      source_R: tokens of each source.
      target_R: tokens that the decoder reads of each target.
    """
    source_W = np.array(bucket_widths(int(source_R.max())))
    longest = int(target_R.max())
    at_R = np.searchsorted(source_W, source_R)
    target_W = np.ones_like(source_W)
    for pair in range(len(source_W)):
        of_pair = target_R[at_R == pair]
        if len(of_pair):
            held = int(np.quantile(of_pair, _SHARE, method="higher"))
            target_W[pair] = min(bucket(held), longest)
    target_W[-1] = longest
    target_W = np.maximum.accumulate(target_W)
    pair_R = np.maximum(at_R, np.searchsorted(target_W, target_R))
    return Widths(source_W, target_W, pair_R)


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
      are one of the pairs of `widths`.

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
    source_R, target_R = lengths[::2], lengths[1::2] - 1
    of = widths(source_R, target_R)
    # by pair, and within a pair by tokens
    sizes_R = of.pair_R * (int(lengths.max()) * 2 + 1) + source_R + target_R
    with tf.device("CPU:0"):  # where tf.data reads them
        tokens_N = tf.constant(tokens)
        first_R2 = tf.constant(np.stack([starts[:-1:2], starts[1::2]], 1))
        length_R2 = tf.constant(np.stack([source_R, target_R], 1))
        pair_R, source_W, target_W = (
            tf.constant(x, tf.int64) for x in (of.pair_R, of.source_W, of.target_W)
        )

    def gather(row_B, there_B) -> Batch:
        first_B2 = tf.gather(first_R2, row_B)
        # a model may divide by a length
        length_B2 = tf.where(there_B[:, None], tf.gather(length_R2, row_B), 1)
        pair_B = tf.where(there_B, tf.gather(pair_R, row_B), 0)
        pair = tf.reduce_max(pair_B)

        def padded(side, width, shift, fill):
            place_T = tf.range(width)
            there_BT = place_T < length_B2[:, side, None]
            at_BT = tf.where(there_BT, first_B2[:, side, None] + place_T + shift, 0)
            return tf.where(there_BT, tf.gather(tokens_N, at_BT), fill), there_BT

        source_BS, _ = padded(0, source_W[pair], 0, padding)
        tokens_BT, there_BT = padded(1, target_W[pair], 0, 0)
        targets_BT, _ = padded(1, target_W[pair], 1, 0)
        return {
            "source": source_BS,
            "source_lengths": tf.cast(length_B2[:, 0], tf.int32),
            "tokens": tokens_BT,
            "targets": targets_BT,
            "weights": tf.cast(there_BT & there_B[:, None], tf.float32),
            "lengths": tf.cast(length_B2[:, 1], tf.int32),
        }

    return gather, sizes_R
