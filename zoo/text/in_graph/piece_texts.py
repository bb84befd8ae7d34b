"""The texts of the pieces of SentencePiece: "▁" is a space, and `<0x41>` is a byte."""

import re

import tensorflow as tf

from zoo.text.in_graph import byte_level, ragged_ops

SPACE = "▁"
_BYTE = re.compile(r"<0x(\+[0-9A-Fa-f]|[0-9A-Fa-f]{2})>")
_BROKEN = "\ufffd"


class PieceTexts(tf.Module):
    """Pieces to text."""

    def __init__(self, tokens, skipped, strip):
        """Builds the tables.

        Args:
          tokens: the text of each id, added tokens included.
          skipped: the ids of special tokens, which have no text.
          strip: whether decoding drops a space at the start of a text.
        """
        super().__init__()
        self._strip = strip
        size = max(tokens) + 1
        texts, is_byte, known = [b""] * (size + 1), [False] * (size + 1), [False] * size
        for number, token in tokens.items():
            byte = _BYTE.fullmatch(token)
            is_byte[number], known[number] = bool(byte), number not in skipped
            text = bytes([int(byte[1], 16)]) if byte else token.encode()
            texts[number] = text.replace(SPACE.encode(), b" ")
        self._texts = tf.constant(texts)
        self._is_byte = tf.constant(is_byte)
        self._known = tf.constant([*known, False])

    def decode(self, tokens_BT: tf.RaggedTensor, continuing) -> tf.Tensor:
        """The texts of tokens, string [B]; see `GraphTokenizer.decode`."""
        nothing = tf.size(self._texts) - 1
        tokens = tokens_BT.values
        tokens = tf.where((tokens >= 0) & (tokens < nothing), tokens, nothing)
        tokens_BT = ragged_ops.keep_ragged(
            tf.gather(self._known, tokens), tokens_BT.with_values(tokens)
        )
        tokens, row = tokens_BT.values, ragged_ops.row_of_each(tokens_BT)
        text, is_byte = tf.gather(self._texts, tokens), tf.gather(self._is_byte, tokens)
        # A character that is cut at the end has one token for each byte.
        cut_B = byte_level.cut(ragged_ops.join(text, row, tokens_BT.nrows()))
        end_B = tokens_BT.row_splits[1:] - tf.cast(cut_B, tf.int64)
        kept = tf.range(tf.size(row, tf.int64)) < tf.gather(end_B, row)
        text, is_byte, row = ragged_ops.keep(kept, text, is_byte, row)
        # A run of bytes is text if all of it is valid UTF-8; else all become U+FFFD.
        kind = tf.cast(is_byte, tf.int32)
        first = ragged_ops.changes(kind) | ragged_ops.changes(row)
        run = tf.cumsum(tf.cast(first, tf.int64))
        valid_R = byte_level.valid(ragged_ops.join(text, run, tf.size(run) + 1))
        text = tf.where(is_byte & ~tf.gather(valid_R, run), _BROKEN, text)
        text_B = ragged_ops.join(text, row, tokens_BT.nrows())
        if not self._strip:
            return text_B
        stripped_B = tf.strings.regex_replace(text_B, "^ ", "")
        return tf.where(continuing, text_B, stripped_B)

    def token_bytes(self, tokens: tf.Tensor) -> tf.Tensor:
        """The bytes of each token; special ones and ids out of range have none."""
        nothing = tf.size(self._texts) - 1
        tokens = tf.where((tokens >= 0) & (tokens < nothing), tokens, nothing)
        return tf.where(
            tf.gather(self._known, tokens), tf.gather(self._texts, tokens), ""
        )
