"""From the label cells of a table to indices of classes, or to values to regress."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from zoo.fields import suggest

_LARGEST = float(np.finfo(np.float32).max)


class Column(NamedTuple):
    """The labels of a table as its file has them.

    Attributes:
      cells: the label of each row.
      where: the place of a row's label, for messages.
      classes: the names of the classes that the table itself states, in their order;
        empty where it states none.
    """

    cells: list[str]
    where: Callable[[int], str]
    classes: tuple[str, ...]


def values(column: Column) -> np.ndarray:
    """The labels as float32 values [N].

    Raises:
      ValueError: a label that is a class, or no finite number.
    """
    if column.classes:
        raise ValueError(
            f"{column.where(0)}: the labels are classes ({', '.join(column.classes)}), "
            "expected values to regress."
        )
    cells = enumerate(column.cells)
    return np.array([number(cell, column.where(i)) for i, cell in cells], np.float32)


def are_values(column: Column) -> bool:
    """Whether the labels are numbers and one has a decimal point or an exponent."""
    numbers = not column.classes and all(map(_is_number, column.cells))
    return numbers and not all(map(is_integer, column.cells))


def indices(
    column: Column, names: Sequence[str] = (), count: int | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The labels as indices of classes, int32 [N], and the names of the classes.

    A label is the name of its class. Where no name is an integer, a column of integers
    holds indices: with the names ("no", "yes"), 0 is "no" and 1 is "yes".

    Args:
      column: the labels.
      names: of the model's classes, in its order; empty takes those of the table.
      count: how many classes the model has; None takes as many as the table has.

    Raises:
      ValueError: no class of this name, a value to regress, or a table with another
        number of classes than `count`.
    """
    names = tuple(names) or column.classes
    if are_values(column) and set(names).isdisjoint(column.cells):
        row = next(i for i, cell in enumerate(column.cells) if not is_integer(cell))
        raise ValueError(
            f"{column.where(row)}: {column.cells[row]!r} is a value to regress, "
            "expected a class."
        )
    names = names or distinct(column.cells, count)
    if count is not None and len(names) != count:
        raise ValueError(
            f"{column.where(0)}: the table has {len(names)} classes "
            f"({', '.join(names)}), the model has {count}."
        )
    if len(set(names)) < len(names):
        raise ValueError(f"{column.where(0)}: a class name appears twice: {names}.")
    index = {name: i for i, name in enumerate(names)}
    numbered = {str(i): i for i in range(len(names))}
    if numbered.keys() >= set(column.cells) and not any(map(is_integer, names)):
        index = numbered
    for i, cell in enumerate(column.cells):
        if cell not in index:
            raise ValueError(f"{column.where(i)}: {cell!r}.{suggest(cell, names)}")
    return np.array([index[cell] for cell in column.cells], np.int32), names


def distinct(cells: Iterable[str], count: int | None) -> tuple[str, ...]:
    """The classes of labels that nobody names, sorted; integers by their value.

    Labels that are some of "0" to `count` - 1 have all of those classes.
    """
    found = set(cells)
    numbered = tuple(map(str, range(count or 0)))
    # Rows of a class may be missing, and the others keep their indices.
    if found < set(numbered):
        return numbered
    # Integers sort by value, so that class "10" comes after class "9".
    integers = all(map(is_integer, found))
    return tuple(sorted(found, key=int if integers else str))


def is_integer(cell: str) -> bool:
    """Whether a label is an integer."""
    # Python's int() refuses more than 4,300 digits.
    return bool(re.fullmatch(r"[+-]?[0-9]{1,4000}", cell))


def _is_number(cell: str) -> bool:
    decimal = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
    return bool(re.fullmatch(decimal, cell))


def number(cell: str, where: str) -> float:
    """The number in a cell.

    Raises:
      ValueError: the cell is empty, or float32 cannot hold the number.
    """
    cell = cell.strip()
    # A number may be finite in double precision and yet too large for a float32.
    if not _is_number(cell) or abs(float(cell)) > _LARGEST:
        seen = repr(cell) if cell else "empty"
        raise ValueError(f"{where}: {seen}, expected a finite number.")
    return float(cell)
