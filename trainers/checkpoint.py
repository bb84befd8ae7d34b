"""Checkpoints: what a run needs to go on, bit for bit.

    checkpoints/00000100/state.safetensors   weights, slots and random streams
    checkpoints/00000100/state.json          the step and what the loop remembers

A checkpoint appears by a rename after all its bytes are on disk; the sum in state.json
finds a file that was damaged later, and then the one before it is used.
"""

import hashlib
import pathlib
import shutil
from typing import Any

import numpy as np
import safetensors.numpy

from zoo import files

_KEPT = 2


def variables_of(cast, optimizer) -> dict[str, Any]:
    """All variables that change in training, by a name that is the same next time.

    Not by their paths: Keras numbers those of random streams by what the process has
    built before.
    """
    owners = {**cast, "optimizer": optimizer}
    return {
        f"{owner}/{i:05d}/{v.name}": v
        for owner, holder in owners.items()
        for i, v in enumerate(holder.variables)
    }


def save(folder, step: int, variables, state: dict[str, Any]) -> None:
    """Writes the checkpoint of a step and removes those that are too old.

    Args:
      folder: `checkpoints` of the workdir.
      step: how many steps are done, which is also the feed's position.
      variables: see `variables_of`.
      state: JSON-able: what the loop remembers.
    """
    folder = pathlib.Path(folder)
    with files.staged(folder / f"{step:08d}", replace=True) as new:
        data = new / "state.safetensors"
        tensors = {k: np.asarray(v.value) for k, v in variables.items()}
        safetensors.numpy.save_file(tensors, data)
        digest = hashlib.sha256(data.read_bytes()).hexdigest()
        files.write_json(
            new / "state.json", {"step": step, "sha256": digest, "loop": state}
        )
    for old in _all(folder)[:-_KEPT]:
        shutil.rmtree(old)


def restore(folder, variables) -> tuple[int, dict[str, Any]]:
    """Puts the newest whole checkpoint into the variables.

    Returns:
      The step and the loop's state; (0, {}) where there is no checkpoint.

    Raises:
      ValueError: checkpoints are there, and none is whole.
    """
    errors = []
    for path in reversed(_all(folder)):
        try:
            state = files.read_json(path / "state.json")
            data = (path / "state.safetensors").read_bytes()
            if hashlib.sha256(data).hexdigest() != state["sha256"]:
                raise ValueError(f"{path}/state.safetensors: the checksum differs.")
        except (OSError, ValueError, KeyError) as error:
            errors.append(str(error))
            print(f"warning: checkpoint passed over: {error}")
            continue
        tensors = safetensors.numpy.load(data)
        if tensors.keys() != variables.keys():
            odd = sorted(tensors.keys() ^ variables.keys())
            raise ValueError(f"{path}: is of another run; differs in {odd[:3]}.")
        for name, variable in variables.items():
            variable.assign(tensors[name])
        return state["step"], state["loop"]
    if errors:
        raise ValueError(f"{folder}: no checkpoint is whole: {'; '.join(errors)}")
    return 0, {}


def _all(folder) -> list[pathlib.Path]:
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.name.isdecimal())
