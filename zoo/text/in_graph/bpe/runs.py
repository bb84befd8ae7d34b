"""Runs of one symbol, such as spaces, which become tokens before all other merges.

Gemma has tokens of 1 to 31 spaces and merges the longest first. So BPE cuts a run of
spaces from the left into tokens of 31, and the rest is one token. Merging pair by pair
would take a round for each space. Here all runs take one round.

Example: the longest token has 3 spaces. A run of 8 becomes the tokens of 3, 3 and 2.
"""

import tensorflow as tf

from zoo.text.in_graph import ragged_ops


class Runs(tf.Module):
    """Joins the runs of some symbols."""

    def __init__(self, runs, numbers, symbols: int):
        """Builds the tables.

        Args:
          runs: `runs` of `merges.Merges`.
          numbers: the numbers of each id, see `bpe.Pairs`.
          symbols: how many numbers are symbols of words.
        """
        super().__init__()
        kinds, longest = [0] * symbols, max(map(len, runs.values()))
        tokens, sizes = [[0] * (longest + 1)], [1]
        for kind, (symbol, run) in enumerate(runs.items(), start=1):
            for number in numbers[symbol]:
                kinds[number] = kind
            sizes.append(len(run))
            made = [numbers[token][0] for token in run]
            tokens.append([0, *made, *[0] * (longest - len(run))])
        self._kinds = tf.constant(kinds, tf.int64)
        self._sizes = tf.constant(sizes, tf.int64)
        self._tokens = tf.constant(tokens, tf.int64)

    def join(self, symbol_N: tf.Tensor) -> tf.Tensor:
        """Replaces runs in an array of numbers, int64 [N], by the tokens' numbers."""
        kind_N = tf.gather(self._kinds, symbol_N)
        again_N = (kind_N > 0) & (kind_N == ragged_ops.before(kind_N, 0))

        def joined():
            place_N = tf.range(tf.size(symbol_N, tf.int64))
            starts_R = tf.squeeze(tf.where(tf.logical_not(again_N)), 1)
            ends_R = tf.concat([starts_R[1:], tf.size(symbol_N, tf.int64)[None]], 0)
            run_N = tf.cumsum(tf.cast(tf.logical_not(again_N), tf.int64)) - 1
            offset_N = place_N - tf.gather(starts_R, run_N)
            size_N = tf.gather(self._sizes, kind_N)
            left_N = tf.minimum(size_N, tf.gather(ends_R, run_N) - place_N)
            token_N = tf.gather_nd(self._tokens, tf.stack([kind_N, left_N], 1))
            token_N = tf.where(kind_N > 0, token_N, symbol_N)
            return ragged_ops.keep(offset_N % size_N == 0, token_N)[0]

        return tf.cond(tf.reduce_any(again_N), joined, lambda: symbol_N)
