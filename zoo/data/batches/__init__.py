"""Batches as tf.data pipelines whose position is one integer.

Batch i is a function of (data, seed, i): nothing is buffered or remembered, so a run
that restarts at batch i sees what the uninterrupted run saw. Rows are numbered
through all epochs: row g is place g % n of epoch g // n, and each epoch permutes its
n places by a keyed bijection instead of a shuffled list.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from zoo import shapes
from zoo.data import shuffling
from zoo.fields import at_least

Batch = dict[str, tf.Tensor]


def lm_batches(
    tokens: np.ndarray,
    length: int,
    batch: int,
    seed: int,
    start: int = 0,
    shuffle: bool = True,
    shards: int = 1,
    shard: int = 0,
) -> tf.data.Dataset:
    """Endless batches for a language model out of one stream of tokens.

    Each epoch cuts the stream at a random shift into windows of `length` inputs, each
    predicting the token after it, and takes every window once in a random order.

    Args:
      tokens: token ids [N], one more than `length` at least.
      length: T, inputs a row.
      batch: B, rows of the global batch.
      seed: decides shifts and orders.
      start: the number of the first batch.
      shuffle: False takes windows in their order, without a shift.
      shards: how many workers share the batch; each makes B / shards rows.
      shard: which of them this is.

    Returns:
      Batches of tokens [B,T] int32, targets [B,T] int32, weights [B,T] float32.

    Raises:
      ValueError: the stream is too short, or an argument out of its range.
    """
    count = windows_per_epoch(len(tokens), length, shuffle)
    # How far the windows of an epoch can be moved without leaving the stream.
    shifts = min(length, len(tokens) - count * length) if shuffle else 1
    stream_N = _stream(tokens)
    offsets = tf.range(length + 1, dtype=tf.int64)

    def rows(epoch_B, place_B) -> Batch:
        shift_B = shuffling.number(seed, "shift", epoch_B, shifts)
        first_B = place_B * length + shift_B
        window_BT = tf.gather(stream_N, first_B[:, None] + offsets)
        window_BT = tf.cast(window_BT, tf.int32)
        weights_BT = tf.ones_like(window_BT[:, 1:], tf.float32)
        return _lm_batch(window_BT[:, :-1], window_BT[:, 1:], weights_BT)

    return _endless(rows, count, batch, seed, start, shuffle, shards, shard)


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
    tokens: np.ndarray, length: int, batch: int, stride: int = 0
) -> tuple[tf.data.Dataset, int]:
    """One pass over a stream that predicts each token but the first exactly once.

    Windows start every `stride` tokens; weights are 1 only where no window before
    has predicted, so that all but the first have `length - stride` tokens of context.

    Args:
      tokens: token ids [N], two at least; shorter than a window is fine.
      length: T, inputs a row.
      batch: B, rows; the last batch is filled up with rows of weight 0, which repeat
        the last token (as the last window does beyond the end).
      stride: 1 to `length`; 0 is half the length.

    Returns:
      The batches as `lm_batches` makes them, and how many there are.

    Raises:
      ValueError: too few tokens, or an argument out of its range.
    """
    at_least("length", length, 1)
    at_least("batch", batch, 1)
    stride = stride or max(length // 2, 1)
    if not 1 <= stride <= length:
        raise ValueError(f"stride: {stride}, 1 to length={length} allowed.")
    if len(tokens) < 2:
        raise ValueError(f"tokens: {len(tokens)} tokens, at least 2 needed.")
    last = len(tokens) - 1
    count = 1 + -(-max(last - length, 0) // stride)
    stream_N = _stream(tokens)
    offsets = tf.range(length, dtype=tf.int64)

    def rows(number) -> Batch:
        row_B = number * batch + tf.range(batch, dtype=tf.int64)
        first_B = row_B * stride
        at_BT = first_B[:, None] + offsets
        target_BT = at_BT + 1
        predicted_B = tf.where(row_B > 0, first_B - stride + length, 0)
        wanted_BT = (target_BT > predicted_B[:, None]) & (target_BT <= last)
        wanted_BT &= (row_B < count)[:, None]
        return _lm_batch(
            tf.cast(tf.gather(stream_N, tf.minimum(at_BT, last)), tf.int32),
            tf.cast(tf.gather(stream_N, tf.minimum(target_BT, last)), tf.int32),
            tf.cast(wanted_BT, tf.float32),
        )

    batches = -(-count // batch)
    return _pipeline(tf.data.Dataset.range(batches), rows), batches


def table_batches(
    features_NF: np.ndarray,
    labels_N: np.ndarray,
    batch: int,
    seed: int,
    start: int = 0,
    shuffle: bool = True,
    shards: int = 1,
    shard: int = 0,
) -> tf.data.Dataset:
    """Endless batches of table rows; each epoch takes every row once.

    Args:
      features_NF: numbers [N,F], finite.
      labels_N: integers (classes) or floats (values) [N].
      batch: B, rows of the global batch.
      seed: decides the orders.
      start: the number of the first batch.
      shuffle: False takes rows in their order.
      shards: how many workers share the batch; each makes B / shards rows.
      shard: which of them this is.

    Returns:
      Batches of features [B,F] float32, label [B] int32 or float32, weights [B]
      float32.

    Raises:
      ValueError: shapes that do not fit, a number that is not finite, no rows, or an
        argument out of its range.
    """
    table_NF, table_N = _table(features_NF, labels_N)

    def rows(epoch_B, place_B) -> Batch:
        return {
            "features": tf.gather(table_NF, place_B),
            "label": tf.gather(table_N, place_B),
            "weights": tf.ones_like(place_B, tf.float32),
        }

    count = len(labels_N)
    return _endless(rows, count, batch, seed, start, shuffle, shards, shard)


def table_eval(
    features_NF: np.ndarray, labels_N: np.ndarray, batch: int
) -> tuple[tf.data.Dataset, int]:
    """One pass over a table in its order, and how many batches that is.

    The last batch is filled up with repetitions of the last row of weight 0.

    Raises:
      ValueError: as `table_batches`.
    """
    at_least("batch", batch, 1)
    table_NF, table_N = _table(features_NF, labels_N)
    last = len(labels_N) - 1

    def rows(number) -> Batch:
        row_B = number * batch + tf.range(batch, dtype=tf.int64)
        return {
            "features": tf.gather(table_NF, tf.minimum(row_B, last)),
            "label": tf.gather(table_N, tf.minimum(row_B, last)),
            "weights": tf.cast(row_B <= last, tf.float32),
        }

    batches = -(-len(labels_N) // batch)
    return _pipeline(tf.data.Dataset.range(batches), rows), batches


# ---- What both kinds share ----


def _endless(
    rows: Callable[[tf.Tensor, tf.Tensor], Batch],
    count: int,
    batch: int,
    seed: int,
    start: int,
    shuffle: bool,
    shards: int,
    shard: int,
) -> tf.data.Dataset:
    """Batches from `start` on; `rows` makes one of (epoch_B, place_B)."""
    at_least("batch", batch, 1)
    at_least("start", start, 0)
    at_least("shards", shards, 1)
    if not 0 <= shard < shards:
        raise ValueError(f"shard: {shard}, 0 to {shards - 1} allowed.")
    if batch % shards:
        raise ValueError(f"batch: {batch} rows cannot be shared by {shards} shards.")
    share = batch // shards

    def make(number) -> Batch:
        row_B = number * batch + shard * share + tf.range(share, dtype=tf.int64)
        epoch_B, place_B = row_B // count, row_B % count
        if shuffle:
            place_B = shuffling.permuted(seed, epoch_B, place_B, count)
        return rows(epoch_B, place_B)

    # Row numbers stay below 2^62, the end of an endless run.
    return _pipeline(tf.data.Dataset.range(start, 2**62 // batch), make)


def _pipeline(numbers: tf.data.Dataset, make: Callable) -> tf.data.Dataset:
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False
    # One thread beside the step's own is enough for gathers, and steals no core.
    options.threading.private_threadpool_size = 1
    options.threading.max_intra_op_parallelism = 1
    # Workers share by `shards`; tf.distribute must not split once more.
    options.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.OFF
    )
    return numbers.map(make).prefetch(2).with_options(options)


def _lm_batch(tokens_BT, targets_BT, weights_BT) -> Batch:
    return {"tokens": tokens_BT, "targets": targets_BT, "weights": weights_BT}


def _stream(tokens: np.ndarray) -> tf.Tensor:
    """The tokens as a tensor, in two bytes each where they fit."""
    tokens = np.asarray(tokens)
    shapes.check("tokens", tokens, "N")
    if not np.issubdtype(tokens.dtype, np.integer):
        raise ValueError(f"tokens: {tokens.dtype}, expected integers.")
    if tokens.min() < 0:
        raise ValueError(f"tokens: {tokens.min()}, at least 0 allowed.")
    with tf.device("CPU:0"):  # where tf.data reads it
        small = tokens.max() < 2**16
        return tf.constant(tokens.astype(np.uint16 if small else np.int32))


def _table(features_NF, labels_N) -> tuple[tf.Tensor, tf.Tensor]:
    features_NF = np.asarray(features_NF, np.float32)
    labels_N = np.asarray(labels_N)
    shapes.check("features", features_NF, "NF")
    shapes.check("labels", labels_N, "N", N=len(features_NF))
    if not len(features_NF):
        raise ValueError("features: the table has no rows.")
    whole = np.issubdtype(labels_N.dtype, np.integer)
    labels_N = labels_N.astype(np.int32 if whole else np.float32)
    for name, values in (("features", features_NF), ("labels", labels_N)):
        if not np.isfinite(values).all():
            row = int(np.argwhere(~np.isfinite(values))[0][0])
            raise ValueError(f"{name}: row {row} holds a number that is not finite.")
    with tf.device("CPU:0"):
        return tf.constant(features_NF), tf.constant(labels_N)
