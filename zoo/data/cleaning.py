"""Cleaning: small pure functions from text to text, composed by name.

newlines   "\\r\\n" and "\\r" become "\\n"
control    control characters go, except tab and newline; so do byte order marks
trim       spaces at line ends go, and blank lines at both ends of the text
nfc        characters are composed (Unicode NFC); off by default, for it changes
           texts that tokenizers of other models were trained to tell apart
"""

import re
import unicodedata
from collections.abc import Callable, Iterable

from zoo.fields import one_of

# U+0000-U+001F without tab and newline, U+007F-U+009F, and U+FEFF.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff]")
_LINE_END_SPACES = re.compile(r"[^\S\n]+$", re.MULTILINE)
_BLANK_LINES_FIRST = re.compile(r"\A(?:[^\S\n]*\n)+")


def newlines(text: str) -> str:
    """Turns every line end into one newline."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def control(text: str) -> str:
    """Removes control characters and byte order marks; tab and newline stay."""
    return _CONTROL.sub("", text)


def trim(text: str) -> str:
    """Removes spaces at line ends and blank lines at both ends; indents stay."""
    return _BLANK_LINES_FIRST.sub("", _LINE_END_SPACES.sub("", text)).rstrip("\n")


def nfc(text: str) -> str:
    """Composes characters: an e and an acute accent become one character."""
    return unicodedata.normalize("NFC", text)


STEPS: dict[str, Callable[[str], str]] = {
    step.__name__: step for step in (newlines, control, trim, nfc)
}
DEFAULT = ("newlines", "control", "trim")


def clean(text: str, steps: Iterable[str] = DEFAULT) -> str:
    """Applies the named steps in the given order.

    Raises:
      ValueError: an unknown step; the message lists those there are.
    """
    for name in steps:
        one_of("cleaning step", name, STEPS)
        text = STEPS[name](text)
    return text
