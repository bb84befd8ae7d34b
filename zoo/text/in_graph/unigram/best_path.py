"""The best way to cut texts into pieces: the highest sum of scores (Kudo 2018).

Kudo 2018, "Subword Regularization", arXiv:1804.10959. The search is Viterbi's.

1. A prefix tree is walked from each character at once, one level a step. A step finds
   all pieces of one length.
2. The best sum up to each character follows from those before it. All segments advance
   together, one character a step. Where two pieces have the same sum, the longer one
   is taken, as in `tokenizers`.
3. The paths are read backwards from the ends of all segments, in steps of doubling
   length.

A segment ends where no piece crosses. That gives the sums of whole words only if sums
are exact, as those of 32-bit scores are in 64 bits. Other scores have whole words as
segments.

Example: the pieces `a`, `b`, `c`, `ab`, `bc` have the scores -1, -3, -2, -2, -6.

    text            a     b     c     b     c
    best sum       -1    -2    -4    -7    -9
    piece there     a    ab     c     b     c

Behind the second character no piece crosses (`bc` does: so no), and the path is
`ab`, `c`, `b`, `c`.
"""

import math
from collections.abc import Sequence

import tensorflow as tf

from zoo.text.in_graph import ragged_ops
from zoo.text.in_graph.nfc import POINTS
from zoo.text.in_graph.unigram.points import Points

_PENALTY = 10.0  # of an unknown character, below the lowest score
_EXACT_BITS = 52
_LONGEST_EXACT = 2**20  # characters of a text whose sums are exact


class Pieces(tf.Module):
    """A vocabulary of pieces with scores.

    Attributes:
      exact: whether sums of scores have no rounding error.
    """

    def __init__(self, pieces: Sequence[tuple[str, float]], unknown: int):
        """Builds the tables.

        Args:
          pieces: text and score, by id.
          unknown: the id of unknown characters.
        """
        super().__init__()
        self._unknown = unknown
        lowest = min(score for _, score in pieces)
        scores = [score for _, score in pieces]
        self.exact = _exact([*scores, lowest - _PENALTY])
        tree, first, ends = {}, {}, [0, 0]
        for number, (text, _) in enumerate(pieces):
            if not text:
                continue
            node = first.setdefault(ord(text[0]), len(ends))
            if node == len(ends):
                ends.append(0)
            for letter in text[1:]:
                node = tree.setdefault(node * POINTS + ord(letter), len(ends))
                if node == len(ends):
                    ends.append(0)
            ends[node] = number + 1
        # Node 0 is no node. A token in these tables is its id and 1; 0 is no token.
        self._first = Points(first)
        self._tree = ragged_ops.table(tree, tf.int64, tf.int32, 0)
        self._tokens = tf.constant(ends)
        none = -math.inf
        # The last score is that of an unknown character, which is not a piece.
        self._scores = tf.constant([none, *scores, lowest - _PENALTY], tf.float64)

    def __call__(self, point_N: tf.Tensor, edge_N: tf.Tensor):
        """Cuts words.

        Args:
          point_N: int32, the characters of all words.
          edge_N: bool, the characters that separate words.

        Returns:
          The first and the last character of each piece, int32 [Q]; and the id of each,
          int32 [Q], where a separator has -1.
        """
        token_ND, crossed_N = self._matches(point_N, edge_N)
        place_N = tf.range(tf.size(point_N))
        start_N = edge_N | ragged_ops.before(edge_N, True)
        if self.exact:
            start_N |= ~crossed_N
        (start_S,) = ragged_ops.keep(start_N, place_N)
        end_S = tf.concat([start_S, tf.size(point_N)[None]], 0)[1:]
        size_N, token_N = self._best(token_ND, start_S, end_S)
        last_N = _path(size_N, start_N, place_N)
        end_Q, size_Q, token_Q = ragged_ops.keep(last_N, place_N, size_N, token_N)
        token_Q = tf.where(
            token_Q > tf.size(self._scores) - 2, self._unknown, token_Q - 1
        )
        token_Q = tf.where(tf.gather(edge_N, end_Q), -1, token_Q)
        return end_Q - size_Q + 1, end_Q, token_Q

    def _matches(self, point_N, edge_N):
        """All pieces in the words.

        Returns:
          token_ND: int32, the piece that ends at each character, by length: the longest
            length first, one character last. 0 where there is none.
          crossed_N: bool, whether a piece holds a character and the one before it.
        """
        count = tf.size(point_N)
        place_N = tf.range(count)
        word_N = tf.cumsum(tf.cast(edge_N, tf.int32))
        node_N = tf.where(edge_N, 0, self._first(point_N))
        token_N = tf.gather(self._tokens, node_N)
        token_N = tf.where(token_N == 0, tf.size(self._scores) - 1, token_N)

        def go(length, place_A, node_A, ends, tokens, sizes):
            return tf.size(place_A) > 0

        def step(length, place_A, node_A, ends, tokens, sizes):
            at_A = tf.minimum(place_A + length, count - 1)
            inside_A = (place_A + length < count) & (
                tf.gather(word_N, at_A) == tf.gather(word_N, place_A)
            )
            place_A, node_A, at_A = ragged_ops.keep(inside_A, place_A, node_A, at_A)
            key_A = tf.cast(node_A, tf.int64) * POINTS
            key_A += tf.cast(tf.gather(point_N, at_A), tf.int64)
            node_A = self._tree.lookup(key_A)
            place_A, node_A, at_A = ragged_ops.keep(node_A > 0, place_A, node_A, at_A)
            token_A = tf.gather(self._tokens, node_A)
            end, token = ragged_ops.keep(token_A > 0, at_A, token_A)
            return (
                length + 1,
                place_A,
                node_A,
                ends.write(length - 1, end),
                tokens.write(length - 1, token),
                sizes.write(length - 1, tf.ones_like(end) * (length + 1)),
            )

        def parts():
            return tf.TensorArray(
                tf.int32, 0, dynamic_size=True, infer_shape=False, element_shape=[None]
            )

        one, none = tf.TensorShape([None]), tf.TensorShape([])
        start = ragged_ops.keep(node_N > 0, place_N, node_N)
        length, _, _, ends, tokens, sizes = tf.while_loop(
            go,
            step,
            [1, *start, parts(), parts(), parts()],
            shape_invariants=[none, one, one, none, none, none],
            parallel_iterations=1,
        )
        end_K, token_K, size_K = (
            tf.cond(length > 1, part.concat, lambda: tf.zeros([0], tf.int32))
            for part in (ends, tokens, sizes)
        )
        longest = tf.reduce_max(tf.concat([size_K, [1]], 0))
        column_K = tf.concat([longest - size_K, tf.fill([count], longest - 1)], 0)
        token_ND = tf.scatter_nd(
            tf.stack([tf.concat([end_K, place_N], 0), column_K], 1),
            tf.concat([token_K, token_N], 0),
            tf.stack([count, longest]),
        )
        # +1 at the second character of each piece, -1 behind its last one
        opened = tf.concat([end_K - size_K + 2, end_K + 1], 0)
        ones_K = tf.ones_like(end_K)
        change = tf.scatter_nd(
            opened[:, None], tf.concat([ones_K, -ones_K], 0), count[None] + 1
        )
        return token_ND, tf.cumsum(change)[:-1] > 0

    def _best(self, token_ND, start_S, end_S):
        """The length and the token of the best piece that ends at each character.

        Args:
          token_ND: as `_matches` returns it.
          start_S, end_S: int32, the segments; they cover all characters.
        """
        longest = tf.shape(token_ND)[1]
        column_D = tf.range(longest)

        def go(place_A, end_A, sums_AD, places, sizes, number):
            return tf.size(place_A) > 0

        def step(place_A, end_A, sums_AD, places, sizes, number):
            # column d of `sums_AD`: the best sum up to `longest - d` characters ago
            score_AD = tf.gather(self._scores, tf.gather(token_ND, place_A))
            sum_AD = sums_AD + score_AD
            best_A1 = tf.reduce_max(sum_AD, 1, keepdims=True)
            # the longest of equal ones
            size_A = longest - tf.reduce_min(
                tf.where(sum_AD == best_A1, column_D, longest), 1
            )
            places = places.write(number, place_A)
            sizes = sizes.write(number, size_A)
            sums_AD = tf.concat([sums_AD[:, 1:], best_A1], 1)
            more_A = place_A + 1 < end_A
            place_A, end_A, sums_AD = ragged_ops.keep(
                more_A, place_A + 1, end_A, sums_AD
            )
            return place_A, end_A, sums_AD, places, sizes, number + 1

        parts = [
            tf.TensorArray(
                tf.int32, 0, dynamic_size=True, infer_shape=False, element_shape=[None]
            )
            for _ in range(2)
        ]
        far = tf.fill(
            [tf.size(start_S), longest - 1], tf.constant(-math.inf, tf.float64)
        )
        sums_SD = tf.concat([far, tf.zeros([tf.size(start_S), 1], tf.float64)], 1)
        one, two, none = (tf.TensorShape([None] * rank) for rank in (1, 2, 0))
        *_, places, sizes, number = tf.while_loop(
            go,
            step,
            [start_S, end_S, sums_SD, *parts, 0],
            shape_invariants=[
                one,
                one,
                two,
                tf.TensorShape([]),
                tf.TensorShape([]),
                tf.TensorShape([]),
            ],
            parallel_iterations=1,
        )
        place_N, size_N = places.concat(), sizes.concat()
        size_N = tf.scatter_nd(place_N[:, None], size_N, tf.shape(token_ND)[:1])
        token_N = tf.gather(token_ND, longest - size_N, batch_dims=1)
        return size_N, token_N


def _path(size_N, start_N, place_N):
    """Whether the best path has a piece that ends at each character, bool [N].

    Args:
      size_N: the length of the best piece that ends at each character.
      start_N: whether a segment starts at each character.
      place_N: 0, 1, 2...
    """
    count = tf.size(place_N)
    before_N = place_N - size_N
    first_N = tf.gather(start_N, before_N + 1)
    # the place `count` stands for "before the segment"
    jump_N = tf.where(first_N, count, before_N)
    mark_N = ragged_ops.behind(start_N, True)

    def go(more, mark_N, jump_N):
        return more

    def step(more, mark_N, jump_N):
        (at_A,) = ragged_ops.keep(mark_N, tf.gather(jump_N, place_N))
        (at_A,) = ragged_ops.keep(at_A < count, at_A)
        mark_N = tf.tensor_scatter_nd_update(
            mark_N, at_A[:, None], tf.ones_like(at_A, tf.bool)
        )
        jump_N = tf.gather(tf.concat([jump_N, [count]], 0), jump_N)
        return tf.size(at_A) > 0, mark_N, jump_N

    return tf.while_loop(go, step, [count > 0, mark_N, jump_N], parallel_iterations=1)[
        1
    ]


def _exact(scores):
    """Whether sums of these have no rounding error, up to a very long text."""
    if not all(map(math.isfinite, scores)):
        return False
    unit = max(score.as_integer_ratio()[1] for score in map(float, scores))
    largest = max(map(abs, scores))
    return unit * largest * _LONGEST_EXACT <= 2.0**_EXACT_BITS
