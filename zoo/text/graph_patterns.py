r"""Pre-tokenizers as regular expressions that TensorFlow's RE2 can run.

A pre-tokenizer becomes a list of `(pattern, rewrite)` replacements, each of which puts
the separator byte 0xFF, which no UTF-8 text holds, behind a word. RE2 differs from the
Oniguruma of the `tokenizers` library in three ways: it has no look-ahead, its `\s` is
ASCII, and its Unicode tables have another age. So the look-ahead `\s+(?!\S)` becomes a
replacement of its own, and character classes are written out as ranges, read from the
`tokenizers` at hand: the graph then carries them to any server.
"""

import functools
import itertools

import tensorflow as tf
from tokenizers import Regex, pre_tokenizers

SEPARATOR = b"\xff"

# Only these planes hold characters of any class; the others are private or unassigned.
_PLANES = [(0, 0xD800), (0xE000, 0x40000), (0xE0000, 0xE1000)]
_STEP = 1024

Replacements = list[tuple[str, bytes]]


@functools.cache
def character_class(pattern: str) -> str:
    r"""The inside of an RE2 character class with what `tokenizers` matches.

    Args:
      pattern: a pattern of one character, such as `\p{L}`.

    Returns:
      Ranges such as `\x{41}-\x{5a}\x{61}-\x{7a}`.
    """
    split = pre_tokenizers.Split(Regex(f"(?:{pattern})+"), "removed")
    matched = []
    for first, end in _PLANES:
        for start in range(first, end, _STEP):
            codes = range(start, min(start + _STEP, end))
            others = set()
            for _, (a, b) in split.pre_tokenize_str("".join(map(chr, codes))):
                others.update(codes[a:b])
            matched += [code for code in codes if code not in others]
    ranges = ""
    for _, run in itertools.groupby(enumerate(matched), lambda item: item[1] - item[0]):
        codes = [code for _, code in run]
        ranges += rf"\x{{{codes[0]:x}}}"
        if len(codes) > 1:
            ranges += rf"-\x{{{codes[-1]:x}}}"
    return ranges


def gpt2() -> Replacements:
    """The pattern of GPT-2, which ByteLevel uses where `use_regex` is true."""
    space, letter, number = (character_class(c) for c in (r"\s", r"\p{L}", r"\p{N}"))
    return [
        _last_space_apart(space),
        (
            rf"'s|'t|'re|'ve|'m|'ll|'d| ?[{letter}]+| ?[{number}]+"
            rf"| ?[^{space}{letter}{number}]+|[{space}]+",
            rb"\0" + SEPARATOR,
        ),
    ]


def split(text_B: tf.Tensor, replacements: Replacements) -> tf.RaggedTensor:
    """Splits texts into words.

    Args:
      text_B: string, valid UTF-8.
      replacements: what a function of this module gave.

    Returns:
      string [B, None], without empty words.
    """
    for pattern, rewrite in replacements:
        text_B = tf.strings.regex_replace(text_B, pattern, rewrite)
    return pieces(text_B)


def pieces(text_B: tf.Tensor) -> tf.RaggedTensor:
    """What lies between separators and is not empty, string [B, None]."""
    pieces_BN = tf.strings.split(text_B, SEPARATOR)
    return tf.ragged.boolean_mask(pieces_BN, tf.not_equal(pieces_BN, ""))


def _last_space_apart(space: str) -> tuple[str, bytes]:
    r"""`\s+(?!\S)`: a run of spaces before a word leaves its last space to the word."""
    return rf"([{space}]+)([{space}][^{space}])", rb"\1" + SEPARATOR + rb"\2"
