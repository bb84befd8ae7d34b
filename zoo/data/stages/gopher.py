"""The filters of Gopher (Rae et al. 2021, arXiv:2112.11446, appendix A.1.1).

gopher_quality     length, symbols, bullets, letters, stop words
gopher_repetition  lines, paragraphs and n-grams that come again

Thresholds are arguments, such as "gopher_quality:min_words=20,stop_words=0". Words
stand between spaces, with their punctuation. In a text of a script without spaces each
character is a word (`zoo.data.stages.kinds`); the mean length of words and the stop
words do not apply, and an n-gram has 2 n characters, because a word has about two. The
stop words are English. For any other language with spaces set "stop_words=0".

Decisions are those of `datatrove`'s filters with words split at spaces, except that an
n-gram that is there once is no repetition, that texts without spaces are as above, and
that every word without a letter or digit is a symbol.
"""

import dataclasses
import re
from collections.abc import Sequence

from zoo.data.stages import ngrams
from zoo.data.stages.kinds import count, may_have
from zoo.data.stages.ngrams import Ngrams
from zoo.data.stages.stage import Batched, Dropped, Maker, Stage, options

_STOP_WORDS = re.compile(r"(?<!\S)(?:the|be|to|of|and|that|have|with)(?!\S)")
_BULLETS = ("\u2022", "-")
_ELLIPSES = ("...", "\u2026")
_PARAGRAPHS = re.compile("\n\n+")  # its first character is fixed: a fast search


@dataclasses.dataclass(frozen=True)
class Quality:
    """Thresholds of gopher_quality.

    Attributes:
      min_words, max_words: words with a letter or a digit.
      min_length, max_length: the mean length of words, in characters.
      max_symbols: "#" for each word, and ellipses for each word.
      max_bullets: the share of lines that start with a bullet.
      max_ellipses: the share of lines that end with an ellipsis.
      min_alphabetic: the share of words with a letter.
      stop_words: how many different ones of eight English words must be there.
    """

    min_words: int = 50
    max_words: int = 100_000
    min_length: float = 3.0
    max_length: float = 10.0
    max_symbols: float = 0.1
    max_bullets: float = 0.9
    max_ellipses: float = 0.3
    min_alphabetic: float = 0.8
    stop_words: int = 2


def _quality(argument: str) -> Stage:
    """The stage gopher_quality."""
    limits: Quality = options(Quality, argument)

    def run(text: str) -> str | Dropped:
        reason = _bad_quality(text, limits)
        return Dropped(reason) if reason else text

    return run


def _bad_quality(text: str, limits: Quality) -> str:
    """Why a text has no quality, or ""."""
    if not may_have(text, limits.min_words):
        return "too few words"
    found = count(text)
    if found.lettered < limits.min_words or not found.words:
        return "too few words"
    if found.lettered > limits.max_words:
        return "too many words"
    if not found.unspaced and found.length < limits.min_length:
        return "short words"
    if not found.unspaced and found.length > limits.max_length:
        return "long words"
    if text.count("#") > limits.max_symbols * found.words:
        return "too many hashes"
    if sum(map(text.count, _ELLIPSES)) > limits.max_symbols * found.words:
        return "too many ellipses"
    lines = text.splitlines()
    bullets = sum(line.lstrip().startswith(_BULLETS) for line in lines)
    if bullets > limits.max_bullets * len(lines):
        return "too many bullets"
    ends = sum(line.rstrip().endswith(_ELLIPSES) for line in lines)
    if ends > limits.max_ellipses * len(lines):
        return "too many lines that end with an ellipsis"
    if found.alphabetic < limits.min_alphabetic * found.words:
        return "too few words with letters"
    if not found.unspaced and not _has_stop_words(text, limits.stop_words):
        return "too few stop words"
    return ""


def _has_stop_words(text: str, least: int) -> bool:
    """Whether so many different stop words are there; reads no further than needed."""
    seen: set[str] = set()
    if not least:
        return True
    for match in _STOP_WORDS.finditer(text):
        seen.add(match[0])
        if len(seen) >= least:
            return True
    return False


@dataclasses.dataclass(frozen=True)
class Repetition:
    """Thresholds of gopher_repetition: shares of what comes again.

    Attributes:
      lines, paragraphs: of the lines and of the paragraphs.
      line_characters, paragraph_characters: of the characters, in lines and paragraphs.
      top_2, top_3, top_4: of the characters, in the most frequent n-gram of words.
      dup_5, ..., dup_10: of the characters, in n-grams of words that were there before.
    """

    lines: float = 0.3
    paragraphs: float = 0.3
    line_characters: float = 0.2
    paragraph_characters: float = 0.2
    top_2: float = 0.20
    top_3: float = 0.18
    top_4: float = 0.16
    dup_5: float = 0.15
    dup_6: float = 0.14
    dup_7: float = 0.13
    dup_8: float = 0.12
    dup_9: float = 0.11
    dup_10: float = 0.10


def _repetition(argument: str) -> Stage:
    """The stage gopher_repetition."""
    limits: Repetition = options(Repetition, argument)
    tops = [(n, getattr(limits, f"top_{n}")) for n in (2, 3, 4)]
    dups = [(n, getattr(limits, f"dup_{n}")) for n in range(5, 11)]

    least = min(share for _, share in dups)

    def run(text: str) -> str | Dropped:
        reason = _bad_lines(text, limits)
        return Dropped(reason) if reason else run_words(text)

    def run_words(text: str) -> str | Dropped:
        size = len(text)
        ngrams = Ngrams(text)
        for n, share in tops:
            if ngrams.top_exceeds(n, share * size):
                return Dropped(f"one {n}-gram too often")
        if not ngrams.duplicates_may_exceed(dups[0][0], least * size):
            return text
        for n, share in dups:
            if ngrams.duplicates(n) > share * size:
                return Dropped(f"{n}-grams that come again")
        return text

    def run_many(texts: Sequence[str]) -> list[str | Dropped]:
        clear = ngrams.are_clear(texts, tops, dups[0][0], least)
        found: list[str | Dropped] = []
        for text, is_clear in zip(texts, clear, strict=True):
            reason = _bad_lines(text, limits)
            rest = text if is_clear or reason else run_words(text)
            found.append(Dropped(reason) if reason else rest)
        return found

    return Batched(run, run_many)


def _bad_lines(text: str, limits: Repetition) -> str:
    """Why the lines or paragraphs of a text are bad, or ""."""
    if "\n" not in text:
        return ""
    for what, pieces, share, characters in (
        (
            "paragraphs",
            _PARAGRAPHS.split(text.strip()),
            limits.paragraphs,
            limits.paragraph_characters,
        ),
        ("lines", _lines(text), limits.lines, limits.line_characters),
    ):
        again, length = _again(pieces)
        if again > share * len(pieces) or length > characters * len(text):
            return f"{what} that come again"
    return ""


def _lines(text: str) -> list[str]:
    """The text between runs of newlines; "" where it starts or ends with one."""
    lines = text.split("\n")
    ends = [""] * ((not lines[0]) + (len(lines) > 1 and not lines[-1]))
    return list(filter(None, lines)) + ends


def _again(pieces: list[str]) -> tuple[int, int]:
    """How many pieces were there before, and their characters."""
    seen: set[str] = set(pieces)
    if len(seen) == len(pieces):
        return 0, 0
    length = sum(map(len, pieces)) - sum(map(len, seen))
    return len(pieces) - len(seen), length


STAGES: dict[str, Maker] = {
    "gopher_quality": _quality,
    "gopher_repetition": _repetition,
}
