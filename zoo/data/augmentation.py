"""Text augmentation: labelled texts that lose tokens, or whose spans change places.

The method is "easy data augmentation" of Wei and Zou 2019 (arXiv:1901.11196), without
its two parts that need a thesaurus. The label of a text stays, so only classifiers may
use it: a language model would learn the damage.

    token_dropout=P   each token is deleted with probability P; one always stays
    span_swap=P       two spans of P / 2 of the text's tokens each change places

What happens to a batch depends on (seed, batch number) only, so that a run that goes on
sees the same texts. "one two three four", span_swap=0.5: "three two one four" is one
of the results.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from zoo.data.batches.pipeline import Batch
from zoo.fields import check_fraction, suggest


class Augmentation(NamedTuple):
    """How much of a text changes.

    Attributes:
      token_dropout: the probability of each token to be deleted; in [0, 1).
      span_swap: the share of the tokens that change places; in [0, 1).
    """

    token_dropout: float = 0.0
    span_swap: float = 0.0


def parse(entries: Sequence[str]) -> Augmentation:
    """The augmentation of `Data.augment`.

    Args:
      entries: such as "token_dropout=0.1".

    Raises:
      ValueError: an unknown name, a name that is given twice, or no share in [0, 1).
    """
    found: dict[str, float] = {}
    for entry in entries:
        name, _, text = entry.partition("=")
        if name not in Augmentation._fields:
            raise ValueError(
                f"config.data.augment: {entry!r}.{suggest(name, Augmentation._fields)}"
            )
        if name in found:
            raise ValueError(f"config.data.augment: {name} is given twice.")
        try:
            found[name] = float(text)
        except ValueError:
            found[name] = math.nan
        check_fraction(f"config.data.augment: {name}", found[name])
    return Augmentation(**found)


def changer(
    entries: Sequence[str], seed: int, before: int = 0, after: int = 0
) -> Callable[[Batch, tf.Tensor], Batch] | None:
    """What `labelled_batches` calls with each batch and its number, or None.

    None changes nothing.

    The entries `tokens` and `lengths` of a batch change, the others stay.

    Args:
      entries: see `parse`.
      seed: of the run.
      before, after: see `augment`.

    Raises:
      ValueError: as `parse`.
    """
    augmentation = parse(entries)
    if not any(augmentation):
        return None

    def change(batch: Batch, number) -> Batch:
        tokens_BT, lengths_B = augment(
            batch["tokens"],
            batch["lengths"],
            (seed, number),
            augmentation,
            before,
            after,
        )
        return {**batch, "tokens": tokens_BT, "lengths": lengths_B}

    return change


def augment(
    tokens_BT, lengths_B, seed, augmentation: Augmentation, before=0, after=0
) -> tuple[tf.Tensor, tf.Tensor]:
    """Changes texts at random; first spans change places, then tokens are deleted.

    Args:
      tokens_BT: int32, right-padded.
      lengths_B: int32, 0 to T: the tokens of each text.
      seed: (the seed of the run, the number of the batch), integers or int64 scalars.
      augmentation: how much changes.
      before, after: the special tokens around each text, such as [CLS] and [SEP], which
        stay where they are.

    Returns:
      The tokens, int32 [B, T], with 0 after the end of each text, and the lengths,
      int32 [B].
    """
    tokens_BT, lengths_B = tf.cast(tokens_BT, tf.int32), tf.cast(lengths_B, tf.int32)
    # of an empty row, or one of special tokens only, nothing changes
    inner_B = tf.maximum(lengths_B - before - after, 0)
    if augmentation.span_swap:
        key = _key(seed, "swap")
        tokens_BT = _swapped(tokens_BT, inner_B, key, augmentation.span_swap, before)
    if augmentation.token_dropout:
        key = _key(seed, "dropout")
        tokens_BT, lengths_B = _dropped(
            tokens_BT, lengths_B, inner_B, key, augmentation.token_dropout, before
        )
    real_BT = tf.sequence_mask(lengths_B, tf.shape(tokens_BT)[1])
    return tf.where(real_BT, tokens_BT, 0), lengths_B


def _swapped(tokens_BT, inner_B, key, share, before):
    """Exchanges two disjoint spans of equal length of each text."""
    shape = tf.stack([3, tf.shape(tokens_BT)[0]])
    draw_3B = tf.random.stateless_uniform(shape, key)
    # rounded up or down at random, so that the mean share is exact
    exact_B = share / 2 * tf.cast(inner_B, tf.float32)
    span_B = tf.cast(tf.floor(exact_B + draw_3B[0]), tf.int32)
    span_B = tf.minimum(span_B, inner_B // 2)
    # two places among what the spans leave, the left one first
    slack_B = inner_B - 2 * span_B
    place_2B = tf.cast(draw_3B[1:] * tf.cast(slack_B + 1, tf.float32), tf.int32)
    place_2B = tf.minimum(place_2B, slack_B)
    left_B1 = (before + tf.reduce_min(place_2B, 0))[:, None]
    right_B1 = (before + tf.reduce_max(place_2B, 0) + span_B)[:, None]
    at_T = tf.range(tf.shape(tokens_BT)[1])
    span_B1, shift_B1 = span_B[:, None], right_B1 - left_B1
    in_left_BT = (at_T >= left_B1) & (at_T < left_B1 + span_B1)
    in_right_BT = (at_T >= right_B1) & (at_T < right_B1 + span_B1)
    from_BT = at_T + tf.where(in_left_BT, shift_B1, 0)
    from_BT -= tf.where(in_right_BT, shift_B1, 0)
    return tf.gather(tokens_BT, from_BT, batch_dims=1)


def _dropped(tokens_BT, lengths_B, inner_B, key, probability, before):
    """Deletes tokens of each text; one of them always stays."""
    draw_BT = tf.random.stateless_uniform(tf.shape(tokens_BT), key)
    at_T = tf.range(tf.shape(tokens_BT)[1])
    inner_BT = (at_T >= before) & (at_T < before + inner_B[:, None])
    draw_BT = tf.where(inner_BT, draw_BT, -1.0)
    most_B1 = tf.reduce_max(draw_BT, 1, keepdims=True)
    drop_BT = inner_BT & (draw_BT < probability) & (draw_BT < most_B1)
    order_BT = tf.argsort(tf.cast(drop_BT, tf.int32), stable=True)
    tokens_BT = tf.gather(tokens_BT, order_BT, batch_dims=1)
    return tokens_BT, lengths_B - tf.reduce_sum(tf.cast(drop_BT, tf.int32), 1)


def _key(seed, purpose: str):
    """The key of stateless draws: int64 [2]."""
    run, number = seed
    digest = hashlib.blake2b(f"{run} {purpose}".encode(), digest_size=7).digest()
    first = tf.constant(int.from_bytes(digest, "big"), tf.int64)
    return tf.stack([first, tf.cast(number, tf.int64)])
