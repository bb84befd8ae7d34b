"""BertNormalizer with core operations, from texts to characters.

It changes each character by itself, with one exception. `strip_accents` puts the other
marks, which are rare, in canonical order.
"""

from collections.abc import Callable

import tensorflow as tf
from tokenizers import normalizers

from zoo.text.in_graph import nfc, pre_tokenizers, ragged_ops

_PRIVATE = range(0xF0000, 0x110000)


class Bert(tf.Module):
    """Normalizes texts as BertNormalizer does."""

    def __init__(self, normalizer: dict):
        """Builds the tables.

        Args:
          normalizer: `normalizer` of a tokenizer.json.
        """
        super().__init__()
        clean, chinese = normalizer["clean_text"], normalizer["handle_chinese_chars"]
        lower, strip = normalizer["lowercase"], normalizer["strip_accents"]
        strip = lower if strip is None else strip
        normalize = normalizers.BertNormalizer(
            clean, chinese, strip, lower
        ).normalize_str
        kept = set(normalize("".join(map(chr, _PRIVATE))))
        removed = [point for point in _PRIVATE if chr(point) not in kept]
        self._removed = f"[{pre_tokenizers.ranges(removed)}]" if removed else ""
        self._each = nfc.Expand(_changes(normalize))
        self._no_marks = ""
        if not strip:
            return
        decompose = normalizers.NFD().normalize_str
        marks = [m for m in nfc.tables()[2] if normalize(chr(m))]
        ordered = {
            point
            for point in pre_tokenizers.code_points()
            if not set(decompose(chr(point))).isdisjoint(map(chr, marks))
        }
        self._no_marks = f"[^{pre_tokenizers.ranges(ordered)}]*"
        first = normalizers.BertNormalizer(clean, chinese, False, False).normalize_str
        then = normalizers.BertNormalizer(False, False, True, lower).normalize_str
        self._first = nfc.Expand(_changes(lambda c: decompose(first(c))))
        self._then = nfc.Expand(_changes(then))
        self._order = nfc.Order()

    def __call__(self, text_B: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Characters int32 [N], and the row of each int64 [N]."""
        if self._removed:
            text_B = tf.strings.regex_replace(text_B, self._removed, "")
        points_BN = tf.strings.unicode_decode(text_B, "UTF-8")
        point_N, row_N = points_BN.values, ragged_ops.row_of_each(points_BN)
        if not self._no_marks:
            return self._each(point_N, row_N)
        return tf.cond(
            tf.reduce_all(tf.strings.regex_full_match(text_B, self._no_marks)),
            lambda: self._each(point_N, row_N),
            lambda: self._then(*self._order.sort(*self._first(point_N, row_N))),
        )


def _changes(normalize: Callable[[str], str]) -> dict[int, tuple[int, ...]]:
    """The characters that each character becomes, where `normalize` changes it."""
    changed = {point: normalize(chr(point)) for point in pre_tokenizers.code_points()}
    return {
        point: tuple(map(ord, text))
        for point, text in changed.items()
        if text != chr(point)
    }
