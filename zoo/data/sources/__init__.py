"""Sources: where raw text comes from, named by a short spec.

    kjv                      the King James Bible of a package, a document a book
    text:PATH[,PATH]         UTF-8 files (globs too), a document a file
    jsonl:PATH[#field]       JSON objects, one a line; the text is in `field`
    tfds:NAME[:split][#field]  a data set of TensorFlow Datasets
    csv:PATH[#label]         a table (zoo.data.tables)
    sklearn:NAME             a table that comes with scikit-learn

Files may be compressed (.gz, .xz). `kjv` and `tfds` know splits; the others have
one, `train`: give validation data as a source of its own, or `hold_out` a part.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from zoo.data import compressed, kjv, tables
from zoo.fields import one_of, suggest

Example = dict[str, Any]  # field to string or number


def read(spec: str, split: str = "train") -> Iterator[Example]:
    """The examples of a source, in its own order.

    Raises:
      ValueError: an unknown source or split (at once); a missing, empty or broken
        file, with its name, the line or byte (when it is reached).
    """
    kind, rest, field = _parse(spec)
    return _READERS[kind](rest, split, field)


def documents(spec: str, split: str = "train") -> list[str]:
    """The texts of a source, in its own order.

    Raises:
      ValueError: as `read`; also a table, a missing field, no text at all.
    """
    kind, rest, field = _parse(spec)
    if kind in ("csv", "sklearn"):
        raise ValueError(f"{spec}: a table of numbers has no text.")
    field = field or "text"
    texts = [example[field] for example in _READERS[kind](rest, split, field)]
    if not any(texts):
        raise ValueError(f"{spec}: the split {split!r} has no text.")
    return texts


def hold_out(
    documents: Iterable[str], fraction: float, seed: int = 0
) -> tuple[list[str], list[str]]:
    """Splits documents in two by a hash of their text; equal ones stay together.

    A single document is cut at the line end that leaves about `fraction` of it.

    Args:
      documents: texts.
      fraction: how much to hold out, between 0 and 1.
      seed: another seed holds out other documents.

    Returns:
      (kept, held out), both in the given order and neither empty.

    Raises:
      ValueError: the fraction is not between 0 and 1, there is no document, or the
        only one has no line end to cut at.
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
    held = {t for t, x in draws.items() if x == low or x < fraction and x < high}
    return (
        [text for text in documents if text not in held],
        [text for text in documents if text in held],
    )


def _draw(text: str, seed: int) -> float:
    digest = hashlib.sha256(f"{seed}\n{text}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _cut(text: str, fraction: float) -> tuple[str, str]:
    ends = [m.end() for m in re.finditer(r"\n+", text) if 0 < m.start()]
    ends = [end for end in ends if end < len(text)]
    if not ends:
        raise ValueError("The only document has one line: nothing to hold out.")
    cut = min(ends, key=lambda end: abs(end - (1 - fraction) * len(text)))
    return text[:cut], text[cut:]


# ---- One reader a source: (what follows the colon, split, field or "") ----


def _kjv(rest: str, split: str, field: str) -> Iterator[Example]:
    if rest:
        raise ValueError(f"kjv:{rest}: kjv takes nothing after its name.")
    return ({"title": title, "text": text} for title, text in kjv.books(split).items())


def _text(rest: str, split: str, field: str) -> Iterator[Example]:
    _only_train("text", split)
    return ({"path": path, "text": _decode(path)} for path in compressed.find(rest))


def _decode(path: str) -> str:
    data = compressed.read(path)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: byte {error.start} (0x{data[error.start]:02x}) is not UTF-8."
        ) from None


def _jsonl(rest: str, split: str, field: str) -> Iterator[Example]:
    _only_train("jsonl", split)
    return _rows(compressed.find(rest), field)


def _rows(paths: list[str], field: str) -> Iterator[Example]:
    for path in paths:
        for number, line in enumerate(compressed.lines(path), 1):
            if line.strip():
                yield _row(line, field, f"{path}, line {number}")


def _row(line: bytes, field: str, where: str) -> Example:
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{where}: byte {error.start} of the line is not valid UTF-8."
        ) from None
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{where}: not JSON ({error}).") from None
    if not isinstance(row, dict):
        raise ValueError(f"{where}: a {type(row).__name__}, expected a JSON object.")
    for key, value in row.items():
        if isinstance(value, str) and not _is_text(value):
            raise ValueError(f"{where}: field {key!r} holds half a surrogate pair.")
    return _with_text(row, field, where)


def _is_text(value: str) -> bool:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _with_text(row: Example, field: str, where: str) -> Example:
    if field and field not in row:
        raise ValueError(f"{where}: no field {field!r}.{suggest(field, row)}")
    if field and not isinstance(row[field], str):
        kind = type(row[field]).__name__
        raise ValueError(f"{where}: field {field!r} is a {kind}, expected a string.")
    return row


def _tfds(rest: str, split: str, field: str) -> Iterator[Example]:
    # NAME may hold a version, NAME:1.0.0, and a split may be a slice, train[:90%].
    match = re.fullmatch(r"([^:]+(?::\d+\.\d+\.\d+)?)(?::(.+))?", rest)
    if not match:
        raise ValueError(f"tfds:{rest}: expected tfds:NAME or tfds:NAME:split.")
    name, own_split = match.groups()
    if own_split:
        _only_train(f"tfds:{rest}", split)

    import tensorflow_datasets as tfds  # seconds, so only where it is needed

    try:
        builder: Any = tfds.builder(name)
        builder.download_and_prepare()
    except Exception as error:  # the network, the disk, the data set's own code
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise ValueError(f"tfds:{name}: cannot be prepared: {reason}") from error
    known = list(builder.info.splits)
    if not own_split:
        parts = ["validation" if p == "valid" else p for p in split.split("+")]
        for part in parts:
            one_of(f"tfds:{name} split", part, known)
        own_split = "+".join(parts)
    try:
        dataset = builder.as_dataset(split=own_split, shuffle_files=False)
    except ValueError as error:
        raise ValueError(
            f"tfds:{name}: split {own_split!r}: {error} Known: {', '.join(known)}."
        ) from None
    return (
        _with_text(_plain(row), field, f"tfds:{name}:{own_split}, example {i}")
        for i, row in enumerate(tfds.as_numpy(dataset))
    )


def _plain(row: Example) -> Example:
    return {
        key: value.decode("utf-8")
        if isinstance(value, bytes)
        else value.item()
        if getattr(value, "shape", None) == ()
        else value
        for key, value in row.items()
    }


def _table(kind: str) -> Callable[[str, str, str], Iterator[Example]]:
    def read_table(rest: str, split: str, field: str) -> Iterator[Example]:
        _only_train(kind, split)
        return tables.examples(
            tables.table(f"{kind}:{rest}" + f"#{field}" * bool(field))
        )

    return read_table


_READERS: dict[str, Callable[[str, str, str], Iterator[Example]]] = {
    "kjv": _kjv,
    "text": _text,
    "jsonl": _jsonl,
    "tfds": _tfds,
    "csv": _table("csv"),
    "sklearn": _table("sklearn"),
}


def _parse(spec: str) -> tuple[str, str, str]:
    kind, colon, rest = spec.partition(":")
    if kind not in _READERS:
        raise ValueError(f"Unknown source {spec!r}.{suggest(kind, _READERS)}")
    if kind != "kjv" and not rest:
        raise ValueError(f"{spec!r}: a file or name must follow {kind}:")
    field = ""
    if kind in ("jsonl", "tfds", "csv"):
        rest, _, field = rest.partition("#")
    return kind, rest, field


def _only_train(where: str, split: str) -> None:
    if split != "train":
        raise ValueError(
            f"{where}: split {split!r}, only 'train' there; name other data as a "
            "source of its own, or hold out a fraction."
        )
