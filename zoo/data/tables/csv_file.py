"""CSV files, in two layouts.

In the usual layout the first line holds the names of all columns.

In scikit-learn's layout the first line holds three things: how many rows, how many
features, and the names of the classes. The last column is the index of the class.
"""

import csv
import io
import re

import numpy as np

from zoo.data import compressed
from zoo.data.sources.csv_text import separator
from zoo.data.tables.labels import Column, number
from zoo.fields import suggest


def read(path: str, label: str) -> tuple[np.ndarray, tuple[str, ...], Column]:
    """Reads one file.

    Args:
      path: of the file.
      label: the column of the label.

    Returns:
      The features as float32 [N, F], their names, and the labels.

    Raises:
      ValueError: a missing or broken file, a missing column, or a cell that is empty
        or not a finite number.
    """
    text, path = compressed.text(path), compressed.shown(path)
    mark = separator(text.partition("\n")[0])
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
    try:
        rows = [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}.") from None
    if len(rows) < 2:
        raise ValueError(f"{path}: no rows under the header.")
    (_, header), rows = rows[0], rows[1:]
    if _is_sklearn(header, len(rows[0][1])):
        return _sklearn_layout(path, header, rows)
    header = [name.strip() for name in header]
    if len(set(header)) < len(header):
        raise ValueError(f"{path}, line 1: a column name appears twice: {header}.")
    if label not in header:
        raise ValueError(f"{path}: no column {label!r}.{suggest(label, header)}")
    column = header.index(label)
    features_NF, labels = _split_columns(path, header, rows, column)
    return features_NF, tuple(name for name in header if name != label), labels


def _is_sklearn(header: list[str], width: int) -> bool:
    """Whether the first line has the form of scikit-learn's layout."""
    return (
        len(header) > 2
        and all(re.fullmatch("[0-9]{1,18}", cell) for cell in header[:2])
        and int(header[1]) + 1 == width
    )


def _sklearn_layout(path: str, first: list[str], rows: list):
    """What `read` returns, of a file in scikit-learn's layout."""
    if int(first[0]) != len(rows):
        raise ValueError(f"{path}: {len(rows)} rows, but line 1 expects {first[0]}.")
    names = tuple(f"x{i}" for i in range(int(first[1])))
    classes = tuple(first[2:])
    features_NF, labels = _split_columns(path, [*names, "label"], rows, len(names))
    by_index = {str(i): name for i, name in enumerate(classes)}
    for i, cell in enumerate(labels.cells):
        if cell not in by_index:
            raise ValueError(f"{labels.where(i)}: {cell!r}.{suggest(cell, by_index)}")
    cells = [by_index[cell] for cell in labels.cells]
    return features_NF, names, Column(cells, labels.where, classes)


def _split_columns(
    path: str, header: list[str], rows: list, column: int
) -> tuple[np.ndarray, Column]:
    """The features as float32 [N, F], and the labels."""

    def where(i: int) -> str:
        return f"{path}, line {rows[i][0]}, column {header[column]!r}"

    features, cells = [], []
    for i, (line, row) in enumerate(rows):
        if len(row) != len(header):
            raise ValueError(
                f"{path}, line {line}: {len(row)} columns, expected {len(header)}."
            )
        numbers = [
            number(cell, f"{path}, line {line}, column {name!r}")
            for j, (name, cell) in enumerate(zip(header, row, strict=True))
            if j != column
        ]
        features.append(numbers)
        cells.append(row[column].strip())
        if not cells[-1]:
            raise ValueError(f"{where(i)}: no label.")
    features_NF = np.array(features, np.float32).reshape(len(rows), len(header) - 1)
    return features_NF, Column(cells, where, ())
