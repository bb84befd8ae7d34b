"""Pairs of answers, split by the id of their question."""

import numpy as np
from sklearn.model_selection import GroupShuffleSplit

from zoo.data import sources

_TEST, _SEED = 0.2, 0


def read(source: str) -> list[dict]:
    """The pairs.

    Raises:
      ValueError: a row is broken, or has a column less.
    """
    rows = []
    for where, example in sources.numbered(source):
        if isinstance(example, ValueError):
            raise example
        for name in ("id", "prompt", "chosen", "rejected"):
            if name not in example:
                raise ValueError(f"{where}: no column {name!r}.")
        rows.append({n: example[n] for n in ("id", "prompt", "chosen", "rejected")})
    return rows


def split(rows: list[dict]) -> tuple[list[dict], list[dict]]:
    """Training and test pairs, which share no id."""
    ids = [str(row["id"]) for row in rows]
    cut = GroupShuffleSplit(n_splits=1, test_size=_TEST, random_state=_SEED)
    train, test = next(cut.split(rows, groups=ids))
    return [rows[i] for i in train], [rows[i] for i in test]


def by_id(values_E, ids_E) -> np.ndarray:
    """The sum and the number of the values of each id, [I, 2]."""
    _, at_E = np.unique(ids_E, return_inverse=True)
    return np.stack([np.bincount(at_E, values_E), np.bincount(at_E)], 1)
