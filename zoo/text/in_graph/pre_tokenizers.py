r"""Pre-tokenizers as regular expressions that TensorFlow's RE2 can run.

A pre-tokenizer becomes a list of `(pattern, rewrite)` replacements. They put the
separator byte 0xFF behind each word; no UTF-8 text holds this byte.

RE2 differs in three ways from Oniguruma, which the `tokenizers` library uses: it has no
look-ahead, its `\s` is ASCII, and its Unicode tables have another version. So the
look-ahead `\s+(?!\S)` becomes a replacement of its own. Character classes become ranges
that are read from the installed `tokenizers`, and the graph holds them.
"""

import functools
import itertools
import re
from collections.abc import Iterable, Iterator

import tensorflow as tf
from tokenizers import Regex
from tokenizers.pre_tokenizers import Digits, Split

from zoo.text.importers.byte_level_presets import gpt4_pattern
from zoo.text.in_graph import ragged_ops

SEPARATOR = b"\xff"

# These hold all characters of any class; the rest is private or unassigned.
_PLANES = [(0, 0xD800), (0xE000, 0x40000), (0xE0000, 0xE1000)]
_STEP = 1024

_SPACES = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"


def _cased_pattern(suffix, digits):
    """The pattern of GPT-4o, which cuts words where the case changes."""
    return (
        rf"[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]*[{_LOWER}]+{suffix}"
        rf"|[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]+[{_LOWER}]*{suffix}"
        rf"|{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*" + _SPACES
    )


# Patterns that match every character, and whose only look-ahead is `\s+(?!\S)`.
_COMPLETE = {
    gpt4_pattern(r"\p{N}{1,3}"),  # GPT-4, Llama 3
    gpt4_pattern(r"\p{N}"),  # Qwen 2 and 3
    _cased_pattern(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?", r"\p{N}{1,3}"),  # GPT-4o, gpt-oss
    _cased_pattern("", r"\p{N}"),  # Mistral Nemo
}
# DeepSeek V3 cuts numbers out before. A character that does not match stays between.
_DEEPSEEK = (
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"""
    r"|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*" + _SPACES
)
# One class of characters, such as the numbers and the Chinese of DeepSeek V3.
_ONE_CLASS = re.compile(r"(\\p\{\w+\}|\[[^\[\]\\^&][^\[\]\\]*\])(\+|\{\d+,\d+\})?")

Replacements = list[tuple[str, bytes]]


def code_points() -> Iterator[int]:
    """All code points that are assigned to characters, and some more."""
    return itertools.chain(*(range(first, end) for first, end in _PLANES))


@functools.cache
def matching(pattern: str) -> frozenset[int]:
    r"""The code points that a pattern such as `\p{L}` matches, for `tokenizers`."""
    split = Split(Regex(f"(?:{pattern})+"), "removed")
    found = set()
    points = code_points()
    while part := list(itertools.islice(points, _STEP)):
        found.update(part)
        for _, (first, end) in split.pre_tokenize_str("".join(map(chr, part))):
            found.difference_update(part[first:end])
    return frozenset(found)


def ranges(points: Iterable[int]) -> str:
    r"""The inside of an RE2 character class, such as `\x{41}-\x{5a}\x{5f}`."""
    text = ""
    pairs = enumerate(sorted(points))
    for _, run in itertools.groupby(pairs, lambda pair: pair[1] - pair[0]):
        codes = [code for _, code in run]
        text += rf"\x{{{codes[0]:x}}}"
        if len(codes) > 1:
            text += rf"-\x{{{codes[-1]:x}}}"
    return text


@functools.cache
def character_class(pattern: str) -> str:
    r"""The inside of an RE2 character class for what `tokenizers` matches."""
    return ranges(matching(pattern))


def gpt2() -> Replacements:
    """The pattern of GPT-2, which ByteLevel uses where `use_regex` is true."""
    space, letter, number = (character_class(c) for c in (r"\s", r"\p{L}", r"\p{N}"))
    words = (
        rf"'s|'t|'re|'ve|'m|'ll|'d| ?[{letter}]+| ?[{number}]+"
        rf"| ?[^{space}{letter}{number}]+|[{space}]+"
    )
    return [_last_space_apart(space, space), (words, rb"\0" + SEPARATOR)]


def split_pattern(pattern: str, matches_only: bool = False) -> Replacements | None:
    """The replacements for a pattern of `Split`, or None for an unknown pattern.

    Args:
      pattern: a regular expression for one word.
      matches_only: whether text between the words is dropped.
    """
    pattern = pattern.replace("\r", r"\r").replace("\n", r"\n")
    complete = pattern in _COMPLETE
    if complete or pattern == _DEEPSEEK and not matches_only:
        blank = ranges(matching(r"\s") - {0x0A, 0x0D})
        apart = _last_space_apart(character_class(r"\s"), blank)
        words = _to_re2(pattern.replace(r"|\s+(?!\S)", ""))
        before = b"" if complete else SEPARATOR
        return [apart, (words, before + rb"\0" + SEPARATOR)]
    if _ONE_CLASS.fullmatch(pattern) and not matches_only:
        return [(_to_re2(pattern), SEPARATOR + rb"\0" + SEPARATOR)]
    return None


def _to_re2(pattern: str) -> str:
    r"""Writes the classes `\s` and `\p{..}` of a pattern as ranges."""
    text, inside = "", False
    for part in re.findall(r"\\p\{\w+\}|\\.|.", pattern, re.DOTALL):
        if part == r"\s" or part.startswith(r"\p"):
            points = character_class(part)
            part = points if inside else f"[{points}]"
        elif part in "[]":
            inside = part == "["
        text += part
    return text


def digits() -> Replacements:
    """Each digit is a word: `Digits` with `individual_digits`."""
    split = Digits(individual_digits=True)
    points = [c for c in code_points() if len(split.pre_tokenize_str(f"a{chr(c)}")) > 1]
    return [(f"[{ranges(points)}]", SEPARATOR + rb"\0" + SEPARATOR)]


def words(text_B: tf.Tensor, replacements: Replacements) -> tuple[tf.Tensor, tf.Tensor]:
    """Splits texts into words.

    Args:
      text_B: string, valid UTF-8.
      replacements: as the functions of this module return them.

    Returns:
      The words, string [N], some of which are empty, and the row of each, int64 [N];
      each row has a word.
    """
    text_B = replace(text_B, replacements)
    found = tf.raw_ops.StringSplitV2(input=text_B, sep=SEPARATOR, maxsplit=-1)
    return found.values, found.indices[:, 0]


def replace(text_B: tf.Tensor, replacements: Replacements) -> tf.Tensor:
    """Applies replacements to texts one after the other, string [B]."""
    for pattern, rewrite in replacements:
        text_B = tf.strings.regex_replace(text_B, pattern, rewrite)
    return text_B


def split(text_B: tf.Tensor) -> tf.RaggedTensor:
    """Splits texts at separators into parts that are not empty, string [B, None]."""
    word_N, row_N = words(text_B, [])
    word_N, row_N = ragged_ops.keep(tf.not_equal(word_N, ""), word_N, row_N)
    return ragged_ops.ragged(word_N, row_N, tf.size(text_B, tf.int64))


def _last_space_apart(space: str, last: str) -> tuple[str, bytes]:
    r"""`\s+(?!\S)`: a run of spaces before a word leaves its last space to the word."""
    return rf"([{space}]+)([{last}][^{space}])", rb"\1" + SEPARATOR + rb"\2"
