"""Batches for masked language models: tokens to guess are drawn for each row and epoch.

Source: Devlin et al. 2018 (arXiv:1810.04805): of each row, 15 % of the tokens are
targets, at least one. Of these, 80 % become the mask token, 10 % a random token, and
10 % stay. A draw is a hash of the seed, the epoch, the row and the place. So it
depends neither on the batch nor on the padding.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from zoo.data import shuffling
from zoo.data.batches.pipeline import Batch, endless_mixture, firsts, one_pass
from zoo.data.batches.rows import bucket_widths
from zoo.text.tokenizer import NAMED_TOKENS, Tokenizer, library_tokenizer

_MASK, _RANDOM = 0.8, 0.1  # of the targets; the rest stays


class Masking(NamedTuple):
    """How tokens are hidden.

    Attributes:
      rate: the share of a row's tokens that are targets, above 0 and below 1.
      mask_id: the id of the mask token.
      fixed: ids that are never a target, such as those of special tokens.
      vocab_size: random tokens are below this id, and none of `fixed`.
    """

    rate: float
    mask_id: int
    fixed: list[int]
    vocab_size: int


def masking_of(tokenizer: Tokenizer, rate: float, where: str) -> Masking:
    """How the tokens of a tokenizer are hidden; special tokens never are.

    Args:
      tokenizer: of the model.
      rate: as in `Masking`.
      where: the tokenizer's place, for messages.

    Raises:
      ValueError: the tokenizer names no mask token.
    """
    engine = library_tokenizer(tokenizer.json)
    added = engine.get_added_tokens_decoder()
    fixed = {number for number, token in added.items() if token.special}
    named = {}
    for name in NAMED_TOKENS:
        token = tokenizer.config.get(name)
        token = token["content"] if isinstance(token, dict) else token
        if token is not None:
            named[name] = engine.token_to_id(token)
    mask_id = named.get("mask_token")
    if mask_id is None:
        raise ValueError(
            f"{where}: no token hides another one, and masked language models need "
            "one; name it as mask_token in tokenizer_config.json."
        )
    fixed |= {number for number in named.values() if number is not None}
    return Masking(rate, mask_id, sorted(fixed), tokenizer.vocab_size)


def masked_batches(
    tokens: np.ndarray,
    starts: np.ndarray,
    masking: Masking,
    batch: int,
    seed: int,
    start: int = 0,
    counts: Sequence[int] = (),
    shares: Sequence[int] = (1,),
) -> tf.data.Dataset:
    """Endless batches of rows, of which each epoch hides other tokens.

    An epoch takes every row once, in a random order.

    Args:
      tokens: int32 [N], the tokens of all rows.
      starts: int64 [R + 1]: row i is `tokens[starts[i] : starts[i + 1]]`.
      masking: how tokens are hidden.
      batch: B, rows of a batch.
      seed: decides the order of the rows and the hidden tokens.
      start: the number of the first batch.
      counts: of a mixture: rows of each source, which follow each other in `starts`.
      shares: of a mixture, as in `pipeline.endless_mixture`.

    Returns:
      Batches of tokens [B,T] int32 (with the masks), lengths [B] int32, targets [B,T]
      int32 (the tokens without masks) and weights [B,T] float32: 1 at targets, else 0.
      T is the smallest bucket that holds the batch's longest row.

    Raises:
      ValueError: an argument is out of its range.
    """
    of = _reader(tokens, starts, masking, seed)
    counts = counts or (len(starts) - 1,)
    first_S = firsts(counts)

    def rows(source_B, epoch_B, place_B) -> Batch:
        return of(epoch_B, tf.gather(first_S, source_B) + place_B)

    return endless_mixture(rows, counts, shares, batch, seed, start)


def eval_masked(
    tokens: np.ndarray, starts: np.ndarray, masking: Masking, batch: int, seed: int = 0
) -> tf.data.Dataset:
    """One pass over the rows in their order; each pass hides the same tokens.

    Arguments and batches are those of `masked_batches`. Rows of length 0 fill the last
    batch.
    """
    of = _reader(tokens, starts, masking, seed)
    zero = tf.constant(0, tf.int64)
    return one_pass(lambda row_B: of(zero, row_B), len(starts) - 1, batch)[0]


def _reader(tokens, starts, masking, seed):
    """The function from the epochs and numbers of rows, int64 [B], to their batch."""
    rows, lengths = len(starts) - 1, np.diff(starts)
    most = int(lengths.max())
    usable_V = np.ones(masking.vocab_size, bool)
    usable_V[[i for i in masking.fixed if i < masking.vocab_size]] = False
    with tf.device("CPU:0"):  # where tf.data reads them
        tokens_N = tf.constant(tokens)
        first_R, length_R = tf.constant(starts[:-1]), tf.constant(lengths)
        widths_W = tf.constant(bucket_widths(most), tf.int64)
        usable_V = tf.constant(usable_V)
        random_U = tf.cast(tf.where(usable_V)[:, 0], tf.int32)

    def of(epoch_B, row_B) -> Batch:
        filled_B = row_B < rows
        row_B = tf.minimum(row_B, rows - 1)
        length_B = tf.where(filled_B, tf.gather(length_R, row_B), 0)
        place = tf.searchsorted(widths_W, tf.reduce_max(length_B)[None])[0]
        place_T = tf.range(widths_W[place])
        there_BT = place_T < length_B[:, None]
        at_BT = tf.where(there_BT, tf.gather(first_R, row_B)[:, None] + place_T, 0)
        target_BT = tf.gather(tokens_N, at_BT)
        target_BT = tf.where(there_BT, target_BT, tf.zeros_like(target_BT))

        # a number of its own for each place of each row of each epoch
        number_BT = ((epoch_B * rows + row_B) * most)[:, None] + place_T
        wanted_BT = there_BT & tf.gather(usable_V, target_BT)
        draw_BT = shuffling.uniform(seed, "target", number_BT)
        chosen_BT = _lowest(tf.where(wanted_BT, draw_BT, 2.0), wanted_BT, masking.rate)
        kind_BT = shuffling.uniform(seed, "kind", number_BT)
        other_BT = shuffling.uniform(seed, "token", number_BT)
        count = tf.cast(tf.shape(random_U)[0], tf.float64)
        other_BT = tf.gather(random_U, tf.cast(other_BT * count, tf.int32))
        hidden_BT = tf.where(kind_BT < _MASK, masking.mask_id, other_BT)
        changed_BT = chosen_BT & (kind_BT < _MASK + _RANDOM)
        return {
            "tokens": tf.where(changed_BT, hidden_BT, target_BT),
            "lengths": tf.cast(length_B, tf.int32),
            "targets": target_BT,
            "weights": tf.cast(chosen_BT, tf.float32),
        }

    return of


def _lowest(draw_BT, wanted_BT, rate):
    """The places of the lowest draws: the share `rate` of the wanted, at least one."""
    wanted_B = tf.reduce_sum(tf.cast(wanted_BT, tf.float64), 1)
    count_B = tf.minimum(tf.maximum(tf.round(wanted_B * rate), 1), wanted_B)
    order_BT = tf.argsort(draw_BT, axis=1, stable=True)
    rank_BT = tf.argsort(order_BT, axis=1)
    return tf.cast(rank_BT, tf.float64) < count_B[:, None]
