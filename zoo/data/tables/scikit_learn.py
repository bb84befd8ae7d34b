"""The small tables that come with scikit-learn."""

import numpy as np

from zoo.data.tables.rows import Table
from zoo.fields import one_of

NAMES = ("breast_cancer", "diabetes", "digits", "iris", "wine")


def read(name: str) -> Table:
    """One of the tables.

    Raises:
      ValueError: an unknown name.
    """
    one_of("sklearn", name, NAMES)
    from sklearn import datasets

    data = getattr(datasets, f"load_{name}")()
    classes = tuple(map(str, data.get("target_names", ())))
    return Table(
        data.data.astype(np.float32),
        data.target.astype(np.int32 if classes else np.float32),
        tuple(map(str, data.feature_names)),
        classes,
    )
