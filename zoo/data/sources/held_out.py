"""Splits documents into a part for training and a part for evaluation."""

import hashlib
import re
from collections.abc import Iterable


def hold_out(
    documents: Iterable[str], fraction: float, seed: int = 0
) -> tuple[list[str], list[str]]:
    """Splits documents by a hash of their text, so equal documents stay together.

    The function cuts a single document at the line end that leaves about `fraction`
    of the text.

    Args:
      documents: texts.
      fraction: how much to hold out, between 0 and 1.
      seed: another seed holds out other documents.

    Returns:
      (kept, held out), both in the given order and neither empty.

    Raises:
      ValueError: the fraction is not between 0 and 1, there is no document, or the
        only document has no line end.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction: {fraction}, between 0 and 1 allowed.")
    documents = list(documents)
    if not documents:
        raise ValueError("There is no document to hold out from.")
    draws = {text: _draw(text, seed) for text in documents}
    if len(draws) == 1:
        head, tail = _cut(documents[0], fraction)
        return [head] * len(documents), [tail]
    # Neither side may be empty, however small the corpus is.
    low, high = min(draws.values()), max(draws.values())
    chosen = {t for t, x in draws.items() if x == low or x < fraction and x < high}
    return (
        [text for text in documents if text not in chosen],
        [text for text in documents if text in chosen],
    )


def _draw(text: str, seed: int) -> float:
    """A number in [0, 1) that depends on the text and the seed alone."""
    digest = hashlib.sha256(f"{seed}\n{text}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _cut(text: str, fraction: float) -> tuple[str, str]:
    """Cuts a text in two at a line end; the second part has about `fraction`."""
    ends = [m.end() for m in re.finditer(r"\n+", text) if 0 < m.start()]
    ends = [end for end in ends if end < len(text)]
    if not ends:
        raise ValueError("The only document has one line: nothing to hold out.")
    cut = min(ends, key=lambda end: abs(end - (1 - fraction) * len(text)))
    return text[:cut], text[cut:]
