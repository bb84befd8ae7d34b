"""The stage `html`: HTML to text, by lxml.

A block such as a paragraph is a line or more of its own, cells of a row have tabs between
them, and runs of white space are one space except in `pre`. Scripts, styles and the
document's head are left out.
"""

import re

from lxml import etree

from zoo.data.stages.characters import control
from zoo.data.stages.stage import Maker, plain

_HIDDEN = frozenset("head iframe noscript object script style svg template".split())
# A blank line stands around these, a line end around the others.
_PARAGRAPHS = frozenset("blockquote dl h1 h2 h3 h4 h5 h6 ol p pre table ul".split())
_LINES = frozenset(
    "address article aside body br caption dd div dt fieldset figcaption figure footer "
    "form header hr html legend li main nav option section summary tr".split()
)
_CELLS = frozenset(("td", "th"))
_SPACES = re.compile(r"\s+")
_BLANK_LINES = re.compile("\n\n\n+")
# Text, and the parser takes quadratic time for many of them.
_NO_TAG = re.compile(r"<(?![A-Za-z/!?])")


class _Text:
    """Collects the text of a page from the parser's events."""

    def __init__(self):
        self._pieces: list[str] = []
        self._hidden = self._kept = 0  # how many such elements are open

    def start(self, tag: str, attributes) -> None:
        self._edge(tag)
        self._hidden += tag in _HIDDEN
        self._kept += tag == "pre"

    def end(self, tag: str) -> None:
        self._hidden -= tag in _HIDDEN
        self._kept -= tag == "pre"
        if tag != "br":
            self._edge(tag)
        if tag in _CELLS:
            self._pieces.append("\t")

    def data(self, text: str) -> None:
        if not self._hidden:
            self._pieces.append(text if self._kept else _SPACES.sub(" ", text))

    def close(self) -> str:
        lines = [line.strip() for line in "".join(self._pieces).split("\n")]
        return _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip("\n")

    def _edge(self, tag: str) -> None:
        """The line end at the start or at the end of a block."""
        if tag in _PARAGRAPHS:
            self._pieces.append("\n\n")
        elif tag in _LINES:
            self._pieces.append("\n")


def html(text: str) -> str:
    """The visible text of an HTML page, or of a part of one."""
    text = _NO_TAG.sub("&lt;", control(text))
    if not text.strip():
        return ""
    parser = etree.HTMLParser(
        target=_Text(), encoding="utf-8", huge_tree=True, remove_comments=True
    )
    return etree.fromstring(text.encode("utf-8", "replace"), parser)


STAGES: dict[str, Maker] = {"html": plain(html)}
