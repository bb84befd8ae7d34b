"""Words to tokens: whole words by a table, all others by merging their bytes."""

import tensorflow as tf

from zoo.text import graph_bpe, graph_patterns


class ByteWords(tf.Module):
    """Byte-level BPE of words."""

    def __init__(self, byte_ids: list[int], pairs: graph_bpe.Pairs, whole: dict):
        """Builds the tables.

        Args:
          byte_ids: the token of each of the 256 bytes; -1 for a byte without a token.
          pairs: the merges.
          whole: the id of each word that is one token, by its bytes.
        """
        super().__init__()
        self._pairs = pairs
        self._all_known = min(byte_ids[:-1]) >= 0
        # No UTF-8 text holds the separator, so that its place in the table is free.
        self._byte_ids = tf.constant([*byte_ids[:-1], pairs.separator], tf.int64)
        self._whole = graph_bpe.table(
            list(whole), tf.string, list(whole.values()), tf.int32, -1
        )

    def encode(self, words_N: tf.Tensor) -> tf.RaggedTensor:
        """The tokens of words, int32 [N, None]."""
        whole_N = self._whole.lookup(words_N)
        rest = tf.squeeze(tf.where(whole_N < 0), 1)
        words_M, index = tf.unique(tf.gather(words_N, rest), tf.int64)
        values, splits_M = self._merge(words_M)
        # One pool of tokens: first a place for each word, then those of merged words.
        pool = tf.concat([whole_N, values], 0)
        count = tf.size(whole_N, tf.int64)
        start = tf.gather(splits_M, index)
        length = tf.gather(splits_M, index + 1) - start
        at = rest[:, None]
        length_N = tf.tensor_scatter_nd_update(
            tf.ones_like(whole_N, tf.int64), at, length
        )
        start_N = tf.tensor_scatter_nd_update(tf.range(count), at, start + count)
        splits_N = tf.concat([[0], tf.cumsum(length_N)], 0)
        take = tf.repeat(start_N - splits_N[:-1], length_N) + tf.range(splits_N[-1])
        return tf.RaggedTensor.from_row_splits(
            tf.gather(pool, take), splits_N, validate=False
        )

    def _merge(self, words_M):
        """The tokens of words, one after the other, and where each word starts."""
        edge = graph_patterns.SEPARATOR
        text = tf.strings.reduce_join(words_M, separator=edge)
        bytes_ = tf.io.decode_raw(tf.strings.join([edge, text, edge]), tf.uint8)
        symbol = tf.gather(self._byte_ids, tf.cast(bytes_, tf.int32))
        if not self._all_known:
            symbol = tf.boolean_mask(symbol, symbol >= 0)
        symbol = self._pairs.merge(symbol)
        is_edge = tf.equal(symbol, self._pairs.separator)
        # Of no words there are two edges too.
        edges = tf.squeeze(tf.where(is_edge), 1)[: tf.size(words_M) + 1]
        values = tf.cast(tf.boolean_mask(symbol, ~is_edge), tf.int32)
        return values, edges - tf.range(tf.size(edges, tf.int64))
