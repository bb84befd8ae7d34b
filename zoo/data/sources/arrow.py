"""Tables of Apache Arrow as examples: files of the IPC format, and what Parquet shares.

A column of strings, numbers, lists or structs becomes strings, numbers, lists or dicts.
"""

import itertools
import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

from zoo.data import storage
from zoo.data.compressed import decode, shown
from zoo.data.sources.examples import Example, Numbered
from zoo.fields import suggest

_FILE_START = b"ARROW1"  # of the file format; a stream has no such mark
_COMPRESSED = (".gz", ".xz", ".zst", ".zip")


def rows(path: str, field: str = "") -> Iterator[Numbered]:
    """Yields the rows of an IPC stream or file, such as `datasets` writes.

    Args:
      path: of the file; it is not compressed as a whole.
      field: the only column to read; "" reads all.

    Yields:
      The file and number of each row, from 1, and its values by column; or the error
      about a value that is not UTF-8.

    Raises:
      ValueError: the file is missing, damaged or compressed, or has no such column.
    """
    refuse_compressed(path, "an Arrow")
    with storage.open_bytes(path) as raw:
        yield from numbered(_batches(raw, shown(path)), shown(path), field, "Arrow")


def numbered(
    batches: Iterator[Any], name: str, field: str, format: str
) -> Iterator[Numbered]:
    """Yields the rows of record batches, with a place for each.

    Args:
      batches: `pyarrow.RecordBatch`es; only one of them is in memory at a time.
      name: of the file.
      field: the column to read; "" reads all.
      format: of the file, for the message about a damaged one.

    Raises:
      ValueError: the file is damaged, or has no such column.
    """
    import pyarrow

    number = 0
    while True:
        try:
            batch = next(batches, None)
        except (pyarrow.ArrowException, OSError) as error:
            raise damaged(name, error, format, number) from error
        if batch is None:
            return
        if field:
            check_column(name, field, batch.schema.names)
            batch = batch.select([field])
        columns = [_values(batch, i, field) for i in range(batch.num_columns)]
        for values in zip(*columns, strict=True) if columns else ():
            number += 1
            where = f"{name}, row {number}"
            yield where, _example(where, batch.schema.names, values)


def check_column(name: str, field: str, columns: Iterable[str]) -> None:
    """Refuses a file without the column."""
    if field not in columns:
        raise ValueError(f"{name}: no column {field!r}.{suggest(field, columns)}")


def refuse_compressed(path: str, kind: str) -> None:
    """Refuses a file that is packed as a whole: it could not be read in pieces."""
    ending = os.path.splitext(path)[1].lower()
    if ending in _COMPRESSED:
        raise ValueError(f"{shown(path)}: {kind} file is not read through {ending}.")


def damaged(name: str, error: Exception, format: str, row: int = 0) -> ValueError:
    """The error about a file that cannot be read on."""
    where = f"{name}, after row {row}" if row else name
    reason = shown((str(error).strip() or repr(error)).splitlines()[0])
    return ValueError(f"{where}: no {format} file, or a damaged one ({reason}).")


def class_names(features: Any, field: str) -> tuple[str, ...]:
    """The names of a column's classes, as `datasets` describes features.

    Args:
      features: name to description, such as {"label": {"names": ["no", "yes"],
        "_type": "ClassLabel"}}; of a list of labels the description is in "feature".
      field: the column.
    """
    about = features.get(field) if isinstance(features, dict) else None
    while isinstance(about, dict) and "feature" in about:
        about = about["feature"]
    about = about[0] if isinstance(about, list) and about else about
    names = about.get("names") if isinstance(about, dict) else None
    return tuple(map(str, names)) if isinstance(names, list) else ()


def features_of(schema: Any) -> Any:
    """The features that `datasets` writes beside a schema, or an empty dict."""
    text = (schema.metadata or {}).get(b"huggingface", b"{}")
    try:
        return json.loads(text)["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}


def label_names(path: str, field: str) -> tuple[str, ...]:
    """The names of a column's classes; empty if the file names none.

    Raises:
      ValueError: the file is missing or damaged, or has no such column.
    """
    refuse_compressed(path, "an Arrow")
    with storage.open_bytes(path) as raw:
        schema = _open(raw, shown(path)).schema
    check_column(shown(path), field, schema.names)
    return class_names(features_of(schema), field)


def _open(raw: Any, name: str) -> Any:
    """A reader of a stream, or of a file."""
    import pyarrow
    import pyarrow.ipc

    start = raw.read(len(_FILE_START))
    raw.seek(0)
    if not start:
        raise ValueError(f"{name}: the file is empty.")
    read = pyarrow.ipc.open_file if start == _FILE_START else pyarrow.ipc.open_stream
    try:
        return read(raw)
    except (pyarrow.ArrowException, OSError) as error:
        raise damaged(name, error, "Arrow") from error


def _batches(raw: Any, name: str) -> Iterator[Any]:
    """The record batches of a stream or a file."""
    reader = _open(raw, name)
    if hasattr(reader, "get_batch"):
        return (reader.get_batch(i) for i in range(reader.num_record_batches))
    return iter(reader)


def _values(batch: Any, index: int, field: str) -> list[Any]:
    """The values of a column; an error stands where a value is not UTF-8."""
    import pyarrow

    column, name = batch.column(index), batch.schema.names[index]
    kind = column.type
    if pyarrow.types.is_dictionary(kind):
        kind = kind.value_type
    types = pyarrow.types
    if types.is_binary(kind) or types.is_large_binary(kind):
        return [_text_of(value, name, name == field) for value in column.to_pylist()]
    try:
        return column.to_pylist()
    except UnicodeDecodeError:  # of one value at least
        return [_one(value, name) for value in column]


def _one(value: Any, name: str) -> Any:
    """A value of Python, or the error about its bytes."""
    try:
        return value.as_py()
    except UnicodeDecodeError as error:
        byte = f"byte {error.start} (0x{error.object[error.start]:02x})"
        return ValueError(f"field {name!r}: {byte} is not UTF-8.")


def _text_of(value: bytes | None, name: str, is_text: bool) -> Any:
    """Bytes as a string; those of an image or a sound stay bytes."""
    if value is None:
        return None
    try:
        return decode(value, f"field {name!r}")
    except ValueError as error:
        return error if is_text else value


def _example(where: str, names: list[str], values: tuple) -> Example | ValueError:
    """The row of values, or the error about one of them."""
    for value in values:
        if isinstance(value, ValueError):
            return ValueError(f"{where}, {value}")
    return dict(itertools.zip_longest(names, values))
