"""Ragged rows of token ids, int32 [B, None], and the signatures of a tokenizer."""

from typing import Any

import tensorflow as tf

from zoo.saved_model import request_checks as checks
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


def tokenize(encode, text) -> dict[str, tf.Tensor]:
    """The ids of each text, 0 after its end.

    Args:
      encode: texts, string [B], to ids, ragged int32 [B, None].
      text: string [B].
    """
    ids = encode(checks.texts("text", text))
    return {"tokens": ids.to_tensor(), "lengths": lengths(ids)}


def detokenize(
    decode, vocab_size: int, tokens, length_B, continuing
) -> dict[str, tf.Tensor]:
    """The text of each row's first `length_B` ids, without special tokens.

    Args:
      decode: ragged ids, and bool [B] whether they continue a text, to texts.
      vocab_size: ids are below it.
      tokens: int32 [B, T].
      length_B: int32 [B], the input `lengths`.
      continuing: bool [B], or [1] for all rows: whether the ids follow other text, as
        those of an answer do. Otherwise a text loses the space that some tokenizers
        put before its first word.
    """
    tokens = checks.rows_of("tokens", tokens)
    T = tf.shape(tokens)[1]
    length_B = checks.require(
        (length_B >= 0) & (length_B <= T),
        "lengths",
        length_B,
        "0 to the width of tokens allowed",
    )
    odd_BT = tf.sequence_mask(length_B, T) & ((tokens < 0) | (tokens >= vocab_size))
    at_B = tf.argmax(tf.cast(odd_BT, tf.int32), 1)
    first_B = tf.gather(tf.where(odd_BT, tokens, 0), at_B, batch_dims=1)
    length_B = checks.below("tokens", first_B, vocab_size, length_B)
    continuing_B = checks.broadcast("continuing", continuing, tf.shape(tokens)[0])
    return {"text": decode(ragged(tokens, length_B), continuing_B)}
