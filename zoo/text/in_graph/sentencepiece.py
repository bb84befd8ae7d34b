"""SentencePiece-like BPE (Llama 2, Mistral): BPE merges the characters of words.

The character "▁" stands for a space. A character that is no token becomes the tokens of
its UTF-8 bytes. Kudo and Richardson 2018 (arXiv:1808.06226).
"""

import re

import tensorflow as tf

from zoo.text.in_graph import pre_tokenizers, ragged_ops, words
from zoo.text.in_graph.bpe import merges as bpe_merges
from zoo.text.in_graph.bpe import model as bpe
from zoo.text.in_graph.piece_texts import SPACE, PieceTexts

_BROKEN = "\ufffd"
_NEVER_IN_UTF8 = {0xC0, 0xC1, *range(0xF5, 0x100)}


class SentencePiece(tf.Module):
    """Text without added tokens to tokens, and back."""

    def __init__(self, model, before, at_start, after, strip, tokens, skipped):
        """Builds the tables.

        Args:
          model: `model` of a tokenizer.json.
          before: replacements, see `pre_tokenizers`.
          at_start: the next replacements, for a text that is not behind an added token.
          after: the last replacements.
          strip: whether decoding drops a space at the start of a text.
          tokens: the text of each id, added tokens included.
          skipped: the ids of special tokens, which have no text.

        Raises:
          ValueError: the graph does not support a part of the model.
        """
        super().__init__()
        ids = model["vocab"]
        byte_ids = [ids.get(f"<0x{byte:02X}>", -1) for byte in range(256)]
        for byte, number in enumerate(byte_ids):
            # Gemma has "\t" as a token, so no character needs its byte.
            needed = byte > 0x7F or chr(byte) not in ids
            if number < 0 and needed and byte not in _NEVER_IN_UTF8:
                raise ValueError(f"model.vocab without <0x{byte:02X}>")
        merges = bpe_merges.prepare(
            {
                number: [ids[letter] for letter in token]
                for token, number in ids.items()
                if all(letter in ids for letter in token)
            },
            bpe_merges.read(model),
        )
        letters = [token for token in ids if len(token) == 1]
        self._letters = ragged_ops.table(
            {ord(token): number for number, token in enumerate(letters)},
            tf.int32,
            tf.int32,
            -1,
        )
        symbols = [*map(ids.get, letters), *byte_ids]
        self._pairs = bpe.Pairs(merges, symbols)
        self._byte_symbols = tf.range(len(letters), len(symbols))
        single = merges.single_token_words
        self._single_tokens = words.table(
            {token: i for token, i in ids.items() if i in single}
        )
        self._before, self._at_start, self._after = before, at_start, after
        if not after and not any(re.search(f"[^{SPACE}]{SPACE}", t) for t in ids):
            # No token holds a space behind another character, so words end there.
            edge = pre_tokenizers.SEPARATOR + SPACE.encode()
            self._after = [(f"([^{SPACE}]){SPACE}", rb"\1" + edge)]
        self._texts = PieceTexts(tokens, skipped, strip)

    def encode(self, text_B: tf.Tensor, starts_B: tf.Tensor) -> tf.RaggedTensor:
        """The ids of texts, int32 [B, None]; `starts_B`: not behind an added token."""
        text_B = pre_tokenizers.replace(text_B, self._before)
        changed_B = pre_tokenizers.replace(text_B, self._at_start)
        text_B = tf.where(starts_B, changed_B, text_B)
        word_N, row_N = pre_tokenizers.words(text_B, self._after)
        return words.encode(word_N, row_N, self._single_tokens, self._merge)

    def decode(self, tokens_BT: tf.RaggedTensor, continuing) -> tf.Tensor:
        """The texts of tokens, string [B]; see `GraphTokenizer.decode`."""
        return self._texts.decode(tokens_BT, continuing)

    def token_bytes(self, tokens: tf.Tensor) -> tf.Tensor:
        """The bytes of each token; special ones and ids out of range have none."""
        return self._texts.token_bytes(tokens)

    def _merge(self, words_M):
        """The `merge` of `words.encode`."""
        edge = pre_tokenizers.SEPARATOR
        text = tf.strings.reduce_join(words_M, separator=edge)
        text = tf.strings.join([edge, text, edge])
        point_N, start_N = tf.strings.unicode_decode_with_offsets(text, "UTF-8")
        # A separator decodes to U+FFFD, but has one byte, and that character three.
        size_N = ragged_ops.behind(start_N, -1) - start_N
        broken_N = tf.equal(point_N, ord(_BROKEN))
        edge_N = broken_N & (size_N <= 1)
        symbol_N = self._letters.lookup(point_N)
        symbol_N = tf.where(edge_N, self._pairs.separator, symbol_N)
        symbol_N = tf.cond(
            tf.reduce_any(symbol_N < 0),
            lambda: self._with_bytes(symbol_N, point_N),
            lambda: symbol_N,
        )
        return self._pairs.words(tf.cast(symbol_N, tf.int64))

    def _with_bytes(self, symbol_N, point_N):
        """Puts the symbols of bytes in the place of characters that are no token."""
        at_U1 = tf.where(symbol_N < 0)
        bytes_U4, size_U = _utf8(tf.gather_nd(point_N, at_U1))
        symbol_U4 = tf.gather(self._byte_symbols, bytes_U4)
        pool = tf.concat([symbol_N, tf.reshape(symbol_U4, [-1])], 0)
        count = tf.size(symbol_N)
        start_N, start_U = tf.range(count), count + 4 * tf.range(tf.size(size_U))
        limit_N = tf.tensor_scatter_nd_update(start_N + 1, at_U1, start_U + size_U)
        start_N = tf.tensor_scatter_nd_update(start_N, at_U1, start_U)
        return tf.gather(pool, ragged_ops.ranges(start_N, limit_N).values)


def _utf8(point_N):
    """The bytes of characters, int32 [N, 4], and how many there are, int32 [N]."""
    long_N3 = point_N[:, None] >= tf.constant([0x80, 0x800, 0x10000])
    more_N1 = tf.reduce_sum(tf.cast(long_N3, tf.int32), 1, keepdims=True)
    shift_N4 = 6 * tf.maximum(more_N1 - tf.range(4), 0)
    bits_N4 = tf.bitwise.right_shift(point_N[:, None], shift_N4)
    first_N1 = bits_N4[:, :1] + tf.gather([0, 0xC0, 0xE0, 0xF0], more_N1)
    bytes_N4 = tf.concat([first_N1, bits_N4[:, 1:] % 64 + 0x80], 1)
    return bytes_N4, more_N1[:, 0] + 1
