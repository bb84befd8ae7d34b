r"""Pre-tokenizers as regular expressions that TensorFlow's RE2 can run.

A pre-tokenizer becomes a list of `(pattern, rewrite)` replacements, which put the
separator byte 0xFF, which no UTF-8 text holds, behind each word. RE2 differs from the
Oniguruma of the `tokenizers` library in three ways: it has no look-ahead, its `\s` is
ASCII, and its Unicode tables have another age. So the look-ahead `\s+(?!\S)` becomes a
replacement of its own, and character classes are written out as ranges, read from the
`tokenizers` at hand: the graph then carries them to any server.
"""

import functools
import itertools
from collections.abc import Iterable, Iterator

import tensorflow as tf
from tokenizers import Regex, pre_tokenizers

from zoo.text.in_graph import ragged_ops

SEPARATOR = b"\xff"

# All characters that have a class are in these; the rest is private or unassigned.
_PLANES = [(0, 0xD800), (0xE000, 0x40000), (0xE0000, 0xE1000)]
_STEP = 1024

_KNOWN = {
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
    + number
    + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+": number
    for number in (r"\p{N}{1,3}", r"\p{N}")
}

Replacements = list[tuple[str, bytes]]


def code_points() -> Iterator[int]:
    """All code points that are assigned to characters, and some more."""
    return itertools.chain(*(range(first, end) for first, end in _PLANES))


@functools.cache
def matching(pattern: str) -> frozenset[int]:
    r"""The code points that a pattern such as `\p{L}` matches, for `tokenizers`."""
    split = pre_tokenizers.Split(Regex(f"(?:{pattern})+"), "removed")
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
    split = pre_tokenizers.Digits(individual_digits=True)
    # Between two letters a digit makes three words of one.
    points = [c for c in code_points() if len(split.pre_tokenize_str(f"a{chr(c)}")) > 1]
    return [(f"[{ranges(points)}]", SEPARATOR + rb"\0" + SEPARATOR)]


def words(text_B: tf.Tensor, replacements: Replacements) -> tuple[tf.Tensor, tf.Tensor]:
    """Splits texts into words.

    Args:
      text_B: string, valid UTF-8.
      replacements: what functions of this module gave.

    Returns:
      The words, string [N], some of which are empty, and the row of each, int64 [N];
      each row has a word.
    """
    for pattern, rewrite in replacements:
        text_B = tf.strings.regex_replace(text_B, pattern, rewrite)
    found = tf.raw_ops.StringSplitV2(input=text_B, sep=SEPARATOR, maxsplit=-1)
    return found.values, found.indices[:, 0]


def pieces(text_B: tf.Tensor) -> tf.RaggedTensor:
    """What lies between separators and is not empty, string [B, None]."""
    word_N, row_N = words(text_B, [])
    word_N, row_N = ragged_ops.keep(tf.not_equal(word_N, ""), word_N, row_N)
    return ragged_ops.ragged(word_N, row_N, tf.size(text_B, tf.int64))


def _last_space_apart(space: str, last: str) -> tuple[str, bytes]:
    r"""`\s+(?!\S)`: a run of spaces before a word leaves its last space to the word."""
    return rf"([{space}]+)([{last}][^{space}])", rb"\1" + SEPARATOR + rb"\2"
