"""Tables and flat arrays, with few operations: each costs a request a microsecond.

The functions here avoid `tf.roll`, which hands each array to other threads. They avoid
`tf.repeat` and `value_rowids`, which make an array of all rows times the longest row.
"""

from typing import Any, cast

import tensorflow as tf


def table(entries: dict, key_type, value_type, default) -> tf.lookup.StaticHashTable:
    """An immutable table; TensorFlow has none from int32 to int64."""
    unused = b"\xff" if key_type == tf.string else -1
    entries = entries or {unused: default}
    initial = tf.lookup.KeyValueTensorInitializer(
        tf.constant(list(entries), key_type),
        tf.constant(list(entries.values()), value_type),
    )
    return tf.lookup.StaticHashTable(initial, default)


def keep(wanted_N: tf.Tensor, *tensors: tf.Tensor) -> list[tf.Tensor]:
    """The entries of tensors [N, ...] where `wanted_N` is true."""
    place = tf.squeeze(tf.where(wanted_N), 1)
    return [tf.gather(tensor, place) for tensor in tensors]


def keep_ragged(wanted_N: tf.Tensor, values_BT: tf.RaggedTensor) -> tf.RaggedTensor:
    """The values of a ragged tensor [B, None] where `wanted_N` is true."""
    values, row = keep(wanted_N, values_BT.values, row_of_each(values_BT))
    return ragged(values, row, values_BT.nrows())


def ragged(values_N: tf.Tensor, row_N: tf.Tensor, rows: tf.Tensor) -> tf.RaggedTensor:
    """A ragged tensor [B, None] of values and the rows that they belong to."""
    row_B = tf.range(rows + 1)
    splits = tf.raw_ops.LowerBound(
        sorted_inputs=row_N[None], values=row_B[None], out_type=tf.int64
    )
    return from_row_splits(values_N, splits[0])


def from_row_splits(values_N: tf.Tensor, splits_R: tf.Tensor) -> tf.RaggedTensor:
    """A ragged tensor [B, None] of values and the places where rows start and end."""
    # The stubs of TensorFlow lack the class methods of RaggedTensor.
    ragged_tensor = cast(Any, tf.RaggedTensor)
    return ragged_tensor.from_row_splits(values_N, splits_R, validate=False)


def ranges(start_N: tf.Tensor, limit_N: tf.Tensor) -> tf.RaggedTensor:
    """The integers from each start to its limit, [N, None]."""
    splits, values = tf.raw_ops.RaggedRange(starts=start_N, limits=limit_N, deltas=1)
    return from_row_splits(values, splits)


def before(x_N: tf.Tensor, first) -> tf.Tensor:
    """The value before each place, [N]; `first` for the first place."""
    return tf.concat([tf.constant([first], x_N.dtype), x_N], 0)[:-1]


def behind(x_N: tf.Tensor, last) -> tf.Tensor:
    """The value behind each place, [N]; `last` for the last place."""
    return tf.concat([x_N, tf.constant([last], x_N.dtype)], 0)[1:]


def changes(x_N: tf.Tensor) -> tf.Tensor:
    """Whether the value, 0 or above, differs from the one before it, bool [N]."""
    return x_N != before(x_N, -1)


def row_of_each(ragged: tf.RaggedTensor) -> tf.Tensor:
    """The row of each value of a ragged tensor [B, None], int64 [N]."""
    index = tf.range(tf.size(ragged.values, out_type=tf.int64))
    return tf.searchsorted(
        ragged.row_splits[1:], index, side="right", out_type=tf.int64
    )


def join(text_N: tf.Tensor, row_N: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """The texts of each row in one string, string [B]."""
    return tf.strings.unsorted_segment_join(text_N, row_N, tf.cast(rows, tf.int32))
