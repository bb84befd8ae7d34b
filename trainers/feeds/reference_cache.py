"""Log-probabilities of a reference, computed once and kept in the workdir.

The file is a safetensors file. Its metadata hold the SHA-256 of the weights and of the
rows that the numbers belong to.
"""

import hashlib
import pathlib
from collections.abc import Callable, Iterable

import numpy as np
import safetensors
import safetensors.numpy

from zoo import files

_ABOUT = {"model": "the model before the first step", "rows": "the data"}


def read_or_compute(
    path,
    fingerprint: dict[str, str],
    compute: Callable[[], dict[str, np.ndarray]],
) -> dict[str, np.ndarray]:
    """The arrays of a file; computes and writes them where there is none.

    Args:
      path: of the file.
      fingerprint: "model" and "rows": see `of_weights` and `of_rows`.
      compute: makes the arrays.

    Raises:
      ValueError: the file is broken, or belongs to another model or to other data.
    """
    path = pathlib.Path(path)
    if not path.exists():
        arrays = compute()
        with files.staged_file(path) as new:
            safetensors.numpy.save_file(arrays, new, metadata=fingerprint)
        return arrays
    try:
        with safetensors.safe_open(path, "np") as tensors:
            found = tensors.metadata() or {}
            arrays = {name: tensors.get_tensor(name) for name in tensors.keys()}
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"{path}: is broken ({error}); remove it to compute it again."
        ) from None
    changed = [about for k, about in _ABOUT.items() if found.get(k) != fingerprint[k]]
    if changed:
        raise ValueError(
            f"{path}: {' and '.join(changed)} changed since these log-probabilities "
            "were computed. Restore what changed, or begin a new workdir."
        )
    return arrays


def of_weights(model) -> str:
    """The SHA-256 of a model's weights."""
    digest = hashlib.sha256()
    for variable in model.weights:
        digest.update(
            np.ascontiguousarray(variable.value).reshape(-1).view(np.uint8).data
        )
    return digest.hexdigest()


def of_rows(parts: Iterable) -> str:
    """The SHA-256 of `zoo.data.formats.Rows` with groups."""
    digest = hashlib.sha256()
    for rows in parts:
        for array in (rows.tokens, rows.weights, rows.starts, rows.groups):
            digest.update(f"{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).view(np.uint8).data)
    return digest.hexdigest()
