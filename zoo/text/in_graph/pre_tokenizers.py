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

# The numbers of GPT-4's pattern: Llama 3's, and Qwen 2's.
_KNOWN = {gpt4_pattern(number): number for number in (r"\p{N}{1,3}", r"\p{N}")}

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


def split_pattern(pattern: str) -> Replacements | None:
    """The pattern of Llama 3 (and GPT-4) or of Qwen 2, or None for any other."""
    if pattern not in _KNOWN:
        return None
    space, letter, number = (character_class(c) for c in (r"\s", r"\p{L}", r"\p{N}"))
    digits = f"[{number}]" + _KNOWN[pattern].removeprefix(r"\p{N}")
    words = (
        rf"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n{letter}{number}]?[{letter}]+|{digits}"
        rf"| ?[^{space}{letter}{number}]+[\r\n]*|[{space}]*[\r\n]+|[{space}]+"
    )
    blank = ranges(matching(r"\s") - {0x0A, 0x0D})
    return [_last_space_apart(space, blank), (words, rb"\0" + SEPARATOR)]


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
    for pattern, rewrite in replacements:
        text_B = tf.strings.regex_replace(text_B, pattern, rewrite)
    found = tf.raw_ops.StringSplitV2(input=text_B, sep=SEPARATOR, maxsplit=-1)
    return found.values, found.indices[:, 0]


def split(text_B: tf.Tensor) -> tf.RaggedTensor:
    """Splits texts at separators into parts that are not empty, string [B, None]."""
    word_N, row_N = words(text_B, [])
    word_N, row_N = ragged_ops.keep(tf.not_equal(word_N, ""), word_N, row_N)
    return ragged_ops.ragged(word_N, row_N, tf.size(text_B, tf.int64))


def _last_space_apart(space: str, last: str) -> tuple[str, bytes]:
    r"""`\s+(?!\S)`: a run of spaces before a word leaves its last space to the word."""
    return rf"([{space}]+)([{last}][^{space}])", rb"\1" + SEPARATOR + rb"\2"
