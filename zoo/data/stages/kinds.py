"""The kind of each character, so that counts need no loop over characters.

A text becomes bytes, one a character:

    b" "   white space
    b"c"   a letter of a script without spaces between words: Chinese, Japanese, Korean,
           Thai, Lao, Khmer, Burmese. Korean has spaces, but few agree on where.
    b"a"   any other letter
    b"0"   a digit or a combining mark
    b"."   anything else

A text is UNSPACED when most of its letters and digits are of kind "c". Nothing may
count its words by its spaces: each character of kind "c" is a word.
"""

import functools
import re
import unicodedata
from typing import NamedTuple

import numpy as np

_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1100, 0x11FF),  # parts of Hangul
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x2FDF),  # radicals
    (0x3005, 0x3007),  # iteration marks, zero
    (0x3021, 0x3029),
    (0x3031, 0x303C),
    (0x3040, 0x318F),  # kana, Bopomofo, parts of Hangul
    (0x31A0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xA960, 0xA97F),
    (0xAC00, 0xD7FF),  # Hangul
    (0xF900, 0xFAFF),
    (0xFF66, 0xFFDC),  # half-width kana and Hangul
    (0x1B000, 0x1B16F),
    (0x20000, 0x323AF),
)
_LAST = 0x32400  # no letters above
# The first letters of categories: letters, numbers and marks, all others.
_OF_CATEGORY = bytes.maketrans(b"LNMCPSZ", b"a00....")
_SYMBOLS = re.compile(rb" (\.+)(?= )")  # starts with two bytes: a fast search
_SEPARATE = bytes(32 if chr(b) in " c" else 97 for b in range(256))


@functools.cache
def table() -> np.ndarray:
    """The kinds of all characters that have one, made once: uint8 [_LAST + 1]."""
    characters = "".join(map(chr, range(_LAST + 1)))
    majors = "".join([unicodedata.category(c)[0] for c in characters]).encode()
    found = np.frombuffer(majors.translate(_OF_CATEGORY), np.uint8).copy()
    for first, last in _UNSPACED:
        part, major = found[first : last + 1], majors[first : last + 1]
        part[np.isin(np.frombuffer(major, np.uint8), list(b"LM"))] = ord("c")
    found[[c.isspace() for c in characters]] = ord(" ")
    return found


@functools.cache
def _ascii() -> bytes:
    """The kinds of bytes that are characters of ASCII."""
    return bytes(
        ord(" ") if c.isspace() else ord(".0a"[c.isdigit() + 2 * c.isalpha()])
        for c in map(chr, range(256))
    )


@functools.lru_cache(1)  # several stages ask for the kinds of one text
def kinds(text: str) -> bytes:
    """The kind of each character; as long as the text."""
    if text.isascii():
        return text.encode().translate(_ascii())
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    return table()[np.minimum(codes, _LAST)].tobytes()


class Counts(NamedTuple):
    """What a text is made of.

    Attributes:
      words: all words.
      lettered: words with a letter or a digit.
      alphabetic: words with a letter.
      spaced: lettered words that are no single character of kind "c".
      length: the mean number of characters of `spaced` words, with their punctuation.
      unspaced: whether most letters are of kind "c".
    """

    words: int
    lettered: int
    alphabetic: int
    spaced: int
    length: float
    unspaced: bool


def count(text: str) -> Counts:
    """Counts the words of a text.

    Words stand between spaces. A character of kind "c" is a word of its own. In an
    unspaced text, punctuation is never a word.
    """
    found = kinds(text)
    single = found.count(b"c")
    unspaced = is_unspaced(text)
    lettered = _runs(found, b".")
    alphabetic = _runs(found, b".0")
    words = lettered if unspaced else _runs(found)
    characters = len(found) - found.count(b" ") - single
    if unspaced:
        characters -= found.count(b".")
    elif words > lettered:  # words of punctuation have no length
        characters -= sum(map(len, _SYMBOLS.findall(b" " + found + b" ")))
    return Counts(
        words + single,
        lettered + single,
        alphabetic + single,
        lettered,
        characters / lettered if lettered else 0.0,
        unspaced,
    )


def may_have(text: str, words: int) -> bool:
    """Whether a text may have so many words; a bound that costs less than `count`."""
    found = kinds(text)
    # a word stands behind a space or a lone character, which is a word, too
    return 1 + found.count(b" ") + 2 * found.count(b"c") >= words


def is_unspaced(text: str) -> bool:
    """Whether most letters and digits are of scripts without spaces."""
    if text.isascii():
        return False
    found = kinds(text)
    single = found.count(b"c")
    return single > found.count(b"a") + found.count(b"0")


def _runs(found: bytes, without: bytes = b"") -> int:
    """The number of runs of kinds that are neither space nor "c"."""
    return (b" " + found.translate(_SEPARATE, without)).count(b" a")
