"""Parquet files as examples, a row an example."""

from collections.abc import Iterator
from typing import Any

from zoo.data import storage
from zoo.data.compressed import shown
from zoo.data.sources import arrow
from zoo.data.sources.examples import Numbered

_BATCH_BYTES = 2**22  # of values in memory at a time, as the file counts them
_MOST_ROWS = 4096
_BUFFER = 2**20  # of a column's compressed pages


def rows(path: str, field: str = "") -> Iterator[Numbered]:
    """Yields the rows, in pieces of a few megabytes.

    Args:
      path: of the file.
      field: the only column to read; "" reads all.

    Yields:
      The file and number of each row, from 1, and its values by column; or the error
      about a value that is not UTF-8.

    Raises:
      ValueError: the file is missing, damaged or compressed as a whole, or has no such
        column.
    """
    import pyarrow

    arrow.refuse_compressed(path, "a Parquet")
    name = shown(path)
    with storage.open_bytes(path) as raw:
        file = _open(raw, name)
        try:
            names = file.schema_arrow.names
            if field:
                arrow.check_column(name, field, names)
            batches = file.iter_batches(
                _batch_rows(file.metadata),
                columns=[field] if field else None,
                use_threads=False,
            )
        except (pyarrow.ArrowException, OSError) as error:
            raise arrow.damaged(name, error, "Parquet") from error
        yield from arrow.numbered(iter(batches), name, field, "Parquet")


def label_names(path: str, field: str) -> tuple[str, ...]:
    """The names of a column's classes; empty if the file names none.

    Raises:
      ValueError: the file is missing or damaged, or has no such column.
    """
    arrow.refuse_compressed(path, "a Parquet")
    with storage.open_bytes(path) as raw:
        schema = _open(raw, shown(path)).schema_arrow
    arrow.check_column(shown(path), field, schema.names)
    return arrow.class_names(arrow.features_of(schema), field)


def _open(raw: Any, name: str) -> Any:
    """The reader of a file. It reads pages one by one, never a whole row group."""
    import pyarrow
    import pyarrow.parquet

    if not raw.read(1):
        raise ValueError(f"{name}: the file is empty.")
    raw.seek(0)
    try:
        return pyarrow.parquet.ParquetFile(
            raw, buffer_size=_BUFFER, pre_buffer=False, page_checksum_verification=True
        )
    except (pyarrow.ArrowException, OSError) as error:
        raise arrow.damaged(name, error, "Parquet") from error


def _batch_rows(metadata: Any) -> int:
    """How many rows hold about 4 MiB, in the row group with the longest rows."""
    longest = 1.0
    for i in range(metadata.num_row_groups):
        group = metadata.row_group(i)
        longest = max(longest, group.total_byte_size / max(group.num_rows, 1))
    return max(1, min(_MOST_ROWS, int(_BATCH_BYTES / longest)))
