"""Cleaning: steps that change a text, composed by name.

newlines   turns "\\r\\n" and "\\r" into "\\n"
control    removes control characters, except tab and newline, and byte order marks
trim       removes spaces at line ends, and blank lines at both ends of the text
nfc        composes characters (Unicode NFC); off by default, because tokenizers of
           other models may have different tokens for the two forms
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
    """Turns every line end into a newline."""
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
      ValueError: an unknown step; the message lists the known steps.
    """
    for name in steps:
        one_of("cleaning step", name, STEPS)
        text = STEPS[name](text)
    return text
