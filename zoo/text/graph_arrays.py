"""Tables and flat arrays, with few operations: each costs a request a microsecond."""

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
    return tf.RaggedTensor.from_value_rowids(values_N, row_N, rows, validate=False)


def changes(row_N: tf.Tensor) -> tf.Tensor:
    """Whether a place has another value than the one before it, bool [N]."""
    return (row_N != tf.roll(row_N, 1, 0)) | (tf.range(tf.size(row_N)) == 0)


def row_of_each(ragged):
    """The row of each value [N]; `value_rowids` tabulates rows times the longest."""
    index = tf.range(tf.size(ragged.values, out_type=tf.int64))
    return tf.searchsorted(
        ragged.row_splits[1:], index, side="right", out_type=tf.int64
    )
