"""Words to tokens: a table for words of one token, merging for the others."""

from collections.abc import Callable

import tensorflow as tf

from zoo.text.in_graph import ragged_ops

_SEVERAL, _NONE = -1, -2


def table(tokens: dict) -> tf.lookup.StaticHashTable:
    """The table from each word that is one token to its id."""
    return ragged_ops.table({**tokens, "": _NONE}, tf.string, tf.int32, _SEVERAL)


def encode(
    word_N: tf.Tensor,
    row_N: tf.Tensor,
    single_tokens: tf.lookup.StaticHashTable,
    merge: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]],
) -> tf.RaggedTensor:
    """Encodes words; a word that occurs several times is merged once.

    Args:
      word_N: string; empty ones have no token.
      row_N: the row that each belongs to, int64; each of the B rows has a word.
      single_tokens: the result of `table`.
      merge: a function of words, string [M]. It returns an array with the ids of all
        words, int32; and the places in it of the separators before each word and
        behind the last word, int64 [M + 1].

    Returns:
      The ids of each row's words, int32 [B, None].
    """
    token_N = single_tokens.lookup(word_N)
    several_N = tf.equal(token_N, _SEVERAL)
    one_N = token_N >= 0

    def no_merges():
        tokens = tf.gather_nd(token_N, tf.where(one_N))
        return tokens, tf.cast(one_N, tf.int64)

    def merged():
        at_R1 = tf.where(several_N)
        words_M, index_R = tf.unique(tf.gather_nd(word_N, at_R1), tf.int64)
        tokens, edges = merge(words_M)
        # `pool` holds one place for each word, then the ids of the merged words.
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

    tokens, length_N = tf.cond(tf.reduce_any(several_N), merged, no_merges)
    length_B = tf.math.segment_sum(length_N, row_N)
    splits = tf.concat([[tf.constant(0, tf.int64)], tf.cumsum(length_B)], 0)
    return ragged_ops.from_row_splits(tokens, splits)
