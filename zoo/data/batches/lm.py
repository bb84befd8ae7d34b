"""Batches for language models: windows of one stream of tokens, or of several.

`zoo/data/batches/streams.py` makes the same batches of what it reads from disk.
"""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from zoo import shapes
from zoo.data import shuffling
from zoo.data.batches.pipeline import Batch, endless_mixture, one_pass
from zoo.fields import at_least


def lm_batches(
    tokens: np.ndarray,
    length: int,
    batch: int,
    seed: int,
    start: int = 0,
    shuffle: bool = True,
    weights: np.ndarray | None = None,
    starts: Sequence[int] = (0,),
    shares: Sequence[int] = (1,),
    schedule: Sequence[tuple[int, Sequence[int]]] = (),
) -> tf.data.Dataset:
    """Endless batches for a language model out of one stream of tokens, or several.

    Each epoch cuts the stream at a random shift into windows of `length` inputs. Each
    input predicts the next token. The epoch takes every window once, in a random order.

    Args:
      tokens: token ids [N], at least `length` + 1 of them.
      length: T, inputs a row.
      batch: B, rows of the global batch.
      seed: decides shifts and orders.
      start: the number of the first batch.
      shuffle: False takes windows in their order, without a shift.
      weights: of each token as a target, numbers or booleans [N]; None is all 1.
      starts: where each stream of a mixture starts; it ends where the next one starts.
      shares: rows of each stream in a pattern, as in `pipeline.endless_mixture`.
      schedule: of other shares later, as there.

    Returns:
      Batches of tokens [B,T] int32, targets [B,T] int32, weights [B,T] float32.

    Raises:
      ValueError: the stream is too short, or an argument out of its range.
    """
    sizes = np.diff([*starts, len(tokens)]).tolist()
    stream_N, weights_N = _stream(tokens), _weights(weights, len(tokens))
    offsets = tf.range(length + 1, dtype=tf.int64)

    def window(source_B, first_B):
        first_B += tf.gather(tf.constant(starts, tf.int64), source_B)
        at_BT = first_B[:, None] + offsets
        window_BT = tf.cast(tf.gather(stream_N, at_BT), tf.int32)
        weights_BT = tf.ones_like(window_BT[:, 1:], tf.float32)
        if weights_N is not None:
            weights_BT *= tf.cast(tf.gather(weights_N, at_BT[:, 1:]), tf.float32)
        return batch_of(window_BT[:, :-1], window_BT[:, 1:], weights_BT)

    rows, counts = window_rows(window, sizes, length, seed, shuffle)
    return endless_mixture(rows, counts, shares, batch, seed, start, shuffle, schedule)


def window_rows(window: Callable, sizes: Sequence[int], length, seed, shuffle):
    """The function to the rows of `endless_mixture`, and the rows of each epoch.

    Args:
      window: makes what the function gives of int64 [B]: the sources, and the number of
        each window's first token in its stream.
      sizes: tokens of each stream.
      length: T.
      seed: decides shifts.
      shuffle: False is without a shift.
    """
    counts = [windows_per_epoch(size, length, shuffle) for size in sizes]
    # How far the windows of an epoch can move without leaving the stream.
    shifts = [
        min(length, size - count * length) if shuffle else 1
        for size, count in zip(sizes, counts, strict=True)
    ]

    def rows(source_B, epoch_B, place_B) -> Batch:
        shifts_B = tf.gather(tf.constant(shifts, tf.int64), source_B)
        shift_B = shuffling.number(seed, "shift", epoch_B, shifts_B)
        return window(source_B, place_B * length + shift_B)

    return rows, counts


def windows_per_epoch(tokens: int, length: int, shuffle: bool = True) -> int:
    """How many rows an epoch of `lm_batches` has, the same number for every epoch.

    Raises:
      ValueError: the stream is shorter than one window.
    """
    at_least("length", length, 1)
    if tokens < length + 1:
        raise ValueError(
            f"tokens: the stream has {tokens} tokens, a window of length {length} "
            f"needs {length + 1}."
        )
    # A shuffled epoch leaves room for the largest shift where the stream allows it.
    room = length - 1 if shuffle else 0
    return max((tokens - 1 - room) // length, 1)


def eval_windows(
    tokens: np.ndarray,
    length: int,
    batch: int,
    stride: int = 0,
    weights: np.ndarray | None = None,
) -> tuple[tf.data.Dataset, int]:
    """One pass over a stream that predicts each token but the first exactly once.

    Windows start every `stride` tokens. A weight is 1 where no earlier window predicts
    the token. So all windows but the first have `length - stride` tokens of context.

    Args:
      tokens: token ids [N], at least two; shorter than a window is fine.
      length: T, inputs a row.
      batch: B, rows. Rows of weight 0 fill the last batch; they repeat the last token,
        as the last window does beyond the end.
      stride: 1 to `length`; 0 is half the length.
      weights: as in `lm_batches`.

    Returns:
      The batches as `lm_batches` makes them, and how many there are.

    Raises:
      ValueError: too few tokens, or an argument out of its range.
    """
    stride = eval_stride(stride, length, len(tokens))
    stream_N, weights_N = _stream(tokens), _weights(weights, len(tokens))
    last, offsets = len(tokens) - 1, tf.range(length, dtype=tf.int64)

    def window(first_B):
        at_BT = first_B[:, None] + offsets
        at_BT, target_BT = tf.minimum(at_BT, last), tf.minimum(at_BT + 1, last)
        found = [tf.cast(tf.gather(stream_N, x), tf.int32) for x in (at_BT, target_BT)]
        if weights_N is None:
            return *found, None
        return *found, tf.cast(tf.gather(weights_N, target_BT), tf.float32)

    return eval_batches(window, len(tokens), length, batch, stride)


def eval_stride(stride: int, length: int, tokens: int) -> int:
    """The stride of `eval_windows`; refuses what it refuses."""
    at_least("length", length, 1)
    stride = stride or max(length // 2, 1)
    if not 1 <= stride <= length:
        raise ValueError(f"stride: {stride}, 1 to length={length} allowed.")
    if tokens < 2:
        raise ValueError(f"tokens: {tokens} tokens, at least 2 needed.")
    return stride


def eval_batches(
    window: Callable, tokens: int, length: int, batch: int, stride: int
) -> tuple[tf.data.Dataset, int]:
    """The batches of `eval_windows`.

    Args:
      window: makes inputs, targets and weights (or None) [B,T] of int64 [B] places.
      tokens: of the stream.
      length, batch, stride: as there.
    """
    last = tokens - 1
    count = 1 + -(-max(last - length, 0) // stride)
    offsets = tf.range(length, dtype=tf.int64)

    def rows(row_B) -> Batch:
        first_B = row_B * stride
        target_BT = first_B[:, None] + offsets + 1
        predicted_B = tf.where(row_B > 0, first_B - stride + length, 0)
        wanted_BT = (target_BT > predicted_B[:, None]) & (target_BT <= last)
        wanted_BT &= (row_B < count)[:, None]
        inputs_BT, targets_BT, weights_BT = window(first_B)
        wanted_BT = tf.cast(wanted_BT, tf.float32)
        if weights_BT is not None:
            wanted_BT *= weights_BT
        return batch_of(inputs_BT, targets_BT, wanted_BT)

    return one_pass(rows, count, batch)


def batch_of(tokens_BT, targets_BT, weights_BT) -> Batch:
    return {"tokens": tokens_BT, "targets": targets_BT, "weights": weights_BT}


def _stream(tokens: np.ndarray) -> tf.Tensor:
    """The tokens as a tensor, in two bytes each where they fit."""
    tokens = np.asarray(tokens)
    shapes.check("tokens", tokens, "N")
    if not np.issubdtype(tokens.dtype, np.integer):
        raise ValueError(f"tokens: {tokens.dtype}, expected integers.")
    for token in (tokens.min(), tokens.max()):
        if not 0 <= token < 2**31:
            raise ValueError(f"tokens: {token}, at least 0 and below 2^31 allowed.")
    with tf.device("CPU:0"):  # where tf.data reads it
        small = tokens.max() < 2**16
        return tf.constant(tokens.astype(np.uint16 if small else np.int32))


def _weights(weights, count: int) -> tf.Tensor | None:
    """The weights as a tensor where tf.data reads it, or None."""
    if weights is None:
        return None
    shapes.check("weights", weights, "N", N=count)
    with tf.device("CPU:0"):
        return tf.constant(weights)
