"""Stages that change single characters and white space.

newlines    turns "\\r\\n" and "\\r" into "\\n"
control     removes control characters, except tab and newline, and byte order marks
trim        removes spaces at line ends, and blank lines at both ends of the text
nfc         composes characters (Unicode NFC)
nfkc        composes characters, and replaces compatibility characters (Unicode NFKC)
width       folds full-width letters and half-width kana and Hangul to the usual width
whitespace  makes one space of each run of spaces, one blank line of more, no indents

A run of more than 30 combining marks stays as it is in nfc and nfkc: 30 is the limit of
Unicode's Stream-Safe Text Format (UAX 15), and the library takes quadratic time there.
"""

import functools
import re
import unicodedata

from zoo.data.stages.stage import Maker, plain

# U+0000-U+001F without tab and newline, U+007F-U+009F, and U+FEFF.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff]")
_ASCII_CONTROL = bytes(b for b in [*range(32), 127] if b not in b"\t\n")
# The ideographic space, and the block "Halfwidth and Fullwidth Forms".
_OTHER_WIDTH = re.compile("[\u3000\uff01-\uffee]+")
_BLANK_LINES = re.compile("\n{3,}")
_MARKS_IN_A_ROW = 30
_LAST_MARK = 0x1F000


def newlines(text: str) -> str:
    """Turns every line end into a newline."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def control(text: str) -> str:
    """Removes control characters and byte order marks; tab and newline stay."""
    if text.isascii():  # ten times as fast
        return text.encode().translate(None, _ASCII_CONTROL).decode()
    return _CONTROL.sub("", text)


def trim(text: str) -> str:
    """Removes spaces at line ends and blank lines at both ends; indents stay."""
    # Not `\s+$`: it takes quadratic time where spaces stand before another character.
    return "\n".join([line.rstrip() for line in text.split("\n")]).strip("\n")


def nfc(text: str) -> str:
    """Composes characters: an e and an acute accent become one character."""
    return _normalized("NFC", text)


def nfkc(text: str) -> str:
    """Like nfc, and replaces compatibility characters: a ligature by its letters."""
    return _normalized("NFKC", text)


def width(text: str) -> str:
    """Folds full-width forms of ASCII, and half-width kana and Hangul."""
    if text.isascii():
        return text
    return _OTHER_WIDTH.sub(lambda run: unicodedata.normalize("NFKC", run[0]), text)


def whitespace(text: str) -> str:
    """One space for each run of spaces, at most one blank line, no indents."""
    lines = [" ".join(line.split()) for line in text.split("\n")]
    return _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip("\n")


def _normalized(form, text: str) -> str:
    """The text in a normal form, except for long runs of combining marks."""
    if text.isascii():
        return text
    maybe, runs = _long_runs()
    if not maybe.search(text):
        return unicodedata.normalize(form, text)
    pieces = runs.split(text)  # every second one is a run
    pieces[::2] = [unicodedata.normalize(form, piece) for piece in pieces[::2]]
    return "".join(pieces)


@functools.cache
def _long_runs() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """A pattern that is in each text with a long run of combining marks, and the run.

    `re` looks up the characters of a class below U+10000 in a table, and goes through
    the ranges of all others. The first pattern has one such range: 20 times as fast.
    """
    marks = [c for c in map(chr, range(0x300, _LAST_MARK)) if unicodedata.combining(c)]
    low = "".join(c for c in marks if c < "\U00010000")
    wide = f"[{low}\U00010000-{chr(_LAST_MARK)}]"
    return (
        re.compile(f"{wide}{wide}{{{_MARKS_IN_A_ROW}}}"),
        re.compile(f"([{''.join(marks)}]{{{_MARKS_IN_A_ROW + 1},}})"),
    )


STAGES: dict[str, Maker] = {
    step.__name__: plain(step)
    for step in (newlines, control, trim, nfc, nfkc, width, whitespace)
}
