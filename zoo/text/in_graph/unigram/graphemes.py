"""Where a user-perceived character ends: the rules of Unicode Standard Annex 29.

`Precompiled` of `tokenizers` looks up such a cluster if it has at most five bytes. The
classes of characters come from the installed `tokenizers`, so both have one Unicode
version. A cluster of flags (regional indicators) is longer than five bytes, whatever
stands around it, so that rule is left out.

Example of a question to the library: a map replaces "x" by "y". The cluster of "x" and
an accent is short, so all of it becomes "y". Behind a character that joins "x" the
cluster is another one, for which the map has no key; the accent stays.
"""

import functools

import tensorflow as tf
from tokenizers import normalizers

from zoo.text.in_graph import pre_tokenizers, ragged_ops
from zoo.text.in_graph.unigram import charsmap
from zoo.text.in_graph.unigram.points import Points

_JOINS, _PREPEND, _CONTROL, _PICTURE, _ZWJ, _EXTEND = (1 << i for i in range(6))
_CONSONANT, _LINKER, _INDIC, _L, _V, _T, _LV, _LVT = (1 << i for i in range(6, 14))
_CR, _LF = 1 << 14, 1 << 15
# Characters of the classes in question; each is a key of the map that asks.
_ACCENT, _LETTER, _MARK = "\u0301", "x", "\u0340"
_EMOJI, _JOINER, _DOUBLE = "\U0001f600", "\u200d", "\u203c"
_KA, _VIRAMA, _QA = "\u0915", "\u094d", "\u0958"
_VOWEL, _FINAL = "\u1161", "\u11a8"
# Chinese characters, Korean syllables and private ones: no class, or a formula's.
_SYLLABLES = range(0xAC00, 0xD7A4)
_PLAIN = (range(0x3400, 0xA000), _SYLLABLES, range(0xE000, 0xF900))
_PLAIN += (range(0x20000, 0x40000),)
_PERIOD = 28  # syllables with one vowel; the first of them has no final consonant


class Graphemes(tf.Module):
    """Finds the first character of each cluster."""

    def __init__(self):
        """Builds the table of classes."""
        super().__init__()
        self._classes = Points(classes())

    def __call__(self, point_N: tf.Tensor, row_N: tf.Tensor) -> tf.Tensor:
        """Whether a cluster starts at each character, bool [N].

        Args:
          point_N: int32, the characters of all rows.
          row_N: int64, the row of each.
        """
        class_N = self._classes(point_N)
        left_N = ragged_ops.before(class_N, 0)

        def here(mask):
            return tf.bitwise.bitwise_and(class_N, mask) > 0

        def left(mask):
            return tf.bitwise.bitwise_and(left_N, mask) > 0

        joined_N = here(_JOINS) & ~left(_CONTROL | _CR | _LF)
        joined_N |= left(_PREPEND) & ~here(_CONTROL | _CR | _LF)
        joined_N |= left(_CR) & here(_LF)
        joined_N |= left(_L) & here(_L | _V | _LV | _LVT)
        joined_N |= left(_LV | _V) & here(_V | _T) | left(_LVT | _T) & here(_T)
        # the last character before a run of extending ones
        at_N = tf.range(tf.size(point_N))
        base_N = ragged_ops.before(_last(~here(_EXTEND), at_N), 0)
        emoji_N = _same(base_N, row_N) & tf.gather(here(_PICTURE), base_N)
        joined_N |= here(_PICTURE) & left(_ZWJ) & ragged_ops.before(emoji_N, False)
        base_N = ragged_ops.before(_last(~here(_INDIC), at_N), 0)
        links_N = tf.cumsum(tf.cast(here(_LINKER), tf.int32))
        linked_N = ragged_ops.before(links_N, 0) > tf.gather(links_N, base_N)
        known_N = _same(base_N, row_N) & tf.gather(here(_CONSONANT), base_N)
        joined_N |= here(_CONSONANT) & linked_N & known_N
        return ~joined_N | ragged_ops.changes(row_N)


def _last(wanted_N, at_N):
    """The last place at or before each place where `wanted_N` is true, or 0."""
    places = tf.concat([[0], *ragged_ops.keep(wanted_N, at_N)], 0)
    return tf.gather(places, tf.cumsum(tf.cast(wanted_N, tf.int32)))


def _same(base_N, row_N):
    """Whether the base of each character is in its row."""
    return tf.gather(row_N, base_N) == row_N


@functools.cache
def classes() -> dict[int, int]:
    """The class of each character as a sum of flags, 0 left out."""
    keys = (_LETTER, _MARK, _DOUBLE, _QA, _VOWEL, _FINAL)
    ask = normalizers.Precompiled(charsmap.write(dict.fromkeys(keys, "y")))
    plain = {0x0A, 0x0D}.union(*_PLAIN)
    points = [p for p in pre_tokenizers.code_points() if p not in plain]

    def kept(before, behind):
        """The characters between the two texts whose answer ends with an accent."""
        text = "\n".join(before + chr(point) + behind for point in points)
        answers = ask.normalize_str(text).split("\n")
        pairs = zip(points, answers, strict=True)
        return {point for point, answer in pairs if answer.endswith(_ACCENT)}

    text = "\n".join(_LETTER + chr(point) for point in points)
    answers = ask.normalize_str(text).split("\n")
    joins = {p for p, a in zip(points, answers, strict=True) if a == "y"}
    prepend = kept("", _LETTER + _ACCENT)
    vowel, final = kept("", _VOWEL + _ACCENT), kept("", _FINAL + _ACCENT)
    vowel, final = vowel - prepend, final - prepend
    emoji = _JOINER + _DOUBLE + _ACCENT
    picture = kept("", emoji)
    indic = _VIRAMA + _QA + _ACCENT
    consonant = kept("", indic)
    without_final = {*_SYLLABLES[::_PERIOD]}
    found = [
        (_JOINS, joins),
        (_PREPEND, prepend),
        (_CONTROL, {*points} - kept("", _MARK + _ACCENT) - {*map(ord, keys)}),
        (_PICTURE, picture),
        (_ZWJ, {ord(_JOINER)}),
        (_EXTEND, kept(_EMOJI, emoji) - picture),
        (_CONSONANT, consonant),
        (_LINKER, kept(_KA, _QA + _ACCENT) - prepend),
        (_INDIC, kept(_KA, indic) - consonant),
        (_L, vowel - final),
        (_V, vowel & final),
        (_T, final - vowel),
        (_LV, without_final),
        (_LVT, {*_SYLLABLES} - without_final),
        (_CR, {0x0D}),
        (_LF, {0x0A}),
    ]
    flags = {}
    for flag, members in found:
        for point in members:
            flags[point] = flags.get(point, 0) + flag
    return flags
