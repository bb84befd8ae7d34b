"""The words of a text, their places in it, and the first token of each word.

A word is a run of characters between white space. The tokens are those of the words
joined by one space each, as models that label words are trained. The first token of a
word is the one that holds the word's first byte, or a space that the tokenizer puts
before the text. An example with a byte-level BPE:

    text       "the  unhappy man"
    words      the     unhappy      man
    start      0       5            13
    end        3       12           16
    tokens     the     Ġun   happy  Ġman
    first      0       1            3
"""

import sys
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from zoo.text.in_graph import pre_tokenizers, ragged_ops
from zoo.text.in_graph.tokenizer import GraphTokenizer

# White space as Python's str.split has it.
_WHITE = [c for c in range(sys.maxunicode + 1) if chr(c).isspace()]

Require = Callable[..., tf.Tensor]  # `request_checks.require`


class Words(NamedTuple):
    """The words of B texts, W for all, and their tokens.

    Attributes:
      ids: ragged int32 [B, None], the tokens of each text.
      start, end: ragged int32 [B, None], the first byte of each word in the text given,
        and the byte behind its last one.
      first: ragged int32 [B, None], the place in `ids` of the first token of each word;
        -1 for a word without tokens, such as one of control characters in BERT.
    """

    ids: tf.RaggedTensor
    start: tf.RaggedTensor
    end: tf.RaggedTensor
    first: tf.RaggedTensor


class WordTokens(tf.Module):
    """Finds the words of texts and their first tokens.

    Args:
      tokenizer: of the texts.
    """

    def __init__(self, tokenizer: GraphTokenizer):
        super().__init__()
        self._tokenizer = tokenizer
        self._runs = f"[{pre_tokenizers.ranges(_WHITE)}]+"
        is_white = [False] * (max(_WHITE) + 2)
        for point in _WHITE:
            is_white[point] = True
        self._is_white = tf.constant(is_white)

    def __call__(self, text_B: tf.Tensor, require: Require) -> Words:
        """The words and tokens of texts.

        Args:
          text_B: string, valid UTF-8.
          require: refuses the texts whose tokens do not spell the text.
        """
        with tf.device("/CPU:0"):
            start_BW, end_BW = self._places(text_B)
            apart_B = tf.strings.regex_replace(
                text_B, self._runs, pre_tokenizers.SEPARATOR
            )
            word_BW = pre_tokenizers.split(apart_B)
            find = self._apart if self._tokenizer.words_apart else self._spelled
            ids_BT, first_W = find(text_B, word_BW, require)
            first_BW = start_BW.with_values(tf.cast(first_W, tf.int32))
            return Words(ids_BT, start_BW, end_BW, first_BW)

    def _places(self, text_B):
        """The first byte of each word, and the byte behind it, ragged [B, None]."""
        points_BN, places_BN = tf.strings.unicode_decode_with_offsets(text_B, "UTF-8")
        point_N, row_N = points_BN.values, ragged_ops.row_of_each(points_BN)
        place_N = tf.cast(places_BN.values, tf.int32)
        known = tf.size(self._is_white) - 1
        white_N = tf.gather(self._is_white, tf.minimum(point_N, known))
        first_N = ragged_ops.changes(row_N)
        last_N = ragged_ops.behind(first_N, True)
        starts_N = ~white_N & (ragged_ops.before(white_N, True) | first_N)
        ends_N = ~white_N & (ragged_ops.behind(white_N, True) | last_N)
        size_N = tf.gather(tf.strings.length(text_B), row_N)
        next_N = tf.where(last_N, size_N, ragged_ops.behind(place_N, 0))
        start_W, row_W = ragged_ops.keep(starts_N, place_N, row_N)
        (end_W,) = ragged_ops.keep(ends_N, next_N)
        start_BW = ragged_ops.ragged(start_W, row_W, points_BN.nrows())
        return start_BW, start_BW.with_values(end_W)

    def _apart(self, text_B, word_BW, require):
        """The tokens where each word is tokenized alone, and the first of each word."""
        del text_B, require
        ids_WT = self._tokenizer.encode(word_BW.values)
        count_W = ids_WT.row_lengths()
        ids_BT = word_BW.with_values(ids_WT).merge_dims(1, 2)
        row_W = ragged_ops.row_of_each(word_BW)
        first_W = ids_WT.row_starts() - tf.gather(ids_BT.row_starts(), row_W)
        return ids_BT, tf.where(count_W > 0, first_W, -1)

    def _spelled(self, text_B, word_BW, require):
        """The tokens of the joined words, and the first of each by counting bytes."""
        rows, row_W = word_BW.nrows(), ragged_ops.row_of_each(word_BW)
        word_W, spelled_W = word_BW.values, self._tokenizer.spelled(word_BW.values)
        joined_B, wanted_B = (
            tf.strings.unsorted_segment_join(x, row_W, tf.cast(rows, tf.int32), " ")
            for x in (word_W, spelled_W)
        )
        ids_BT = self._tokenizer.encode(joined_B)
        bytes_T = self._tokenizer.token_bytes(ids_BT.values)
        found_B = ragged_ops.join(bytes_T, ragged_ops.row_of_each(ids_BT), rows)
        more_B = tf.strings.length(found_B) - tf.strings.length(wanted_B)
        exact_B = (found_B == wanted_B) | (found_B == tf.strings.join([" ", wanted_B]))
        ids_values = require(
            exact_B,
            "text",
            text_B,
            "a text that its tokens spell allowed",
            ids_BT.values,
        )
        # the bytes of all rows are counted on, one row behind the other
        end_T = tf.cumsum(tf.strings.length(bytes_T))
        behind_T = tf.concat([[0], end_T], 0)
        row_B = tf.gather(behind_T, ids_BT.row_starts())
        size_W = tf.strings.length(spelled_W) + 1
        ahead_W = tf.cumsum(size_W, exclusive=True)
        ahead_W -= tf.gather(
            tf.concat([ahead_W, [0]], 0), tf.gather(word_BW.row_starts(), row_W)
        )
        # a space that the tokenizer puts before a text is a part of its first word
        more_W = tf.where(ragged_ops.changes(row_W), 0, tf.gather(more_B, row_W))
        at_W = tf.gather(row_B, row_W) + more_W + ahead_W
        first_W = tf.searchsorted(end_T, at_W, side="right", out_type=tf.int64)
        first_W -= tf.gather(ids_BT.row_starts(), row_W)
        return ids_BT.with_values(ids_values), first_W
