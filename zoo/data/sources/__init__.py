"""Sources: where raw text comes from, named by a short spec.

    kjv                      the King James Bible of a package, a document a book
    text:PATH[,PATH]         UTF-8 files (globs too), a document a file
    jsonl:PATH[#field]       JSON objects, one a line; the text is in `field`
    tfds:NAME[:split][#field]  a data set of TensorFlow Datasets

Files may be compressed (.gz, .xz, .zst), or members of a .zip. Paths with a protocol,
such as gs:// and s3://, are read by fsspec. A byte order mark at the start of a text is
dropped.
`kjv` and `tfds` have several splits. The others have one, `train`: name validation data
as a source of its own, or hold out a part (`zoo.data.splits`).
Tables (`csv:`, `sklearn:`) have no text: `zoo.data.tables` reads them.
"""

import itertools
import os
from collections.abc import Callable, Iterator

from zoo.data import compressed
from zoo.data.compressed import shown
from zoo.data.sources import jsonl, kjv, text, tfds
from zoo.data.sources import parts as _parts
from zoo.data.sources.examples import Example, Numbered, check_text, only_train
from zoo.data.sources.held_out import hold_out
from zoo.data.sources.parts import Part
from zoo.fields import suggest

__all__ = [
    "Example",
    "Numbered",
    "Part",
    "documents",
    "files",
    "hold_out",
    "label_names",
    "numbered",
    "parts",
    "placed",
    "read",
    "splits",
    "texts",
]

# Readers of one file: (path, field or "") -> numbered examples.
_FILES: dict[str, Callable[[str, str], Iterator[Numbered]]] = {
    "text": text.rows,
    "jsonl": jsonl.rows,
}
# Readers of named data: (what follows the colon, split, field or "") -> the same.
_NAMED: dict[str, Callable[[str, str, str], Iterator[Numbered]]] = {
    "kjv": kjv.rows,
    "tfds": tfds.rows,
}
_KINDS = (*_FILES, *_NAMED)
_WITH_FIELD = ("jsonl", "tfds")
_TABLES = ("csv", "sklearn")


def read(spec: str, split: str = "train") -> Iterator[Example]:
    """The examples of a source, in its own order.

    Raises:
      ValueError: an unknown source or split, or a missing file (at once); an empty or
        broken file, with its name and the line or byte (when the reader reaches it).
    """
    kind, rest, field = _parse(spec)
    return (
        check_text(_good(example), field, where)
        for where, example in _numbered(kind, rest, split, field)
    )


def numbered(spec: str, split: str = "train") -> Iterator[Numbered]:
    """The examples of a source with the place of each, for formats of single examples.

    Returns:
      Where each example is from, such as "chats.jsonl, line 3", and the example, or
      the error that reading its line gave.

    Raises:
      ValueError: an unknown source or split, or a missing file.
    """
    kind, rest, _ = _parse(spec)
    return _numbered(kind, rest, split, "")


def documents(spec: str, split: str = "train") -> list[str]:
    """The texts of a source, in its own order.

    Raises:
      ValueError: as `read`; also a missing field, or no text at all.
    """
    kind, rest, field = _parse(spec)
    field = field or "text"
    found = [
        _text(example, field, where)
        for where, example in _numbered(kind, rest, split, field)
    ]
    if not any(found):
        raise ValueError(f"'{shown(spec)}': the split {split!r} has no text.")
    return found


def placed(spec: str) -> Iterator[tuple[str, str]]:
    """The texts of a whole source with the place of each, such as "Jonah 2:1".

    The texts of kjv are the verses of all splits; those of other sources are the
    documents of the split `train`, named by the file or by the file and line.

    Raises:
      ValueError: as `documents`.
    """
    kind, rest, field = _parse(spec)
    if kind == "kjv":
        for book, chapter, verse, words in kjv.verses("+".join(kjv.SPLITS)):
            yield f"{book} {chapter}:{verse}", words
        return
    field = field or "text"
    for where, example in _numbered(kind, rest, "train", field):
        yield where, _text(example, field, where)


def parts(spec: str, split: str = "train") -> list[Part]:
    """The parts of a source, in its order; each can be read on its own.

    A part is a file, a run of small text files, or one split of kjv or tfds.

    Raises:
      ValueError: an unknown source or split, or a missing file.
    """
    kind, rest, field = _parse(spec)
    if kind in _NAMED:
        splits(spec)
        return [Part(spec, split)]
    only_train(kind, split)
    return _parts.of_files(kind, compressed.find(rest), field)


def texts(part: Part, field: str = "") -> Iterator[tuple[str, str | ValueError]]:
    """The texts of a part, in order. Only one of them is in memory at a time.

    Args:
      part: of `parts`.
      field: of the text, where the spec names none; empty is "text".

    Yields:
      The place of each text, and the text; or what is wrong with the row, by file and
      line. All texts of a part follow each other, bad rows between them or not.

    Raises:
      ValueError: the part is missing, empty, damaged, or not what its name promises;
        a damaged file gives the rows before the damage first.
    """
    kind, _, rest = part.spec.partition(":")
    rest, _, own = rest.partition("#")
    field = own or field or "text"
    if kind in _NAMED:
        rows = _NAMED[kind](rest, part.split, field)
    else:
        rows = _rows(kind, _parts.paths_of(rest), field)
    for where, example in rows:
        try:
            found: str | ValueError = _text(example, field, where)
        except ValueError as error:
            found = error
        yield where, found


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


def _numbered(kind: str, rest: str, split: str, field: str) -> Iterator[Numbered]:
    """The numbered examples of a parsed spec."""
    if kind in _NAMED:
        return _NAMED[kind](rest, split, field)
    only_train(kind, split)
    return _rows(kind, compressed.find(rest), field)


def _rows(kind: str, paths: list[str], field: str) -> Iterator[Numbered]:
    """The numbered examples of files, one file after the other."""
    return itertools.chain.from_iterable(_FILES[kind](path, field) for path in paths)


def _good(example: Example | ValueError) -> Example:
    if isinstance(example, ValueError):
        raise example
    return example


def _text(example: Example | ValueError, field: str, where: str) -> str:
    """The text of an example, without a byte order mark at its start."""
    text = check_text(_good(example), field, where)[field]
    return text.removeprefix(compressed.BYTE_ORDER_MARK)


def _parse(spec: str) -> tuple[str, str, str]:
    """Splits a spec into the kind of source, what follows the colon, and the field."""
    kind, _, rest = spec.partition(":")
    if kind in _TABLES:
        raise ValueError(f"'{shown(spec)}': a table of numbers has no text.")
    if kind not in _KINDS:
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
        return suggest(kind, _KINDS)
    name = shown(spec)
    if os.path.isdir(spec):
        name = os.path.join(name, "**", "*.txt")
    likely = "jsonl" if ".json" in os.path.basename(name) else "text"
    return f" Did you mean {likely}:{name}? Allowed: {', '.join(sorted(_KINDS))}."
