"""Tables and flat arrays, with few operations: each costs a request a microsecond.

Not `tf.roll`, `tf.repeat` or `value_rowids`: the first one hands each array to other
threads, and the others make a table of all rows times the longest one.
"""

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
    """Of tensors [N, ...] the entries where `wanted_N` is true."""
    place = tf.squeeze(tf.where(wanted_N), 1)
    return [tf.gather(tensor, place) for tensor in tensors]


def keep_ragged(wanted_N: tf.Tensor, values_BT: tf.RaggedTensor) -> tf.RaggedTensor:
    """Of a ragged tensor [B, None] the values where `wanted_N` is true."""
    values, row = keep(wanted_N, values_BT.values, row_of_each(values_BT))
    return ragged(values, row, values_BT.nrows())


def ragged(values_N: tf.Tensor, row_N: tf.Tensor, rows: tf.Tensor) -> tf.RaggedTensor:
    """A ragged tensor [B, None] of values and the rows that they belong to."""
    row_B = tf.range(rows + 1)
    splits = tf.raw_ops.LowerBound(
        sorted_inputs=row_N[None], values=row_B[None], out_type=tf.int64
    )
    return tf.RaggedTensor.from_row_splits(values_N, splits[0], validate=False)


def ranges(start_N: tf.Tensor, limit_N: tf.Tensor) -> tf.RaggedTensor:
    """The whole numbers from each start to its limit, [N, None]."""
    splits, values = tf.raw_ops.RaggedRange(starts=start_N, limits=limit_N, deltas=1)
    return tf.RaggedTensor.from_row_splits(values, splits, validate=False)


def before(x_N: tf.Tensor, first) -> tf.Tensor:
    """What stands before each place, [N]; `first` before the first one."""
    return tf.concat([tf.constant([first], x_N.dtype), x_N], 0)[:-1]


def behind(x_N: tf.Tensor, last) -> tf.Tensor:
    """What stands behind each place, [N]; `last` behind the last one."""
    return tf.concat([x_N, tf.constant([last], x_N.dtype)], 0)[1:]


def changes(x_N: tf.Tensor) -> tf.Tensor:
    """Whether a place has another value, none below 0, than the one before it, [N]."""
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
