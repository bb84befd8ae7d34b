"""The normalizer `Precompiled` of `tokenizers`, with SentencePiece's map of characters.

A cluster of up to five bytes becomes the replacement of the first key that starts it,
and the rest of the cluster is dropped. The characters of other clusters are replaced
one by one.

Example: the map has keys for "①", "²", and for "A" with an acute accent.

    "②①" is two clusters: both are looked up.
    "①" with an accent has five bytes: it becomes "1", and the accent is dropped.
    "A" with two accents has five bytes too: it becomes "Á".
    "①" with two accents has seven bytes: it becomes "1" with two accents.
"""

import base64
import itertools
from typing import Any

import tensorflow as tf

from zoo.text.in_graph import pre_tokenizers, ragged_ops
from zoo.text.in_graph.nfc import POINTS
from zoo.text.in_graph.unigram import charsmap, graphemes
from zoo.text.in_graph.unigram.points import Points

_SHORT = 5  # bytes of a cluster that is looked up


class Precompiled(tf.Module):
    """Normalizes texts by a map of characters."""

    def __init__(self, content: str):
        """Builds the tables.

        Args:
          content: `precompiled_charsmap` of a tokenizer.json.

        Raises:
          ValueError: the content is no map, or a key is longer than two characters.
        """
        super().__init__()
        keys = charsmap.read(base64.b64decode(content))
        single = {ord(key): text for key, text in keys.items() if len(key) == 1}
        pairs = {
            key: text
            for key, text in keys.items()
            if len(key) > 1 and len(key.encode()) <= _SHORT
        }
        for key in pairs:
            if len(key) > 2:
                raise ValueError(f"precompiled_charsmap: the key {key!r}")
        texts = sorted({*single.values(), *pairs.values()})
        numbers = {text: number for number, text in enumerate(texts, start=1)}
        self._single = Points({p: numbers[t] for p, t in single.items()})
        self._pairs = ragged_ops.table(
            {ord(k[0]) * POINTS + ord(k[1]): numbers[t] for k, t in pairs.items()},
            tf.int64,
            tf.int32,
            0,
        )
        # The pool has one place for a kept character, and then the replacements.
        lengths = [1, *map(len, texts)]
        self._lengths = tf.constant(lengths)
        self._starts = tf.constant([0, *itertools.accumulate(lengths)][:-1])
        self._pool = tf.constant([0, *(ord(letter) for t in texts for letter in t)])
        self._graphemes = graphemes.Graphemes() if keys else None
        # Control characters, such as line ends, are in most texts.
        plain = {point for point in single if point < 0x20}
        if plain.intersection(*[map(ord, "".join(single[p] for p in plain))]):
            plain = set()
        active = {*single} - plain | {ord(key[1]) for key in pairs}
        self._quiet = f"[^{pre_tokenizers.ranges(active)}]*" if active else ""
        self._plain = _replacements({point: single[point] for point in plain})

    def __call__(self, text_B: tf.Tensor) -> tf.Tensor:
        """The normalized texts, string [B]."""
        if self._graphemes is None:
            return text_B
        if not self._quiet:
            return pre_tokenizers.replace(text_B, self._plain)
        quiet_B = tf.strings.regex_full_match(text_B, self._quiet)
        return tf.cond(
            tf.reduce_all(quiet_B),
            lambda: pre_tokenizers.replace(text_B, self._plain),
            lambda: self._some(text_B, quiet_B),
        )

    def _some(self, text_B, quiet_B):
        """Normalizes texts some of which need the tables."""
        loud = tf.where(~quiet_B)
        return tf.tensor_scatter_nd_update(
            pre_tokenizers.replace(tf.where(quiet_B, text_B, ""), self._plain),
            loud,
            self._normalize(tf.gather_nd(text_B, loud)),
        )

    def _normalize(self, text_B):
        """Normalizes texts by the tables."""
        points_BN = tf.strings.unicode_decode(text_B, "UTF-8")
        point_N, row_N = points_BN.values, ragged_ops.row_of_each(points_BN)
        number_N = self._single(point_N)
        assert self._graphemes is not None
        first_N = self._graphemes(point_N, row_N)
        number_N, dropped_N = tf.cond(
            tf.reduce_all(first_N),
            lambda: (number_N, tf.zeros_like(first_N)),
            lambda: self._clusters(point_N, number_N, first_N),
        )
        start_N = tf.gather(self._starts, number_N)
        length_N = tf.where(dropped_N, 0, tf.gather(self._lengths, number_N))
        taken = ragged_ops.ranges(start_N, start_N + length_N)
        source = ragged_ops.row_of_each(taken)
        new = tf.gather(self._pool, taken.values)
        new = tf.where(taken.values == 0, tf.gather(point_N, source), new)
        rows = tf.size(text_B, tf.int64)
        points_BM = ragged_ops.ragged(new, tf.gather(row_N, source), rows)
        return tf.strings.unicode_encode(points_BM, "UTF-8")

    def _clusters(self, point_N, number_N, first_N):
        """The number of each character's replacement, and which are dropped."""
        cluster_N = tf.cumsum(tf.cast(first_N, tf.int32)) - 1
        long_N3 = point_N[:, None] >= tf.constant([0x80, 0x800, 0x10000])
        bytes_N = 1 + tf.reduce_sum(tf.cast(long_N3, tf.int32), 1)
        short_C = tf.math.segment_sum(bytes_N, cluster_N) <= _SHORT
        places = tf.range(tf.size(point_N))
        (at_C,) = ragged_ops.keep(first_N, places)
        behind_N: Any = ragged_ops.behind(first_N, True)
        second_N = ragged_ops.behind(point_N, 0)
        key_N = tf.cast(point_N, tf.int64) * POINTS + tf.cast(second_N, tf.int64)
        # a pair is a key only where its first character is none
        (open_M,) = ragged_ops.keep(first_N & ~behind_N & (number_N == 0), places)
        short_M = tf.gather(short_C, tf.gather(cluster_N, open_M))
        found_M = self._pairs.lookup(tf.gather(key_N, open_M))
        found_M = tf.where(short_M, found_M, 0)
        number_N = tf.tensor_scatter_nd_update(number_N, open_M[:, None], found_M)
        changed_C = short_C & (tf.gather(number_N, at_C) > 0)
        return number_N, ~first_N & tf.gather(changed_C, cluster_N)


def _replacements(single):
    """The replacements for ASCII characters, the pair CR LF first."""
    found = []
    if 0x0D in single:
        # it is one cluster, of which "\r" is the first key
        found.append((r"\r\n", _rewrite(single[0x0D])))
    for text in sorted({*single.values()}):
        points = pre_tokenizers.ranges(p for p, t in single.items() if t == text)
        found.append((f"[{points}]+" if not text else f"[{points}]", _rewrite(text)))
    return found


def _rewrite(text):
    """The text as a rewrite of RE2."""
    return text.replace("\\", "\\\\").encode()
