"""Batches of table rows."""

import numpy as np
import tensorflow as tf

from zoo import shapes
from zoo.data.batches.pipeline import Batch, endless, one_pass


def table_batches(
    features_NF: np.ndarray,
    labels_N: np.ndarray,
    batch: int,
    seed: int,
    start: int = 0,
    shuffle: bool = True,
) -> tf.data.Dataset:
    """Endless batches of table rows; each epoch takes every row once.

    Args:
      features_NF: numbers [N,F], finite.
      labels_N: integers or booleans (classes) or floats (values) [N].
      batch: B, rows of the global batch.
      seed: decides the orders.
      start: the number of the first batch.
      shuffle: False takes rows in their order.

    Returns:
      Batches of features [B,F] float32, label [B] int32 or float32, weights [B]
      float32.

    Raises:
      ValueError: shapes that do not fit, a number that is not finite, no rows, or an
        argument out of its range.
    """
    table_NF, table_N = _tensors(features_NF, labels_N)

    def rows(epoch_B, place_B) -> Batch:
        weights_B = tf.ones_like(place_B, tf.float32)
        return _batch(table_NF, table_N, place_B, weights_B)

    return endless(rows, len(labels_N), batch, seed, start, shuffle)


def table_eval(
    features_NF: np.ndarray, labels_N: np.ndarray, batch: int
) -> tuple[tf.data.Dataset, int]:
    """One pass over a table in its order, and how many batches there are.

    Copies of the last row, of weight 0, fill the last batch.

    Raises:
      ValueError: as `table_batches`.
    """
    table_NF, table_N = _tensors(features_NF, labels_N)
    last = len(labels_N) - 1

    def rows(row_B) -> Batch:
        weights_B = tf.cast(row_B <= last, tf.float32)
        return _batch(table_NF, table_N, tf.minimum(row_B, last), weights_B)

    return one_pass(rows, len(labels_N), batch)


def _batch(table_NF, table_N, row_B, weights_B) -> Batch:
    return {
        "features": tf.gather(table_NF, row_B),
        "label": tf.gather(table_N, row_B),
        "weights": weights_B,
    }


def _tensors(features_NF, labels_N) -> tuple[tf.Tensor, tf.Tensor]:
    """Checks a table and puts the arrays where tf.data reads them."""
    features_NF = np.asarray(features_NF, np.float32)
    labels_N = np.asarray(labels_N)
    shapes.check("features", features_NF, "NF")
    shapes.check("labels", labels_N, "N", N=len(features_NF))
    if not len(features_NF):
        raise ValueError("features: the table has no rows.")
    integers = labels_N.dtype.kind in "biu"
    labels_N = labels_N.astype(np.int32 if integers else np.float32)
    for name, values in (("features", features_NF), ("labels", labels_N)):
        if not np.isfinite(values).all():
            row = int(np.argwhere(~np.isfinite(values))[0][0])
            raise ValueError(f"{name}: row {row} holds a number that is not finite.")
    with tf.device("CPU:0"):
        return tf.constant(features_NF), tf.constant(labels_N)
