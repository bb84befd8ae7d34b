"""From the labels of examples to indices of classes, or to values to regress.

Names decide: a model's own names, else those of the training data. A label may be the
name itself, a number or boolean as JSON writes it (the name "3" is the number 3), or
the index of a class, where the source names its indices or no name is an integer.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from zoo.data.sources.examples import ABSENT, Example, cell, columns
from zoo.data.tables.labels import distinct, is_integer
from zoo.fields import suggest

_LARGEST = float(np.finfo(np.float32).max)


class Labels:
    """What the labels of examples may be.

    Args:
      names: of the classes, by index; empty where the labels are values to regress.
      indexed: the names that the source gives to its integers (as TensorFlow
        Datasets' ClassLabel does); empty if none.

    Attributes:
      names: as given.
      indexed: the names that integers stand for. Without names of the source, those
        are the classes by index, if no name is an integer itself.
    """

    def __init__(self, names: Sequence[str] = (), indexed: Sequence[str] = ()):
        self.names = tuple(names)
        self._index = {name: i for i, name in enumerate(names)}
        integers = any(map(is_integer, names))
        self.indexed = tuple(indexed) or (() if integers else self.names)

    def read(self, value: Any) -> int | float:
        """The index of a label's class, or the value to regress.

        Raises:
          ValueError: no name of a class; no number, or none that float32 can hold.
        """
        if not self.names:
            return _number(value)
        name = _name(value, self.indexed)
        if name not in self._index:
            raise ValueError(f"label: {name!r}.{suggest(name, self.names)}")
        return self._index[name]


def names_of(
    examples: Iterable[tuple[str, Example | ValueError]],
    column: str,
    indexed: Sequence[str] = (),
) -> dict[str, str]:
    """The names of all labels, each with the place where it occurs first.

    What is no label is left out: whoever makes rows of the examples refuses it.

    Args:
      examples: as `zoo.data.sources.numbered` gives them.
      column: of the label, or of a list of labels.
      indexed: as in `Labels`.

    Raises:
      ValueError: no example has a label; the message is about the first one.
    """
    found: dict[str, str] = {}
    wrong = ""
    for where, example in examples:
        try:
            if isinstance(example, ValueError):
                raise example
            labels = cell(example, column)
            if labels is ABSENT:
                names = columns(example)
                raise ValueError(f"no column {column!r}.{suggest(column, names)}")
            for label in as_list(labels):
                found.setdefault(_name(label, indexed), where)
        except ValueError as error:
            message = str(error)
            start = "" if message.startswith(where) else f"{where}: "
            wrong = wrong or start + message
    if wrong and not found:
        raise ValueError(wrong)
    return found


def ordered(
    found: Iterable[str], indexed: Sequence[str] = (), classes: int = 0
) -> tuple[str, ...]:
    """The names of the classes by index.

    Args:
      found: the names of the training data's labels.
      indexed: as in `Labels`; their order is kept, whether they occur or not.
      classes: of the model; 0 is as many as there are names.

    Returns:
      The names, sorted; integers are sorted by value. If they are some of "0" to
      `classes` - 1, all of those.

    Raises:
      ValueError: another number of names than `classes`, or fewer than two.
    """
    names = tuple(indexed) or distinct(list(found), classes or None)
    if len(names) < 2 or classes and len(names) != classes:
        wanted = f"the model has {classes}" if classes else "at least 2 needed"
        raise ValueError(
            f"labels: {len(names)} classes ({', '.join(names):.80}), {wanted}."
        )
    return names


def as_list(value: Any) -> list:
    """The labels of an example: those of a list or an array, or the one that it is."""
    value = value.tolist() if isinstance(value, np.ndarray) else value
    return value if isinstance(value, list) else [value]


def _name(value: Any, indexed: Sequence[str] = ()) -> str:
    """The name of a label."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")  # of an array of TensorFlow Datasets
    if isinstance(value, str):
        if not value.strip():
            raise ValueError(f"label: {value!r}, a name or an integer allowed.")
        return value
    if not isinstance(value, int):
        raise ValueError(f"label: {value!r:.60}, a name or an integer allowed.")
    if not indexed or isinstance(value, bool):
        return json.dumps(value)
    if not 0 <= value < len(indexed):
        raise ValueError(f"label: {value}, 0 to {len(indexed) - 1} allowed.")
    return indexed[value]


def _number(value: Any) -> float:
    """The value of a label to regress."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not abs(value) <= _LARGEST:
        raise ValueError(f"label: {value!r:.60}, a finite number allowed.")
    return float(value)
