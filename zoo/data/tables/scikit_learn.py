"""The small tables that come with scikit-learn."""

import numpy as np

from zoo.data.tables.labels import Column
from zoo.fields import one_of

NAMES = ("breast_cancer", "diabetes", "digits", "iris", "wine")


def read(name: str) -> tuple[np.ndarray, tuple[str, ...], Column]:
    """Reads one of the tables.

    Returns:
      The features as float32 [N, F], their names, and the labels.

    Raises:
      ValueError: an unknown name.
    """
    one_of("sklearn", name, NAMES)
    from sklearn import datasets

    data = getattr(datasets, f"load_{name}")()
    classes = tuple(map(str, data.get("target_names", ())))
    labels = data.target.tolist()
    cells = [classes[label] if classes else repr(float(label)) for label in labels]
    column = Column(cells, lambda i: f"sklearn:{name}, row {i}", classes)
    features_NF = data.data.astype(np.float32)
    return features_NF, tuple(map(str, data.feature_names)), column
