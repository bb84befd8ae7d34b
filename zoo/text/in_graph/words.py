"""Words to tokens: words that are one token by a table, the others by merging."""

from collections.abc import Callable

import tensorflow as tf

from zoo.text.in_graph import ragged_ops

_SEVERAL, _NONE = -1, -2


def table(tokens: dict) -> tf.lookup.StaticHashTable:
    """From the words that are one token to that token."""
    return ragged_ops.table({**tokens, "": _NONE}, tf.string, tf.int32, _SEVERAL)


def encode(
    word_N: tf.Tensor,
    row_N: tf.Tensor,
    whole: tf.lookup.StaticHashTable,
    merge: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]],
) -> tf.RaggedTensor:
    """Encodes words, each that occurs several times only once.

    Args:
      word_N: string; empty ones have no token.
      row_N: the row that each belongs to, int64; each of the B rows has a word.
      whole: what `table` gave.
      merge: from words, string [M], to an array with the tokens of all of them, int32,
        and the places in it before each word and behind the last one, int64 [M + 1].

    Returns:
      The tokens of the words of a row, int32 [B, None].
    """
    token_N = whole.lookup(word_N)
    several_N = tf.equal(token_N, _SEVERAL)
    one_N = token_N >= 0

    def all_whole():
        tokens = tf.gather_nd(token_N, tf.where(one_N))
        return tokens, tf.cast(one_N, tf.int64)

    def merged():
        at_R1 = tf.where(several_N)
        words_M, index_R = tf.unique(tf.gather_nd(word_N, at_R1), tf.int64)
        tokens, edges = merge(words_M)
        # One pool of tokens: first a place for each word, then those of merged words.
        pool = tf.concat([token_N, tokens], 0)
        count = tf.size(token_N, tf.int64)
        edges += count
        start_N = tf.range(count)
        limit_N = start_N + tf.cast(one_N, tf.int64)
        start_R = tf.gather(edges, index_R) + 1
        limit_R = tf.gather(edges, index_R + 1)
        start_N = tf.tensor_scatter_nd_update(start_N, at_R1, start_R)
        limit_N = tf.tensor_scatter_nd_update(limit_N, at_R1, limit_R)
        taken = ragged_ops.ranges(start_N, limit_N).values
        return tf.gather(pool, taken), limit_N - start_N

    tokens, length_N = tf.cond(tf.reduce_any(several_N), merged, all_whole)
    length_B = tf.math.segment_sum(length_N, row_N)
    return tf.RaggedTensor.from_row_lengths(tokens, length_B, validate=False)
