"""Checkpoints: what a run needs to go on, bit for bit.

    checkpoints/00000100/state.safetensors   what learns, slots and random streams
    checkpoints/00000100/state.json          the step, what the loop remembers, and the
                                             fingerprint of the data
    checkpoints/00000100/SHA256SUMS          of both, as `sha256sum -c` reads them

A checkpoint appears by a rename after all its bytes are on disk. The checksums find
files that were damaged later; then the checkpoint before it is used.
"""

import hashlib
import json
import math
import pathlib
import shutil
from typing import Any

import numpy as np
import safetensors

from zoo import files
from zoo.data import fingerprints
from zoo.data.fingerprints import Fingerprint

_KEPT = 2
_DATA, _STATE, _SUMS = "state.safetensors", "state.json", "SHA256SUMS"
# safetensors' names of the types that Keras and TensorFlow train with
_TYPES = {
    "bool": "BOOL",
    "float32": "F32",
    "float64": "F64",
    "int32": "I32",
    "int64": "I64",
    "uint32": "U32",
    "uint64": "U64",
}


def named(owners: dict[str, list[Any]]) -> dict[str, Any]:
    """The variables of each owner, each once, by names that every process repeats.

    Keras' own paths do not serve: Keras numbers random streams by what the process has
    built before.
    """
    seen: set[int] = set()
    found = {}
    for owner, variables in owners.items():
        for i, variable in enumerate(variables):
            if id(variable) not in seen:
                seen.add(id(variable))
                found[f"{owner}/{i:05d}/{variable.name}"] = variable
    return found


def save(
    folder,
    step: int,
    variables: dict[str, Any],
    state: dict[str, Any],
    data: Fingerprint,
) -> None:
    """Writes the checkpoint of a step and removes those that are too old.

    Args:
      folder: `checkpoints` of the workdir.
      step: how many steps are done, which is also the feed's position.
      variables: see `named`.
      state: JSON-able: what the loop remembers.
      data: the fingerprint of the run's data.
    """
    folder = pathlib.Path(folder)
    with files.staged(folder / f"{step:08d}", replace=True) as new:
        sums = {_DATA: _write(new / _DATA, variables)}
        files.write_json(new / _STATE, {"step": step, "loop": state, "data": data})
        sums[_STATE] = _sum(new / _STATE)
        text = "".join(f"{digest}  {name}\n" for name, digest in sums.items())
        (new / _SUMS).write_text(text, encoding="utf-8")
    for old in _all(folder)[:-_KEPT]:
        shutil.rmtree(old)


def restore(
    folder, variables: dict[str, Any], data: Fingerprint
) -> tuple[int, dict[str, Any]]:
    """Puts the newest intact checkpoint into the variables.

    Args:
      folder: `checkpoints` of the workdir.
      variables: see `named`.
      data: the fingerprint of the run's data as they are now.

    Returns:
      The step and the loop's state; (0, {}) where there is no checkpoint.

    Raises:
      ValueError: no checkpoint is intact, it holds the variables of another run, or
        the data changed since it was written.
    """
    errors = []
    for path in reversed(_all(folder)):
        try:
            state = _verified(path)
        except (OSError, ValueError, KeyError) as error:
            errors.append(f"{path}: {error}")
            print(f"warning: checkpoint skipped: {errors[-1]}")
            continue
        changes = fingerprints.changes(state["data"], data)
        if changes:
            raise ValueError(
                f"{path}: the data of the run changed: {'; '.join(changes)}. Restore "
                "them, or begin a new workdir."
            )
        with safetensors.safe_open(path / _DATA, "np") as tensors:
            odd = sorted(set(tensors.keys()) ^ variables.keys())
            if odd:
                raise ValueError(f"{path}: is of another run; differs in {odd[:3]}.")
            for name, variable in variables.items():
                variable.assign(tensors.get_tensor(name))
        return state["step"], state["loop"]
    if errors:
        raise ValueError(f"{folder}: no checkpoint is intact: {'; '.join(errors)}")
    return 0, {}


def data_of(folder) -> Fingerprint:
    """The fingerprint of the data that a run learnt from; {} without a checkpoint."""
    for path in reversed(_all(folder)):
        try:
            return _verified(path)["data"]
        except (OSError, ValueError, KeyError):
            continue
    return {}


def _write(path, variables) -> str:
    """Writes a safetensors file, one variable in memory at a time.

    Returns:
      The SHA-256 of the file.
    """
    header, end = {}, 0
    for name, variable in variables.items():
        dtype = np.dtype(variable.dtype)
        begin, end = end, end + dtype.itemsize * math.prod(variable.shape)
        header[name] = {
            "dtype": _TYPES[dtype.name],
            "shape": list(variable.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    digest = hashlib.sha256()
    with open(path, "wb") as file:

        def put(data):
            digest.update(data)
            file.write(data)

        put(len(text).to_bytes(8, "little") + text)
        for variable in variables.values():
            put(np.ascontiguousarray(variable.value).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _verified(path) -> dict[str, Any]:
    """The content of state.json, after both files were compared with their sums."""
    wanted = {_DATA: _sum(path / _DATA), _STATE: _sum(path / _STATE)}
    lines = (path / _SUMS).read_text(encoding="utf-8").splitlines()
    found = {name: digest for digest, _, name in (x.partition("  ") for x in lines)}
    for name, digest in wanted.items():
        if found.get(name) != digest:
            raise ValueError(f"the checksum of {name} differs.")
    state = files.read_json(path / _STATE)
    if state["step"] != int(path.name) or not {"loop", "data"} <= state.keys():
        raise ValueError(f"holds step {state['step']} and {sorted(state)}.")
    return state


def _sum(path) -> str:
    """The SHA-256 of a file, which is read in parts."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _all(folder) -> list[pathlib.Path]:
    """The checkpoints, from the oldest to the newest."""
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.name.isdecimal())
