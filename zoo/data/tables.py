"""Tables of numbers for the dense net: CSV files and scikit-learn's own data."""

import csv
import dataclasses
import io
import itertools
import random
import re
from collections.abc import Iterator, Sequence

import numpy as np

from zoo.data import compressed
from zoo.fields import one_of, suggest

SKLEARN = ("breast_cancer", "diabetes", "digits", "iris", "wine")
_LARGEST = float(np.finfo(np.float32).max)


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of features with one label each.

    Attributes:
      features_NF: float32, all finite.
      labels_N: int32 indices into `label_names`, or float32 values to regress.
      feature_names: F names.
      label_names: C names of classes; empty for a regression.
    """

    features_NF: np.ndarray
    labels_N: np.ndarray
    feature_names: tuple[str, ...]
    label_names: tuple[str, ...]


def table(spec: str, label_names: Sequence[str] = ()) -> Table:
    """Reads `csv:PATH[#label]` or `sklearn:NAME`.

    A CSV file has a header row of names; `#label` names the column of the label,
    `label` where it is left out. Labels with a decimal point or an exponent are
    values to regress; all others are names of classes. scikit-learn's layout is
    understood too: rows, columns, then the names of classes in the first line, and
    the class as an index in the last column.

    Args:
      spec: the source.
      label_names: the classes of the training table, so that a validation table
        gets the same indices; a label outside them is an error.

    Raises:
      ValueError: an unknown source, a missing file or column, a cell that is empty
        or not a finite number: the message names file, line and column.
    """
    kind, _, rest = spec.partition(":")
    if kind == "sklearn":
        return _same_classes(spec, _sklearn(rest), label_names)
    if kind != "csv":
        raise ValueError(f"{spec!r} is no table.{suggest(kind, ('csv', 'sklearn'))}")
    pattern, _, label = rest.partition("#")
    paths = compressed.find(pattern)
    if len(paths) > 1:
        raise ValueError(f"{spec}: {len(paths)} files, a table is one file.")
    found = _csv(paths[0], label or "label", tuple(label_names))
    return _same_classes(spec, found, label_names)


def _same_classes(spec: str, found: Table, label_names: Sequence[str]) -> Table:
    if label_names and found.label_names != tuple(label_names):
        raise ValueError(
            f"{spec}: the classes are {list(found.label_names)}, expected "
            f"{list(label_names)}."
        )
    return found


def examples(table: Table) -> Iterator[dict]:
    """The rows of a table as dicts of feature name to number, and `label`."""
    for row, label in zip(table.features_NF, table.labels_N, strict=True):
        named = dict(zip(table.feature_names, map(float, row), strict=True))
        yield named | {"label": label.item()}


def hold_out_rows(table: Table, fraction: float, seed: int = 0) -> tuple[Table, Table]:
    """Splits a table at random into (kept, held out), neither empty.

    Raises:
      ValueError: the fraction is not between 0 and 1, or there are under two rows.
    """
    rows = len(table.labels_N)
    if not 0 < fraction < 1:
        raise ValueError(f"fraction: {fraction}, between 0 and 1 allowed.")
    if rows < 2:
        raise ValueError(f"A table of {rows} rows cannot be split.")
    order = list(range(rows))
    random.Random(seed).shuffle(order)
    count = min(max(round(fraction * rows), 1), rows - 1)
    return _rows(table, sorted(order[count:])), _rows(table, sorted(order[:count]))


def _rows(table: Table, rows: list[int]) -> Table:
    return dataclasses.replace(
        table, features_NF=table.features_NF[rows], labels_N=table.labels_N[rows]
    )


def _sklearn(name: str) -> Table:
    one_of("sklearn", name, SKLEARN)
    from sklearn import datasets

    data = getattr(datasets, f"load_{name}")()
    classes = tuple(map(str, data.get("target_names", ())))
    return Table(
        data.data.astype(np.float32),
        data.target.astype(np.int32 if classes else np.float32),
        tuple(map(str, data.feature_names)),
        classes,
    )


def _csv(path: str, label: str, label_names: tuple[str, ...]) -> Table:
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
    return (
        len(header) > 2
        and all(re.fullmatch("[0-9]+", cell) for cell in header[:2])
        and int(header[1]) + 1 == width
    )


def _sklearn_csv(path: str, first: list[str], rows: list) -> Table:
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
    cell = cell.strip()
    # A number may be finite in double precision and yet too large for a float32.
    if not _is_number(cell) or abs(float(cell)) > _LARGEST:
        shown = repr(cell) if cell else "empty"
        raise ValueError(f"{where}: {shown}, expected a finite number.")
    return float(cell)
