"""Batches for span corruption: an encoder-decoder learns the spans that a text lacks.

Source: Raffel et al. 2019 (T5, arXiv:1910.10683, section 3.1.4). Spans of 3 tokens on
average are taken out, and each leaves a sentinel. An example with 2 spans:

    text      a b c d e f g h
    source    a b c <0> f <1> </s>
    target    <0> d e <1> g h <2> </s>

A text begins with a span that stays and ends with one that is taken out. The cut into
spans is uniform among all cuts into so many. A draw is a hash of the seed, the epoch,
the row and the place. So it depends neither on the batch nor on the padding.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from zoo.data import shuffling
from zoo.data.batches.pipeline import Batch, endless_mixture, firsts, one_pass
from zoo.data.batches.rows import bucket_widths
from zoo.text.framing import Frame
from zoo.text.tokenizer import Tokenizer, library_tokenizer

_SPAN = 3  # the mean tokens of a span that is taken out


class Corruption(NamedTuple):
    """How spans are taken out.

    Attributes:
      rate: the share of the tokens that are taken out, above 0 and below 1.
      sentinels: the ids of the sentinels, at least 2; the last one of a target ends it.
      frame: what stands around a source.
      target_frame: what stands around a target.
      start_id: the token that the decoder reads first.
      padding: the token behind a source.
    """

    rate: float
    sentinels: list[int]
    frame: Frame
    target_frame: Frame
    start_id: int
    padding: int = 0

    def counts(self, lengths) -> tuple[np.ndarray, np.ndarray]:
        """How many tokens are taken out of texts, and in how many spans."""
        lengths = np.maximum(lengths, 2)
        taken = np.clip(np.round(lengths * self.rate), 1, lengths - 1).astype(np.int64)
        spans = np.round(taken / _SPAN).astype(np.int64)
        return taken, np.clip(spans, 1, np.minimum(taken, lengths - taken))

    def sizes(self, lengths) -> tuple[np.ndarray, np.ndarray]:
        """The tokens of the sources and of the targets of texts, as the model reads."""
        taken, spans = self.counts(lengths)
        sources = np.maximum(lengths, 2) - taken + spans + self.frame.size
        return sources, taken + spans + 1 + self.target_frame.size

    def longest(self, source: int, target: int) -> int:
        """The most tokens of a text whose source, target and sentinels fit; 0: none."""
        # a source has at most the text's tokens, but for those taken out
        lengths = np.arange(2, max(int(source / (1 - self.rate)) + 2, 3))
        sources, targets = self.sizes(lengths)
        fits = (sources <= source) & (targets <= target)
        fits &= self.counts(lengths)[1] < len(self.sentinels)
        return int(lengths[fits].max(initial=0))


def sentinels_of(tokenizer: Tokenizer, where: str) -> list[int]:
    """The ids of the special tokens <extra_id_0>, <extra_id_1>, ...

    Args:
      tokenizer: of the model.
      where: the tokenizer's place, for messages.

    Raises:
      ValueError: there are fewer than 2.
    """
    added = library_tokenizer(tokenizer.json).get_added_tokens_decoder()
    named = {token.content: number for number, token in added.items() if token.special}
    found: list[int] = []
    while (number := named.get(f"<extra_id_{len(found)}>")) is not None:
        found.append(number)
    if len(found) < 2:
        raise ValueError(
            f"{where}: {len(found)} sentinels, and span_corruption needs at least the "
            "special tokens <extra_id_0> and <extra_id_1>."
        )
    return found


def span_batches(
    tokens: np.ndarray,
    starts: np.ndarray,
    corruption: Corruption,
    batch: int,
    seed: int,
    start: int = 0,
    counts: Sequence[int] = (),
    shares: Sequence[int] = (1,),
) -> tf.data.Dataset:
    """Endless batches of texts without spans; each epoch takes out others.

    An epoch takes every text once, in a random order.

    Args:
      tokens: int32 [N], the tokens of all texts.
      starts: int64 [R + 1]: text i is `tokens[starts[i] : starts[i + 1]]`, of at least
        2 tokens.
      corruption: how spans are taken out.
      batch: B, texts of a batch.
      seed: decides the order of the texts and their spans.
      start: the number of the first batch.
      counts: of a mixture: texts of each source, which follow each other in `starts`.
      shares: of a mixture, as in `pipeline.endless_mixture`.

    Returns:
      Batches with the entries of `seq2seq_batches`.

    Raises:
      ValueError: an argument is out of its range.
    """
    of = _reader(tokens, starts, corruption, seed)
    counts = counts or (len(starts) - 1,)
    first_S = firsts(counts)

    def rows(source_B, epoch_B, place_B) -> Batch:
        return of(epoch_B, tf.gather(first_S, source_B) + place_B)

    return endless_mixture(rows, counts, shares, batch, seed, start)


def eval_spans(
    tokens: np.ndarray,
    starts: np.ndarray,
    corruption: Corruption,
    batch: int,
    seed: int = 0,
) -> tf.data.Dataset:
    """One pass over the texts in their order; each pass takes out the same spans.

    Arguments and batches are those of `span_batches`. Rows of weight 0 fill the last
    batch.
    """
    of = _reader(tokens, starts, corruption, seed)
    zero = tf.constant(0, tf.int64)
    return one_pass(lambda row_B: of(zero, row_B), len(starts) - 1, batch)[0]


def _reader(tokens, starts, corruption, seed):
    """The function from the epochs and numbers of texts, int64 [B], to their batch."""
    lengths, rows = np.diff(starts), len(starts) - 1
    if lengths.min() < 2:
        raise ValueError("span_corruption: a text of 1 token, at least 2 allowed.")
    most = int(lengths.max())
    widths = bucket_widths(most)
    taken, spans = corruption.counts(lengths)
    with tf.device("CPU:0"):  # where tf.data reads them
        tokens_N = tf.constant(tokens)
        first_R, length_R, taken_R, spans_R = (
            tf.constant(x, tf.int64) for x in (starts[:-1], lengths, taken, spans)
        )
        widths_W = tf.constant(widths, tf.int64)
        sizes = corruption.sizes(np.minimum(widths, most))
        source_W, target_W = (tf.constant(x, tf.int64) for x in sizes)
        sentinels_K = tf.constant(corruption.sentinels[: spans.max() + 1], tf.int32)
    places = int(spans.max())

    def of(epoch_B, row_B) -> Batch:
        there_B = row_B < rows
        row_B = tf.minimum(row_B, rows - 1)
        length_B, taken_B, spans_B = (
            tf.gather(x, row_B) for x in (length_R, taken_R, spans_R)
        )
        bucket = tf.searchsorted(widths_W, tf.reduce_max(length_B)[None])[0]
        # a number of its own for each place of each text of each epoch
        number_BT = ((epoch_B * rows + row_B) * most)[:, None]
        number_BT += tf.range(widths_W[bucket])

        def ends(purpose, size_B):
            """Where the spans of so many tokens end; after the last one, the size."""
            draw_BT = shuffling.uniform(seed, purpose, number_BT)
            place_T = tf.range(widths_W[bucket])
            inner_BT = (place_T > 0) & (place_T < size_B[:, None])
            order_BT = tf.argsort(tf.where(inner_BT, draw_BT, 2.0), 1, stable=True)
            order_BK = tf.cast(order_BT[:, :places], tf.int64)
            chosen_BK = tf.range(tf.shape(order_BK)[1], dtype=tf.int64)
            chosen_BK = chosen_BK < spans_B[:, None] - 1
            return tf.sort(tf.where(chosen_BK, order_BK, size_B[:, None]), 1)

        taken_BK, kept_BK = ends("taken", taken_B), ends("kept", length_B - taken_B)
        # before the span k: the first k taken spans, and the first k + 1 kept ones
        before_BK = tf.pad(taken_BK, ((0, 0), (1, 0)))
        number_K = tf.range(tf.shape(before_BK)[1], dtype=tf.int64)
        first_B1 = tf.gather(first_R, row_B)[:, None]

        def read(sentinel_BK, place_BT, span_BT, at_BT):
            """The sentinel where one stands, or the text's token `at`."""
            last = tf.shape(sentinel_BK)[1] - 1
            span_BT = tf.clip_by_value(span_BT, 0, last)
            here_BT = tf.gather(sentinel_BK, span_BT, batch_dims=1) == place_BT
            at_BT = tf.clip_by_value(at_BT, 0, length_B[:, None] - 1)
            token_BT = tf.gather(tokens_N, first_B1 + at_BT)
            return tf.where(here_BT, tf.gather(sentinels_K, span_BT), token_BT)

        def source(place_BT):
            span_K = number_K[:-1]
            # a number that no place has, for the spans that a text has not
            mark_BK = tf.where(span_K < spans_B[:, None], kept_BK + span_K, 2**40)
            span_BT = tf.searchsorted(mark_BK, place_BT)
            at_BT = tf.gather(before_BK, span_BT, batch_dims=1)
            at_BT += place_BT - tf.cast(span_BT, tf.int64)
            return read(mark_BK, place_BT, span_BT, at_BT)

        def target(place_BT):
            mark_BK = tf.where(
                number_K <= spans_B[:, None], before_BK + number_K, 2**40
            )
            span_BT = tf.searchsorted(mark_BK, place_BT, "right") - 1
            kept_BT = tf.gather(
                kept_BK, tf.clip_by_value(span_BT, 0, places - 1), batch_dims=1
            )
            at_BT = place_BT - tf.cast(span_BT, tf.int64) - 1 + kept_BT
            return read(mark_BK, place_BT, span_BT, at_BT)

        kept_B = length_B - taken_B + spans_B
        source_BS, size_B = _framed(
            source, kept_B, source_W[bucket], corruption.frame, corruption.padding
        )
        targets_BT, target_B = _framed(
            target, taken_B + spans_B + 1, target_W[bucket], corruption.target_frame, 0
        )
        tokens_BT = tf.pad(
            targets_BT[:, :-1], ((0, 0), (1, 0)), constant_values=corruption.start_id
        )
        seen_BT = tf.sequence_mask(target_B, target_W[bucket])
        return {
            "source": source_BS,
            "source_lengths": tf.cast(size_B, tf.int32),
            "tokens": tf.where(seen_BT, tokens_BT, 0),
            "targets": targets_BT,
            "weights": tf.cast(seen_BT & there_B[:, None], tf.float32),
            "lengths": tf.cast(target_B, tf.int32),
        }

    return of


def _framed(body, length_B, width, frame, padding):
    """A body of [B] tokens with its frame, padded to a width; and its lengths [B]."""
    place_BT = tf.zeros_like(length_B)[:, None] + tf.range(width) - len(frame.before)
    behind_BT = place_BT - length_B[:, None]
    out_BT = tf.where(behind_BT < 0, body(place_BT), padding)
    for i, token in enumerate(frame.before):
        out_BT = tf.where(place_BT == i - len(frame.before), token, out_BT)
    for i, token in enumerate(frame.after):
        out_BT = tf.where(behind_BT == i, token, out_BT)
    return out_BT, length_B + frame.size
