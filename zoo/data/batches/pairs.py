"""Batches of groups: a text with its positive and negatives, or two answers.

Every entry is [B, ...], so that a batch can be split over parts and replicas. The texts
of a group stand beside each other on the axis G. A batch is padded to a bucket that
holds its longest text.
"""

import numpy as np
import tensorflow as tf

from zoo.data.batches.pipeline import Batch, endless, endless_batches, one_pass
from zoo.data.batches.rows import bucket_widths
from zoo.fields import at_least


def pair_batches(
    tokens: np.ndarray,
    starts: np.ndarray,
    groups: np.ndarray,
    batch: int,
    seed: int,
    start: int = 0,
) -> tf.data.Dataset:
    """Endless batches of whole texts, for contrastive learning.

    An epoch takes every group once, in a random order: the other groups of a batch are
    the negatives, so no two epochs have the same batches.

    Args:
      tokens: int32 [N], the tokens of all texts.
      starts: int64 [R + 1]: text i is `tokens[starts[i] : starts[i + 1]]`.
      groups: int64 [E + 1]: the texts of example i are `groups[i]` to
        `groups[i + 1] - 1`.
      batch: B, groups of a batch.
      seed: decides the order.
      start: the number of the first batch.

    Returns:
      Batches of tokens [B,G,T] int32 and lengths [B,G] int32. G is the size of the
      largest group; a text that a smaller group lacks has the length 0.

    Raises:
      ValueError: an argument is out of its range.
    """
    of = _reader(tokens, starts, groups)
    return endless(
        lambda epoch_B, place_B: of(place_B), len(groups) - 1, batch, seed, start, True
    )


def eval_pairs(
    tokens: np.ndarray, starts: np.ndarray, groups: np.ndarray, batch: int
) -> tf.data.Dataset:
    """One pass over groups in their order; arguments are those of `pair_batches`.

    Groups without texts fill the last batch.
    """
    dataset, _ = one_pass(_reader(tokens, starts, groups), len(groups) - 1, batch)
    return dataset


def preference_batches(
    tokens: np.ndarray,
    weights: np.ndarray,
    starts: np.ndarray,
    groups: np.ndarray,
    batch: int,
    seed: int,
    start: int = 0,
    beside: dict[str, np.ndarray] | None = None,
) -> tf.data.Dataset:
    """Endless batches of answers with next tokens as targets.

    Groups are sorted by their longest row once, and neighbours share a batch. An epoch
    permutes the batches.

    Args:
      tokens, starts, groups, batch, seed, start: as in `pair_batches`.
      weights: float32 [N], the loss weight of each token as a target.
      beside: name to numbers [E, ...], one row for each group.

    Returns:
      Batches of tokens [B,G,T] int32, lengths [B,G] int32 (of the inputs), targets
      [B,G,T] int32, weights [B,G,T] float32, and [B, ...] of each entry of `beside`,
      which is 0 for an absent group.

    Raises:
      ValueError: an argument is out of its range.
    """
    make, count = _sorted(tokens, weights, starts, groups, batch, beside)
    return endless_batches(make, count, seed, start)


def eval_preferences(
    tokens: np.ndarray,
    weights: np.ndarray,
    starts: np.ndarray,
    groups: np.ndarray,
    batch: int,
    beside: dict[str, np.ndarray] | None = None,
) -> tf.data.Dataset:
    """One pass over groups; arguments and batches are those of `preference_batches`."""
    make, count = _sorted(tokens, weights, starts, groups, batch, beside)
    return one_pass(lambda number_1: make(number_1[0]), count, 1)[0]


def _sorted(tokens, weights, starts, groups, batch, beside):
    """The function from a batch's number to the batch, and how many there are."""
    at_least("batch", batch, 1)
    longest_E = np.maximum.reduceat(np.diff(starts), groups[:-1])
    order = np.argsort(longest_E, kind="stable")
    of = _reader(tokens, starts, groups, weights, beside or {})
    with tf.device("CPU:0"):  # where tf.data reads it
        order_E = tf.constant(order)

    def make(number) -> Batch:
        place_B = number * batch + tf.range(batch, dtype=tf.int64)
        last = tf.constant(len(order) - 1, tf.int64)
        group_B = tf.gather(order_E, tf.minimum(place_B, last))
        return of(tf.where(place_B <= last, group_B, len(order)))

    return make, -(-len(order) // batch)


def _reader(tokens, starts, groups, weights=None, beside=None):
    """The function from numbers of groups, int64 [B], to their batch.

    Numbers from the count of groups on give groups without texts. With weights, the
    inputs of a row are its tokens but the last.
    """
    shift = 0 if weights is None else 1
    lengths = np.diff(starts) - shift
    sizes = np.diff(groups)
    with tf.device("CPU:0"):  # where tf.data reads them
        tokens_N = tf.constant(tokens)
        weights_N = None if weights is None else tf.constant(weights)
        first_R, length_R = tf.constant(starts[:-1]), tf.constant(lengths)
        group_E, size_E = tf.constant(groups[:-1]), tf.constant(sizes)
        widths_W = tf.constant(bucket_widths(int(lengths.max())), tf.int64)
        beside_E = {name: tf.constant(x) for name, x in (beside or {}).items()}
        text_G = tf.range(int(sizes.max()), dtype=tf.int64)

    def of(number_B) -> Batch:
        filled_B = number_B < len(sizes)
        number_B = tf.where(filled_B, number_B, 0)
        size_B = tf.where(filled_B, tf.gather(size_E, number_B), 0)
        there_BG = text_G < size_B[:, None]
        row_BG = tf.where(there_BG, tf.gather(group_E, number_B)[:, None] + text_G, 0)
        length_BG = tf.where(there_BG, tf.gather(length_R, row_BG), 0)
        place = tf.searchsorted(widths_W, tf.reduce_max(length_BG)[None])[0]
        place_T = tf.range(widths_W[place])
        there_BGT = place_T < tf.expand_dims(length_BG, -1)
        first_BG1 = tf.expand_dims(tf.gather(first_R, row_BG), -1)
        at_BGT = tf.where(there_BGT, first_BG1 + place_T, 0)

        def taken(values_N, at_BGT):
            value_BGT = tf.gather(values_N, at_BGT)
            return tf.where(there_BGT, value_BGT, tf.zeros_like(value_BGT))

        batch = {
            "tokens": taken(tokens_N, at_BGT),
            "lengths": tf.cast(length_BG, tf.int32),
        }
        if weights_N is not None:
            batch["targets"] = taken(tokens_N, at_BGT + 1)
            batch["weights"] = taken(weights_N, at_BGT + 1)
        for name, numbers_E in beside_E.items():
            value_B = tf.gather(numbers_E, number_B)
            there_B = tf.reshape(filled_B, [-1] + [1] * (len(value_B.shape) - 1))
            batch[name] = tf.where(there_B, value_B, tf.zeros_like(value_B))
        return batch

    return of
