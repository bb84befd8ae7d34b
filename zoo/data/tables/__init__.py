"""Tables of numbers for the dense net: CSV files and scikit-learn's own data.

csv:PATH[#label]    a CSV file; `#label` names the column of the label
sklearn:NAME        a table that comes with scikit-learn
"""

from collections.abc import Sequence

from zoo.data import compressed
from zoo.data.tables import csv_file, labels, scikit_learn
from zoo.data.tables.rows import Table, hold_out_rows, reorder
from zoo.fields import suggest

__all__ = ["KINDS", "Table", "csv_path", "hold_out_rows", "reorder", "table"]

KINDS = ("csv", "sklearn")


def table(
    spec: str, label_names: Sequence[str] = (), classes: int | None = None
) -> Table:
    """Reads the table that a spec names.

    The names of the model decide which class has which index, in training and in
    evaluation. A model without names takes `label_names` of its training table.

    Args:
      spec: `csv:PATH[#label]` or `sklearn:NAME`.
      label_names: the names of the model's classes, in its order. A label may also be
        the index of its class, where no name is an integer.
      classes: how many classes the model has, 0 for a model that regresses. None
        decides by the labels: those with a decimal point are values to regress.

    Raises:
      ValueError: an unknown source, a missing file or column, an empty cell, or a
        feature that is not a finite number. Also a label that is no class of the
        model, or no value where the model regresses. The message names file, line and
        column.
    """
    kind, _, rest = spec.partition(":")
    if kind == "sklearn":
        features_NF, names, column = scikit_learn.read(rest)
    elif kind == "csv":
        path, label = csv_path(spec)
        features_NF, names, column = csv_file.read(path, label)
    else:
        hint = suggest(kind, KINDS)
        if compressed.is_path(spec):
            hint = f" Did you mean csv:{compressed.shown(spec)}?"
        raise ValueError(f"'{compressed.shown(spec)}' is no table.{hint}")
    if classes is None and not label_names and labels.are_values(column):
        classes = 0
    if classes == 0:
        return Table(features_NF, labels.values(column), names, ())
    labels_N, label_names = labels.indices(column, label_names, classes)
    return Table(features_NF, labels_N, names, label_names)


def csv_path(spec: str) -> tuple[str, str]:
    """The path and the label column of `csv:PATH[#label]`.

    Raises:
      ValueError: the path names no file, or several.
    """
    pattern, _, label = spec.removeprefix("csv:").partition("#")
    paths = compressed.find(pattern)
    if len(paths) > 1:
        raise ValueError(
            f"'{compressed.shown(spec)}': {len(paths)} files, a table is one file."
        )
    return paths[0], label or "label"
