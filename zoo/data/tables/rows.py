"""The Table, and how rows are held out for evaluation."""

import dataclasses
import random

import numpy as np


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
    return _take(table, sorted(order[count:])), _take(table, sorted(order[:count]))


def reorder(table: Table, feature_names: tuple[str, ...]) -> Table:
    """The table with its features in another order.

    Where `feature_names` are not the same names, the table stays as it is: the layout
    of scikit-learn has no names of features.
    """
    if sorted(table.feature_names) != sorted(feature_names):
        return table
    columns = [table.feature_names.index(name) for name in feature_names]
    return dataclasses.replace(
        table,
        features_NF=table.features_NF[:, columns],
        feature_names=feature_names,
    )


def _take(table: Table, rows: list[int]) -> Table:
    """A table of the given rows alone."""
    return dataclasses.replace(
        table, features_NF=table.features_NF[rows], labels_N=table.labels_N[rows]
    )
