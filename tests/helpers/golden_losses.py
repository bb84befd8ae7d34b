"""Reads tests/trainers/losses/golden/NAME.npz, of "loss/tensor" [cases, ...]."""

import pathlib

import numpy as np

FOLDER = pathlib.Path(__file__).parents[1] / "trainers/losses/golden"


def cases(name):
    """Loss to its cases, each a dict of arrays."""
    found = {}
    with np.load(FOLDER / f"{name}.npz") as arrays:
        for key in arrays.files:
            loss, tensor = key.split("/")
            found.setdefault(loss, {})[tensor] = arrays[key]
    return {
        loss: [
            dict(zip(tensors, case, strict=True))
            for case in zip(*tensors.values(), strict=True)
        ]
        for loss, tensors in found.items()
    }
