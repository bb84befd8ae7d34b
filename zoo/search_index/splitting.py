"""Sources to passages: texts that are short enough for the model."""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from zoo.data import compressed, sources
from zoo.search_index.embedder import Embedder

_LONGEST = 256  # tokens of a passage, where the model can read more
_CHARACTERS = 32  # of a token: a longer passage is cut before it is tokenized
# where a long text is cut, the best place first: paragraph, line, sentence, word
_BOUNDARIES = [re.compile(p) for p in (r"\n\s*\n", r"\n", r"[.!?][\"')\]]*\s+", r"\s+")]


class Passage(NamedTuple):
    """A text that has one vector, and where it is from."""

    place: str
    text: str


def passages(source: str, embedder: Embedder) -> list[Passage]:
    """The texts of a source, of which long ones are cut into several passages.

    A passage has at most 256 tokens, or as many as the model can read. Blank texts are
    left out.

    Args:
      source: a spec of `zoo.data.sources`; a passage of kjv is a verse.
      embedder: counts the tokens.

    Raises:
      ValueError: the source is missing or broken, or has no text.
    """
    most = min(embedder.room, _LONGEST)

    def fits(text: str) -> bool:
        return len(text) <= _CHARACTERS * most and embedder.count(text) <= most

    found = [
        Passage(place, part)
        for place, text in sources.placed(source)
        for part in split(text, fits)
    ]
    if not found:
        raise ValueError(f"'{compressed.shown(source)}': there is no text.")
    return found


def split(text: str, fits: Callable[[str], bool]) -> Iterator[str]:
    """Cuts a text in two, and each part again, until every part fits.

    The cut is the one nearest to the middle: between two paragraphs, else lines, else
    sentences, else words, else characters. "One two. Three four." becomes "One two."
    and "Three four.", if it does not fit.

    Args:
      text: any text.
      fits: whether a part is short enough.

    Yields:
      The parts in their order, without spaces around them and without blank ones.

    Raises:
      ValueError: a single character does not fit.
    """
    text = text.strip()
    if not text:
        return
    if fits(text):
        yield text
        return
    middle, size = len(text) // 2, len(text)
    if not middle:
        raise ValueError(f"The model has no room for the tokens of {text!r}.")
    cut = middle
    for boundary in _BOUNDARIES:
        ends = [m.end() for m in boundary.finditer(text, size // 4, size * 3 // 4)]
        if ends:
            cut = min(ends, key=lambda end: abs(end - middle))
            break
    yield from split(text[:cut], fits)
    yield from split(text[cut:], fits)
