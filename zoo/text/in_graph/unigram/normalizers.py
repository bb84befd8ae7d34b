"""The normalizers of Unigram tokenizers, each a function from texts to texts."""

import functools
import re
from collections.abc import Callable

import tensorflow as tf
from tokenizers import normalizers

from zoo.text.in_graph import nfc, pre_tokenizers, ragged_ops
from zoo.text.in_graph.unigram import precompiled

# Regular expressions that RE2 reads as Oniguruma does.
_PATTERNS = (" {2,}", r"\A +| +\z", r"\A▁")
_OTHERS = re.compile(r"\[\^(\\x\{[0-9a-f]{2,6}\})+\]\{2,\}")
_FORMS = ("NFC", "NFD", "NFKC", "NFKD")


def read(parts: list[dict]) -> Callable[[tf.Tensor], tf.Tensor] | None:
    """The function that applies all normalizers in turn, or None for no normalizer.

    Args:
      parts: entries of `normalizer` in a tokenizer.json.

    Raises:
      ValueError: names the normalizer that has no exact form in the graph.
    """
    steps = [_step(part) for part in parts]
    return Sequence(steps) if steps else None


class Sequence(tf.Module):
    """Applies normalizers in turn."""

    def __init__(self, steps):
        super().__init__()
        self._steps = steps

    def __call__(self, text_B: tf.Tensor) -> tf.Tensor:
        """The normalized texts, string [B]."""
        for step in self._steps:
            text_B = step(text_B)
        return text_B


class ByCharacter(tf.Module):
    """Replaces each character by itself, and puts marks in canonical order if asked."""

    def __init__(self, normalize: Callable[[str], str], order: bool = False):
        """Builds the table.

        Args:
          normalize: of one character.
          order: whether marks are sorted behind that.
        """
        super().__init__()
        changes = {
            point: text
            for point in pre_tokenizers.code_points()
            if (text := normalize(chr(point))) != chr(point)
        }
        self._expand = nfc.Expand({p: tuple(map(ord, t)) for p, t in changes.items()})
        self._order = nfc.Order() if order else None
        active = {*changes, *(nfc.tables()[2] if order else ())}
        self._quiet = f"[^{pre_tokenizers.ranges(active)}]*"

    def __call__(self, text_B: tf.Tensor) -> tf.Tensor:
        """The normalized texts, string [B]."""
        quiet = tf.reduce_all(tf.strings.regex_full_match(text_B, self._quiet))
        return tf.cond(quiet, lambda: text_B, lambda: self._normalize(text_B))

    def _normalize(self, text_B):
        """Normalizes texts by the tables."""
        points_BN = tf.strings.unicode_decode(text_B, "UTF-8")
        row_N = ragged_ops.row_of_each(points_BN)
        point_N, row_N = self._expand(points_BN.values, row_N)
        if self._order is not None:
            point_N, row_N = self._order.sort(point_N, row_N)
        rows = tf.size(text_B, tf.int64)
        return tf.strings.unicode_encode(
            ragged_ops.ragged(point_N, row_N, rows), "UTF-8"
        )


def _step(part):
    """The function of one entry."""
    kind = part["type"]
    if kind == "Precompiled":
        return precompiled.Precompiled(part["precompiled_charsmap"])
    if kind in _FORMS:
        form = getattr(normalizers, f"{kind[:-1]}D")()
        decompose = ByCharacter(form.normalize_str, order=True)
        if kind.endswith("D"):
            return decompose
        return Sequence([decompose, nfc.Composed()])
    if kind in ("Lowercase", "StripAccents"):
        return ByCharacter(getattr(normalizers, kind)().normalize_str)
    if kind == "Prepend":
        text = _literal(part["prepend"])
        return _replace([(r"^((?s:.))", text + rb"\1")])
    if kind == "Strip":
        edges = [rf"\A[{white()}]+"] * part["strip_left"]
        edges += [rf"[{white()}]+\z"] * part["strip_right"]
        return _replace([(edge, b"") for edge in edges])
    if kind == "Replace":
        pattern = part["pattern"]
        if "String" in pattern:
            found = re.sub(r"\W", lambda m: rf"\x{{{ord(m[0]):x}}}", pattern["String"])
            return _replace([(found, _literal(part["content"]))])
        if pattern["Regex"] in _PATTERNS or _OTHERS.fullmatch(pattern["Regex"]):
            return _replace([(pattern["Regex"], _literal(part["content"]))])
    raise ValueError(f"normalizer {part!r:.200}")


@functools.cache
def white() -> str:
    """The inside of a character class for what `WhitespaceSplit` splits at."""
    return pre_tokenizers.character_class(r"\s")


def _replace(replacements):
    """A function that applies replacements."""
    return functools.partial(pre_tokenizers.replace, replacements=replacements)


def _literal(text):
    """The text as a rewrite of RE2."""
    return text.replace("\\", "\\\\").encode()
