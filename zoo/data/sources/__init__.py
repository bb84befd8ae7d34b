"""Sources: where raw text comes from, named by a short spec.

    kjv                      the King James Bible of a package, a document a book
    text:PATH[,PATH]         UTF-8 files (globs too), a document a file
    jsonl:PATH[#field]       JSON objects, one a line; the text is in `field`
    tfds:NAME[:split][#field]  a data set of TensorFlow Datasets

Files may be compressed (.gz, .xz). `kjv` and `tfds` have several splits; the others
have one, `train`: name validation data as a source of its own, or `hold_out` a part.
Tables (`csv:`, `sklearn:`) have no text: `zoo.data.tables` reads them.
"""

from collections.abc import Callable, Iterator

from zoo.data.sources import jsonl, kjv, text, tfds
from zoo.data.sources.examples import Example
from zoo.data.splits import hold_out
from zoo.fields import suggest

__all__ = ["Example", "documents", "hold_out", "read"]

# A reader a source: (what follows the colon, split, field or "") -> examples.
_READERS: dict[str, Callable[[str, str, str], Iterator[Example]]] = {
    "kjv": kjv.read,
    "text": text.read,
    "jsonl": jsonl.read,
    "tfds": tfds.read,
}
_WITH_FIELD = ("jsonl", "tfds")
_TABLES = ("csv", "sklearn")


def read(spec: str, split: str = "train") -> Iterator[Example]:
    """The examples of a source, in its own order.

    Raises:
      ValueError: an unknown source or split (at once); a missing, empty or broken
        file, with its name and the line or byte (when the reader reaches it).
    """
    kind, rest, field = _parse(spec)
    return _READERS[kind](rest, split, field)


def documents(spec: str, split: str = "train") -> list[str]:
    """The texts of a source, in its own order.

    Raises:
      ValueError: as `read`; also a missing field, or no text at all.
    """
    kind, rest, field = _parse(spec)
    field = field or "text"
    texts = [example[field] for example in _READERS[kind](rest, split, field)]
    if not any(texts):
        raise ValueError(f"{spec}: the split {split!r} has no text.")
    return texts


def _parse(spec: str) -> tuple[str, str, str]:
    """Splits a spec into the kind of source, what follows the colon, and the field."""
    kind, _, rest = spec.partition(":")
    if kind in _TABLES:
        raise ValueError(f"{spec}: a table of numbers has no text.")
    if kind not in _READERS:
        raise ValueError(f"Unknown source {spec!r}.{suggest(kind, _READERS)}")
    if kind != "kjv" and not rest:
        raise ValueError(f"{spec!r}: a file or name must follow {kind}:")
    field = ""
    if kind in _WITH_FIELD:
        rest, _, field = rest.partition("#")
    return kind, rest, field
