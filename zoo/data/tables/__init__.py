"""Tables of numbers for the dense net: CSV files and scikit-learn's own data.

csv:PATH[#label]    a CSV file; `#label` names the column of the label
sklearn:NAME        a table that comes with scikit-learn
"""

from collections.abc import Sequence

from zoo.data import compressed
from zoo.data.tables import csv_file, scikit_learn
from zoo.data.tables.rows import Table, hold_out_rows
from zoo.fields import suggest

__all__ = ["Table", "hold_out_rows", "table"]


def table(spec: str, label_names: Sequence[str] = ()) -> Table:
    """Reads the table that a spec names.

    Args:
      spec: `csv:PATH[#label]` or `sklearn:NAME`.
      label_names: the classes of the training table, so that a validation table
        gets the same indices.

    Raises:
      ValueError: an unknown source, a missing file or column, a label outside
        `label_names`, or a cell that is empty or not a finite number: the message
        names file, line and column.
    """
    kind, _, rest = spec.partition(":")
    if kind == "sklearn":
        return _same_classes(spec, scikit_learn.read(rest), label_names)
    if kind != "csv":
        raise ValueError(f"{spec!r} is no table.{suggest(kind, ('csv', 'sklearn'))}")
    pattern, _, label = rest.partition("#")
    paths = compressed.find(pattern)
    if len(paths) > 1:
        raise ValueError(f"{spec}: {len(paths)} files, a table is one file.")
    found = csv_file.read(paths[0], label or "label", tuple(label_names))
    return _same_classes(spec, found, label_names)


def _same_classes(spec: str, found: Table, label_names: Sequence[str]) -> Table:
    """Returns the table; refuses classes that differ from those that are given."""
    if label_names and found.label_names != tuple(label_names):
        raise ValueError(
            f"{spec}: the classes are {list(found.label_names)}, expected "
            f"{list(label_names)}."
        )
    return found
