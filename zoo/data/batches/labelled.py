"""Batches of texts with labels, each padded to the smallest bucket that holds it.

A length may say something of the label, so the rows of a batch must differ from epoch
to epoch: they are drawn as in `chunks`.
"""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from zoo import shapes
from zoo.data.batches.chunks import sorted_batches
from zoo.data.batches.pipeline import Batch, one_pass
from zoo.data.batches.rows import bucket_widths


def labelled_batches(
    tokens: np.ndarray,
    starts: np.ndarray,
    labels: np.ndarray,
    batch: int,
    seed: int,
    start: int = 0,
    weights: np.ndarray | None = None,
    change: Callable[[Batch, tf.Tensor], Batch] | None = None,
    counts: Sequence[int] = (),
    shares: Sequence[int] = (1,),
) -> tf.data.Dataset:
    """Endless batches of texts with labels; each epoch takes every row once.

    Args:
      tokens: int32 [N], the tokens of all rows.
      starts: int64 [R + 1]: row i is `tokens[starts[i] : starts[i + 1]]`.
      labels: int32 or float32: [R], one a row; or [N], one a token.
      batch: B, rows of a batch; rows of weight 0 fill the last one of an epoch.
      seed: decides the orders.
      start: the number of the first batch.
      weights: float32 [N], where there is a label a token: 0 where there is none.
      change: gets each batch and its number, and gives the batch to use; None gives
        the batches as they are.
      counts: of a mixture: rows of each source, which follow each other in `starts`.
      shares: of a mixture, as in `pipeline.endless_mixture`.

    Returns:
      Batches of tokens [B,T] int32, lengths [B] int32, label [B] or [B,T], weights
      float32 of the label's shape. T is the smallest bucket that holds the batch's
      longest row.

    Raises:
      ValueError: an argument is out of its range, or has another shape.
    """
    gather, lengths = _gatherer(tokens, starts, labels, weights)

    def make(row_B, there_B, number) -> Batch:
        made = gather(row_B, there_B)
        return change(made, number) if change else made

    return sorted_batches(make, lengths, batch, seed, start, counts, shares)


def eval_labelled(
    tokens: np.ndarray,
    starts: np.ndarray,
    labels: np.ndarray,
    batch: int,
    weights: np.ndarray | None = None,
) -> tf.data.Dataset:
    """One pass over texts with labels, sorted by length.

    The arguments are those of `labelled_batches`. The batches have an entry more, `row`
    [B] int64: the number of each row.
    """
    gather, lengths = _gatherer(tokens, starts, labels, weights)
    with tf.device("CPU:0"):
        order_R = tf.constant(np.argsort(lengths, kind="stable"))

    def make(place_B) -> Batch:
        there_B = place_B < len(lengths)
        row_B = tf.gather(order_R, tf.minimum(place_B, len(lengths) - 1))
        return {**gather(row_B, there_B), "row": row_B}

    return one_pass(make, len(lengths), batch)[0]


def _gatherer(tokens, starts, labels, weights):
    """The function from the rows of a batch to the batch, and the rows' lengths."""
    lengths = np.diff(starts)
    by_token = weights is not None
    shapes.check("labels", labels, "N", N=len(tokens) if by_token else len(lengths))
    with tf.device("CPU:0"):  # where tf.data reads them
        tokens_N, labels_N = tf.constant(tokens), tf.constant(labels)
        weights_N = tf.constant(weights) if by_token else None
        first_R, length_R = tf.constant(starts[:-1]), tf.constant(lengths)
        buckets = tf.constant(bucket_widths(int(lengths.max())), tf.int64)

    def gather(row_B, there_B) -> Batch:
        length_B = tf.where(there_B, tf.gather(length_R, row_B), 0)
        longest = tf.reduce_max(length_B)
        T = tf.reduce_min(tf.where(buckets >= longest, buckets, tf.int64.max))
        place_T = tf.range(T)
        there_BT = place_T < length_B[:, None]
        at_BT = tf.where(there_BT, tf.gather(first_R, row_B)[:, None] + place_T, 0)

        def padded(values_N):
            values_BT = tf.gather(values_N, at_BT)
            return tf.where(there_BT, values_BT, tf.zeros_like(values_BT))

        if weights_N is not None:
            label, weight = padded(labels_N), padded(weights_N)
        else:
            label, weight = tf.gather(labels_N, row_B), tf.cast(there_B, tf.float32)
        return {
            "tokens": padded(tokens_N),
            # a model may divide by a length
            "lengths": tf.cast(tf.maximum(length_B, 1), tf.int32),
            "label": label,
            "weights": weight,
        }

    return gather, lengths
