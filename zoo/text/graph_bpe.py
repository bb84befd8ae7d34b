"""Byte pair encoding of words with core TensorFlow ops.

All words of a request lie one after the other in one array of symbols. In each round,
every word merges all places of its best pair (Sennrich et al. 2016, arXiv:1508.07909).
"""

import tensorflow as tf

_NONE = 2**62


class BytePairs(tf.Module):
    """Merges the bytes of words into tokens, as the BPE model of `tokenizers` does."""

    def __init__(self, byte_ids, merges, whole, size):
        """Builds the tables.

        Args:
          byte_ids: 256 ids, the token of each byte; -1 for a byte without a token.
          merges: dict from (left id, right id) to (rank, id).
          whole: dict from the bytes of a word to its id, for words of one token.
          size: the number of ids.
        """
        super().__init__()
        self._size = size
        self._byte_ids = tf.constant(byte_ids, tf.int64)
        pairs = [left * size + right for left, right in merges] or [-2]
        values = [rank * size + new for rank, new in merges.values()] or [_NONE]
        self._merges = table(pairs, tf.int64, values, tf.int64, _NONE)
        self._whole = table(
            list(whole) or [b"\xff"], tf.string, list(whole.values()) or [-1],
            tf.int32, -1,
        )  # fmt: skip

    def encode(self, words_N: tf.Tensor) -> tf.RaggedTensor:
        """The tokens of words, int32 [N, None]."""
        whole_N = self._whole.lookup(words_N)
        is_whole_N = whole_N >= 0
        rest = tf.squeeze(tf.where(~is_whole_N), 1)
        words_M, index = tf.unique(tf.gather(words_N, rest), tf.int64)
        merged_M = self._merge(words_M)
        # One pool of tokens: first a place for each word, then those of merged words.
        pool = tf.concat([whole_N, merged_M.values], 0)
        count = tf.size(whole_N, tf.int64)
        at = rest[:, None]
        length_N = tf.tensor_scatter_nd_update(
            tf.ones_like(whole_N, tf.int64), at, tf.gather(merged_M.row_lengths(), index)
        )
        start_N = tf.tensor_scatter_nd_update(
            tf.range(count), at, tf.gather(merged_M.row_starts() + count, index)
        )
        splits = tf.concat([[0], tf.cumsum(length_N)], 0)
        take = tf.repeat(start_N - splits[:-1], length_N) + tf.range(splits[-1])
        return tf.RaggedTensor.from_row_splits(
            tf.gather(pool, take), splits, validate=False
        )

    def _merge(self, words_M):
        length_M = tf.strings.length(words_M)
        word = tf.repeat(tf.range(tf.size(words_M)), length_M)
        text = tf.io.decode_raw(tf.strings.reduce_join(words_M), tf.uint8)
        symbol = tf.gather(self._byte_ids, tf.cast(text, tf.int32))
        known = symbol >= 0
        symbol, word = symbol[known], word[known]
        unknown = tf.TensorShape([None])

        def again(go, symbol, word):
            return go

        def merge_best(go, symbol, word):
            same = word[:-1] == word[1:]
            pair = tf.where(same, symbol[:-1] * self._size + symbol[1:], -1)
            found = self._merges.lookup(pair)
            best = tf.math.segment_min(found, word[:-1])
            hit = (found == tf.gather(best, word[:-1])) & (found < _NONE)
            # In "aaaa" the places overlap: the first of two wins, from the left.
            place = tf.range(tf.size(hit))
            starts = hit & ~tf.concat([[False], hit[:-1]], 0)
            first = tf.gather(
                tf.concat([[0], tf.boolean_mask(place, starts)], 0),
                tf.cumsum(tf.cast(starts, tf.int32)),
            )
            hit &= (place - first) % 2 == 0
            merged = tf.where(hit, found % self._size, symbol[:-1])
            keep = tf.concat([[True], ~hit], 0)
            symbol = tf.concat([merged, symbol[-1:]], 0)
            return (
                tf.reduce_any(hit),
                tf.boolean_mask(symbol, keep),
                tf.boolean_mask(word, keep),
            )

        _, symbol, word = tf.while_loop(
            again,
            merge_best,
            [tf.size(symbol) > 1, symbol, word],
            shape_invariants=[tf.TensorShape([]), unknown, unknown],
        )
        return tf.RaggedTensor.from_value_rowids(
            tf.cast(symbol, tf.int32),
            tf.cast(word, tf.int64),
            nrows=tf.size(words_M, tf.int64),
            validate=False,
        )


def table(keys, key_type, values, value_type, default):
    """An immutable table."""
    return tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(
            tf.constant(keys, key_type), tf.constant(values, value_type)
        ),
        default,
    )
