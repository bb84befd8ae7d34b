"""CSV files as tables, in two layouts.

A CSV file has a header row of names. Labels with a decimal point or an exponent are
values to regress; all others are names of classes.

In scikit-learn's layout the first line holds the number of rows, the number of columns
and the names of the classes. The last column is the index of the class.
"""

import csv
import io
import itertools
import re

import numpy as np

from zoo.data import compressed
from zoo.data.tables.rows import Table
from zoo.fields import suggest

_LARGEST = float(np.finfo(np.float32).max)


def read(path: str, label: str, label_names: tuple[str, ...]) -> Table:
    """Reads one file.

    Args:
      path: of the file.
      label: the column of the label.
      label_names: the classes; empty takes them from the file.

    Raises:
      ValueError: a missing or broken file, a missing column, a label outside
        `label_names`, or a cell that is empty or not a finite number.
    """
    try:
        text = compressed.read(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: byte {error.start} is not valid UTF-8.") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        rows = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}.") from None
    if len(rows) < 2:
        raise ValueError(f"{path}: no rows under the header.")
    (_, header), rows = rows[0], rows[1:]
    if _is_sklearn(header, len(rows[0][1])):
        return _sklearn_csv(path, header, rows)
    header = [name.strip() for name in header]
    if len(set(header)) < len(header):
        raise ValueError(f"{path}, line 1: a column name appears twice: {header}.")
    if label not in header:
        raise ValueError(f"{path}: no column {label!r}.{suggest(label, header)}")
    column = header.index(label)
    features_NF, cells = _split_columns(path, header, rows, column)
    labels_N, classes = _labels(path, label, rows, cells, label_names)
    return Table(
        features_NF,
        labels_N,
        tuple(name for name in header if name != label),
        classes,
    )


def _is_sklearn(header: list[str], width: int) -> bool:
    """Whether the first line has the form of scikit-learn's layout."""
    return (
        len(header) > 2
        and all(re.fullmatch("[0-9]+", cell) for cell in header[:2])
        and int(header[1]) + 1 == width
    )


def _sklearn_csv(path: str, first: list[str], rows: list) -> Table:
    """The table of a file in scikit-learn's layout."""
    if int(first[0]) != len(rows):
        raise ValueError(f"{path}: line 1 says {first[0]} rows, there are {len(rows)}.")
    names = [f"x{i}" for i in range(int(first[1]))]
    classes = tuple(first[2:])
    features_NF, cells = _split_columns(path, [*names, "label"], rows, len(names))
    indices = [str(i) for i in range(len(classes))]
    labels_N, _ = _labels(path, "label", rows, cells, tuple(indices))
    return Table(features_NF, labels_N, tuple(names), classes)


def _split_columns(
    path: str, header: list[str], rows: list, column: int
) -> tuple[np.ndarray, list[str]]:
    """The features as float32 [N, F] and the cells of the label column."""
    features, labels = [], []
    for line, row in rows:
        if len(row) != len(header):
            raise ValueError(
                f"{path}, line {line}: {len(row)} columns, expected {len(header)}."
            )
        numbers = [
            _number(cell, f"{path}, line {line}, column {name!r}")
            for i, (name, cell) in enumerate(zip(header, row, strict=True))
            if i != column
        ]
        features.append(numbers)
        labels.append(row[column].strip())
    width = len(header) - 1
    return np.array(features, np.float32).reshape(len(rows), width), labels


def _labels(
    path: str, label: str, rows: list, cells: list[str], names: tuple[str, ...]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The labels as indices of classes or as values, and the names of the classes."""
    for (line, _), cell in zip(rows, cells, strict=True):
        if not cell:
            raise ValueError(f"{path}, line {line}, column {label!r}: no label.")
        if names and cell not in names:
            raise ValueError(
                f"{path}, line {line}, column {label!r}: {cell!r}."
                + suggest(cell, names)
            )
    if not names and all(map(_is_number, cells)) and not all(map(_is_integer, cells)):
        where = [f"{path}, line {line}, column {label!r}" for line, _ in rows]
        values = [_number(c, w) for c, w in zip(cells, where, strict=True)]
        return np.array(values, np.float32), ()
    # Integers sort by value, so that class "10" comes after class "9".
    integers = all(map(_is_integer, cells))
    names = names or tuple(sorted(set(cells), key=int if integers else str))
    index = dict(zip(names, itertools.count()))
    return np.array([index[cell] for cell in cells], np.int32), names


def _is_integer(cell: str) -> bool:
    return bool(re.fullmatch(r"[+-]?[0-9]+", cell))


def _is_number(cell: str) -> bool:
    decimal = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
    return bool(re.fullmatch(decimal, cell))


def _number(cell: str, where: str) -> float:
    """The number in a cell; refuses what float32 cannot hold."""
    cell = cell.strip()
    # A number may be finite in double precision and yet too large for a float32.
    if not _is_number(cell) or abs(float(cell)) > _LARGEST:
        shown = repr(cell) if cell else "empty"
        raise ValueError(f"{where}: {shown}, expected a finite number.")
    return float(cell)
