"""Words to tokens: words that are one token by a table, the others by merging."""

from collections.abc import Callable

import tensorflow as tf


def encode(
    words_BN: tf.RaggedTensor,
    whole: tf.lookup.StaticHashTable,
    merge: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]],
) -> tf.RaggedTensor:
    """Encodes words, each that occurs several times only once.

    Args:
      words_BN: string [B, None].
      whole: from a word to its token, int32, or -1 where it has several.
      merge: from words, string [M], to the tokens of all of them, int32, and where each
        word starts and the last one ends, int64 [M + 1].

    Returns:
      The tokens of the words of a row, int32 [B, None].
    """
    whole_N = whole.lookup(words_BN.values)
    rest = tf.squeeze(tf.where(whole_N < 0), 1)
    words_M, index = tf.unique(tf.gather(words_BN.values, rest), tf.int64)
    tokens, splits_M = merge(words_M)
    # One pool of tokens: first a place for each word, then those of merged words.
    pool = tf.concat([whole_N, tokens], 0)
    count = tf.size(whole_N, tf.int64)
    start = tf.gather(splits_M, index)
    length = tf.gather(splits_M, index + 1) - start
    at = rest[:, None]
    length_N = tf.tensor_scatter_nd_update(tf.ones_like(whole_N, tf.int64), at, length)
    start_N = tf.tensor_scatter_nd_update(tf.range(count), at, start + count)
    splits_N = tf.concat([[0], tf.cumsum(length_N)], 0)
    take = tf.repeat(start_N - splits_N[:-1], length_N) + tf.range(splits_N[-1])
    return tf.RaggedTensor.from_row_splits(
        tf.gather(pool, take),
        tf.gather(splits_N, words_BN.row_splits),
        validate=False,
    )
