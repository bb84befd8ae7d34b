"""Ragged rows of token ids: int32 [B, None]."""

from typing import Any

import tensorflow as tf

from zoo.text.framing import Frame

_Ragged: Any = tf.RaggedTensor  # whose class methods TensorFlow's stubs leave out


def lengths(ids) -> tf.Tensor:
    """The number of ids in each row, int32 [B]."""
    return tf.cast(ids.row_lengths(), tf.int32)


def ragged(tokens_BT, length_B) -> Any:
    """The first `length_B` ids of each row."""
    return _Ragged.from_tensor(tokens_BT, lengths=length_B)


def repeated(part: list[int], like) -> Any:
    """The same ids in every row, for as many rows as `like` has."""
    part_BT = tf.tile(tf.constant([part], tf.int32), [like.nrows(tf.int32), 1])
    return _Ragged.from_tensor(part_BT, row_splits_dtype=like.row_splits.dtype)


def filled(id_: int, ids) -> Any:
    """The rows, with `id_` in each empty one."""
    empty_B = tf.cast(ids.row_lengths() == 0, tf.int64)
    ends = _Ragged.from_row_lengths(tf.fill([tf.reduce_sum(empty_B)], id_), empty_B)
    return tf.concat([ends, ids], 1)


def framed(ids, frame: Frame) -> Any:
    """The rows with the frame's ids around each one; `Frame.around` of whole batches.

    Where the frame has no ids at all, an empty row stays empty.
    """
    if frame.size:
        before, after = (
            [repeated(part, ids)] if part else []
            for part in (frame.before, frame.after)
        )
        return tf.concat([*before, ids, *after], 1)
    return filled(frame.empty[0], ids) if frame.empty else ids
