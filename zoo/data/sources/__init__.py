"""Sources: where raw text comes from, named by a short spec.

    kjv                        the King James Bible of a package, a document a book
    text:PATH[,PATH]           UTF-8 files (globs too), a document a file
    lines:PATH                 the same, a document a line
    parallel:PATH[,PATH]       sources and targets: two files with as many lines, or one
                               with tabs
    jsonl:PATH[#field]         JSON objects, one a line, or an array of them
    csv:PATH[#field]           rows under a line of column names
    parquet:PATH[#field]       rows of Parquet files
    arrow:PATH[#field]         rows of Arrow's IPC files
    warc:PATH                  pages of web archives, with the package `warcio`
    hf:DIR[:split][#field]     a data set that `datasets` saved, or a folder of Parquet
    hf:OWNER/NAME[:split][#field]  a data set of the Hugging Face Hub
    tfds:NAME[:split][#field]  a data set of TensorFlow Datasets

The field is "text" where none is named. All files but parquet and arrow may be
compressed (.gz, .bz2, .xz, .zst); those of text, lines, jsonl and csv may be members of
a .zip. Paths with a protocol, such as gs:// and s3://, are read by fsspec. A byte order
mark at the start of a text is dropped.
`kjv`, `hf` and `tfds` have several splits. The others have one, `train`: name
validation data as a source of its own, or hold out a part (`zoo.data.splits`).
Tables of numbers (`csv:` too, `sklearn:`) are read by `zoo.data.tables`.
"""

import itertools
import os
from collections.abc import Callable, Iterator

from zoo.data import compressed
from zoo.data.compressed import shown
from zoo.data.sources import (
    arrow,
    csv_text,
    file_parts,
    huggingface,
    jsonl,
    kjv,
    lines,
    parquet,
    text,
    tfds,
    warc,
)
from zoo.data.sources.examples import (
    Example,
    Numbered,
    cell,
    check_text,
    only_train,
)
from zoo.data.sources.file_parts import Part
from zoo.data.sources.held_out import hold_out
from zoo.fields import one_of, suggest

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
    "lines": lines.rows,
    "jsonl": jsonl.rows,
    "csv": csv_text.rows,
    "parquet": parquet.rows,
    "arrow": arrow.rows,
    "warc": warc.rows,
}
# Readers of named data: (what follows the colon, split, field or "") -> the same.
_NAMED: dict[str, Callable[[str, str, str], Iterator[Numbered]]] = {
    "kjv": kjv.rows,
    "parallel": lines.parallel,
    "tfds": tfds.rows,
}
_KINDS = (*_FILES, *_NAMED, "hf")
# What the name of a file tells about its kind.
_ENDINGS = {
    "jsonl": ".json",
    "csv": ".csv",
    "parquet": ".parquet",
    "arrow": ".arrow",
    "warc": ".warc",
}
_WITH_FIELD = ("jsonl", "csv", "parquet", "arrow", "hf", "tfds")


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
        known = splits(spec)
        for name in split.split("+"):
            one_of(f"{shown(spec)} split", name, known)
        return [Part(spec, split)]
    kind, found = _files(kind, rest, split)
    return file_parts.of_files(kind, list(found.values()), field)


def texts(part: Part, field: str = "") -> Iterator[tuple[str, str | ValueError]]:
    """The texts of a part, in order. Only one of them is in memory at a time.

    Args:
      part: of `parts`.
      field: of the text, where the spec names none; empty is "text".

    Yields:
      The place of each text, and the text; or what is wrong with the row, by file and
      line. The reader goes on behind a bad row.

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
        rows = _rows(kind, file_parts.paths_of(rest), field)
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
    if kind == "hf":
        return huggingface.splits(rest)
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
    return {} if kind == "kjv" else _files(kind, rest, split)[1]


def label_names(spec: str, field: str = "label") -> tuple[str, ...]:
    """The names of the classes that the integers of a field stand for; empty if none.

    Raises:
      ValueError: an unknown source, or a data set without the field.
    """
    kind, rest, _ = _parse(spec)
    if kind in ("arrow", "parquet"):
        of_one = {"arrow": arrow.label_names, "parquet": parquet.label_names}[kind]
        return of_one(compressed.find(rest)[0], field)
    if kind == "hf":
        return huggingface.label_names(rest, field)
    return tfds.label_names(rest, field) if kind == "tfds" else ()


def _numbered(kind: str, rest: str, split: str, field: str) -> Iterator[Numbered]:
    """The numbered examples of a parsed spec."""
    if kind in _NAMED:
        return _NAMED[kind](rest, split, field)
    kind, found = _files(kind, rest, split)
    return _rows(kind, list(found.values()), field)


def _files(kind: str, rest: str, split: str) -> tuple[str, dict[str, str]]:
    """The kind of the files of a source, and the files: shown name to path."""
    if kind == "hf":
        return huggingface.files(rest, split)
    only_train(kind, split)
    return kind, {shown(path): path for path in compressed.find(rest)}


def _rows(kind: str, paths: list[str], field: str) -> Iterator[Numbered]:
    """The numbered examples of files, one file after the other."""
    return itertools.chain.from_iterable(_FILES[kind](path, field) for path in paths)


def _good(example: Example | ValueError) -> Example:
    if isinstance(example, ValueError):
        raise example
    return example


def _text(example: Example | ValueError, field: str, where: str) -> str:
    """The text of an example, without a byte order mark at its start."""
    text = cell(check_text(_good(example), field, where), field)
    return text.removeprefix(compressed.BYTE_ORDER_MARK)


def _parse(spec: str) -> tuple[str, str, str]:
    """Splits a spec into the kind of source, what follows the colon, and the field."""
    kind, _, rest = spec.partition(":")
    if kind == "sklearn":
        raise ValueError(f"'{shown(spec)}': a table of numbers has no text.")
    if kind == "shards":
        raise ValueError(f"'{shown(spec)}': shards hold tokens and no text.")
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
    base = os.path.basename(name)
    likely = [kind for kind, mark in _ENDINGS.items() if mark in base]
    kinds = ", ".join(sorted(_KINDS))
    return f" Did you mean {(likely or ['text'])[0]}:{name}? Allowed: {kinds}."
