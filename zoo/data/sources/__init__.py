"""Sources: where raw text comes from, named by a short spec.

    kjv                      the King James Bible of a package, a document a book
    text:PATH[,PATH]         UTF-8 files (globs too), a document a file
    jsonl:PATH[#field]       JSON objects, one a line; the text is in `field`
    tfds:NAME[:split][#field]  a data set of TensorFlow Datasets

Files may be compressed (.gz, .xz). A byte order mark at the start of a text is dropped.
`kjv` and `tfds` have several splits. The others have one, `train`: name validation data
as a source of its own, or hold out a part (`zoo.data.splits`).
Tables (`csv:`, `sklearn:`) have no text: `zoo.data.tables` reads them.
"""

import os
from collections.abc import Callable, Iterator

from zoo.data import compressed
from zoo.data.compressed import shown
from zoo.data.sources import jsonl, kjv, text, tfds
from zoo.data.sources.examples import Example, check_text, only_train
from zoo.data.sources.held_out import hold_out
from zoo.fields import suggest

__all__ = [
    "Example",
    "documents",
    "files",
    "hold_out",
    "label_names",
    "numbered",
    "placed",
    "read",
    "splits",
]

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


def numbered(
    spec: str, split: str = "train"
) -> Iterator[tuple[str, Example | ValueError]]:
    """The examples of a source with the place of each, for formats of single examples.

    Yields:
      Where the example is from, such as "chats.jsonl, line 3", and the example, or the
      error that reading its line gave.

    Raises:
      ValueError: an unknown source or split, or a missing file.
    """
    kind, rest, _ = _parse(spec)
    if kind == "jsonl":
        yield from jsonl.numbered(rest, split)
    else:
        for number, example in enumerate(_READERS[kind](rest, split, "")):
            yield f"{shown(spec)}, {split} example {number}", example


def documents(spec: str, split: str = "train") -> list[str]:
    """The texts of a source, in its own order.

    Raises:
      ValueError: as `read`; also a missing field, or no text at all.
    """
    kind, rest, field = _parse(spec)
    field = field or "text"
    mark = compressed.BYTE_ORDER_MARK
    texts = [
        example[field].removeprefix(mark)
        for example in _READERS[kind](rest, split, field)
    ]
    if not any(texts):
        raise ValueError(f"'{shown(spec)}': the split {split!r} has no text.")
    return texts


def placed(spec: str) -> Iterator[tuple[str, str]]:
    """The texts of a whole source with the place of each, such as "Jonah 2:1".

    The texts of kjv are the verses of all splits; those of other sources are the
    documents of the split `train`, named by the file or by the file and line.

    Raises:
      ValueError: as `documents`.
    """
    kind, _, field = _parse(spec)
    if kind == "kjv":
        for book, chapter, verse, text in kjv.verses("+".join(kjv.SPLITS)):
            yield f"{book} {chapter}:{verse}", text
        return
    for place, example in numbered(spec):
        if isinstance(example, ValueError):
            raise example
        field = field or "text"
        text = check_text(example, field, place)[field]
        place = shown(example["path"]) if kind == "text" else place
        yield place, text.removeprefix(compressed.BYTE_ORDER_MARK)


def splits(spec: str) -> tuple[str, ...]:
    """The names of a source's splits; `train` alone where a source has one.

    Raises:
      ValueError: an unknown source, or a data set that cannot be prepared.
    """
    kind, rest, _ = _parse(spec)
    if kind == "kjv":
        return kjv.SPLITS
    return tfds.splits(rest) if kind == "tfds" else ("train",)


def files(spec: str, split: str = "train") -> dict[str, str]:
    """The files of a split: a name for messages, to the path.

    Empty where the text does not come from files of its own.

    Raises:
      ValueError: an unknown source or split, or a missing file.
    """
    kind, rest, _ = _parse(spec)
    if kind == "tfds":
        return tfds.files(rest, split)
    if kind == "kjv":
        return {}
    only_train(kind, split)
    return {shown(path): path for path in compressed.find(rest)}


def label_names(spec: str, field: str = "label") -> tuple[str, ...]:
    """The names of the classes that the integers of a field stand for.

    Raises:
      ValueError: an unknown source, or a data set without the field.
    """
    kind, rest, _ = _parse(spec)
    return tfds.label_names(rest, field) if kind == "tfds" else ()


def _parse(spec: str) -> tuple[str, str, str]:
    """Splits a spec into the kind of source, what follows the colon, and the field."""
    kind, _, rest = spec.partition(":")
    if kind in _TABLES:
        raise ValueError(f"'{shown(spec)}': a table of numbers has no text.")
    if kind == "shards":
        raise ValueError(f"'{shown(spec)}': shards hold tokens and no text.")
    if kind not in _READERS:
        raise ValueError(f"Unknown source '{shown(spec)}'.{_allowed(spec, kind)}")
    if kind != "kjv" and not rest:
        raise ValueError(f"'{shown(spec)}': a file or name must follow {kind}:")
    field = ""
    if kind in _WITH_FIELD:
        rest, _, field = rest.partition("#")
    return kind, rest, field


def _allowed(spec: str, kind: str) -> str:
    """The end of the message about an unknown source; a path gets its kind."""
    if not compressed.is_path(spec):
        return suggest(kind, _READERS)
    name = shown(spec)
    if os.path.isdir(spec):
        name = os.path.join(name, "**", "*.txt")
    likely = "jsonl" if ".json" in os.path.basename(name) else "text"
    return f" Did you mean {likely}:{name}? Allowed: {', '.join(sorted(_READERS))}."
