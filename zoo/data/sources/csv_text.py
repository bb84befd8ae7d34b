"""CSV files as examples, a row an example. The first line holds the column names.

Cells stand between commas. Where the first line has no comma, they stand between tabs,
or else between semicolons, as some spreadsheets write them.
"""

import csv
import itertools
import re
from collections.abc import Iterator

from zoo.data import compressed
from zoo.data.sources.arrow import check_column
from zoo.data.sources.examples import Example, Numbered

# The module's own limit of a cell, 128 KiB, is for the whole process. Texts are longer;
# but a quote that is never closed must not read the rest of a file into memory.
_LONGEST_CELL = 2**26
_ESCAPED = re.compile("[\udc80-\udcff]")  # a byte that is not UTF-8


def rows(path: str, field: str = "") -> Iterator[Numbered]:
    """Yields the rows that are not blank; every value is a string.

    A cell in quotes may hold line ends.

    Args:
      path: of the UTF-8 file, or of a zip of such files.
      field: a column that must be there; "" needs none.

    Yields:
      The file and the line where each row starts, and its values by column; or the
      error about a row with too many or too few cells, a wrong quote, or bytes that
      are not UTF-8.

    Raises:
      ValueError: the file is missing, empty or damaged, a column name appears twice, or
        there is no such column.
    """
    for file in compressed.files_in(path):
        yield from _rows(file, field)


def separator(header: str) -> str:
    """What stands between the cells of a file with this first line."""
    return next((mark for mark in ",\t;" if mark in header), ",")


def _rows(file: compressed.File, field: str) -> Iterator[Numbered]:
    """The rows of one open file."""
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))
    lines = file.lines()
    first = compressed.decode(next(lines), f"{file.name}, line 1")
    # Bytes that are not UTF-8 must not break a cell that spans lines; see `_example`.
    others = (line.decode("utf-8", "surrogateescape") for line in lines)
    text = itertools.chain([first], others)
    reader = csv.reader(text, delimiter=separator(first), strict=True)
    header: list[str] = []
    while True:
        start = reader.line_num + 1
        where = f"{file.name}, line {start}"
        try:
            row = next(reader, None)
            if row is None:
                return
            if row and header:
                yield where, _example(row, header)
            elif row:
                header = _header(row, where, field)
        except csv.Error as error:
            if reader.line_num > start:
                where = f"{file.name}, lines {start} to {reader.line_num}"
            found = ValueError(f"{where}: {error}.")
            if not header:
                raise found from None
            yield where, found


def _header(row: list[str], where: str, field: str) -> list[str]:
    """The names of the columns."""
    header = [cell.strip() for cell in row]
    for cell in header:
        if header.count(cell) > 1:
            raise ValueError(f"{where}: the column {cell!r} appears twice.")
    if field:
        check_column(where, field, header)
    return header


def _example(row: list[str], header: list[str]) -> Example:
    """The values of a row by column."""
    if len(row) != len(header):
        raise csv.Error(f"{len(row)} columns, expected {len(header)}")
    for name, cell in zip(header, row, strict=True):
        if not cell.isascii() and (found := _ESCAPED.search(cell)):
            byte = ord(found[0]) - 0xDC00
            raise csv.Error(f"column {name!r}: byte 0x{byte:02x} is not UTF-8")
    return dict(zip(header, row, strict=True))
