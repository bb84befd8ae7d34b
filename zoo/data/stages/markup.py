"""The stage `html`: HTML to text, by lxml.

A block such as a paragraph is a line or more of its own, cells of a row have tabs
between them, and runs of white space are one space except in `pre`. Scripts, styles and
the document's head are left out.
"""

import re

from lxml import etree  # type: ignore[attr-defined]

from zoo.data.stages.characters import control, trim
from zoo.data.stages.stage import Maker, plain

_HIDDEN = frozenset("head iframe noscript object script style svg template".split())
# A blank line stands around these, a line end around the others.
_PARAGRAPHS = frozenset("blockquote dl h1 h2 h3 h4 h5 h6 ol p pre table ul".split())
_LINES = frozenset(
    "address article aside body caption dd div dt fieldset figcaption figure footer "
    "form header hr html legend li main nav option section summary tr".split()
)
_CELLS = frozenset(("td", "th"))
_SPACES = re.compile(r"\s+")
# Control characters, which no text holds here: the edge of a line, that of a paragraph,
# and a line break.
_LINE, _PARAGRAPH, _BREAK = "\0\1\2"
_EDGES = re.compile(r"[\0\1\2][\0\1\2\s]*")
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
        return trim(_EDGES.sub(_line_ends, "".join(self._pieces)))

    def _edge(self, tag: str) -> None:
        """The line end at the start or at the end of a block."""
        if tag == "br":
            self._pieces.append(_BREAK)
        elif tag in _PARAGRAPHS:
            self._pieces.append(_PARAGRAPH)
        elif tag in _LINES:
            self._pieces.append(_LINE)


def _line_ends(match: re.Match[str]) -> str:
    """The newlines of edges that stand together."""
    edges = match[0]
    if _PARAGRAPH in edges:
        return "\n\n"
    return "\n" if _LINE in edges else "\n" * min(2, edges.count(_BREAK))


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
