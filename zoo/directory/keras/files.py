"""Models of the registry as Keras saved them: NAME.keras, or NAME.weights.h5.

A .keras file says which model it holds; beside a .weights.h5 there is a config.json as
in a model directory. Nothing that a file names is looked up or run: the registry makes
the model, and Keras reads its weights only.
"""

import contextlib
import json
import math
import pathlib
import shutil
import tempfile
import zipfile

import numpy as np

from zoo import files, registry
from zoo.directory import hf, uninitialized
from zoo.directory.pretrained import Pretrained, by_path, table
from zoo.directory.tensorflow import h5_file
from zoo.generation_config import GenerationConfig
from zoo.text.importers import hf_files

_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
_LARGEST_JSON = 2**20


def read(path) -> Pretrained:
    """Reads a file.

    Raises:
      ValueError: it is broken, or not of a model of the registry.
    """
    path = pathlib.Path(path)
    if path.suffix == ".keras":
        with _unpacked(path) as (fields, weights):
            name = fields.get("name")
            value = {"model_type": f"zoo-{name}", "zoo": fields}
            tensors = _tensors(value, _config(value, str(path)), weights, str(path))
        return Pretrained(str(path), value, tensors, None, GenerationConfig())
    beside = path.parent / _CONFIG
    value = files.read_json(files.inside(path.parent, _CONFIG))
    files.inside(path.parent, path.name)
    tensors = _tensors(value, _config(value, str(beside)), path, str(path))
    folder = str(path.parent)
    return Pretrained(
        str(path), value, tensors, lambda: hf_files.load(folder), GenerationConfig()
    )


@contextlib.contextmanager
def _unpacked(path):
    """The fields of the model's Config in a .keras file, and where its weights are."""
    try:
        with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
            for name, most in (
                (_CONFIG, _LARGEST_JSON),
                (_WEIGHTS, path.stat().st_size),
            ):
                size = archive.getinfo(name).file_size
                if size > most:
                    raise ValueError(
                        f"{path}: {name} has {size} bytes, at most {most} allowed."
                    )
            weights = pathlib.Path(folder) / _WEIGHTS
            with archive.open(_WEIGHTS) as packed, open(weights, "wb") as file:
                shutil.copyfileobj(packed, file)
            yield _fields(json.loads(archive.read(_CONFIG)), path), weights
    except (zipfile.BadZipFile, KeyError, json.JSONDecodeError, RecursionError) as e:
        raise ValueError(f"{path}: cannot be read as a .keras file: {e}") from None


def _fields(value, path) -> dict:
    config = value.get("config") if isinstance(value, dict) else None
    fields = config.get("config") if isinstance(config, dict) else None
    name = fields.get("name") if isinstance(fields, dict) else None
    if not isinstance(name, str) or name not in registry.names():
        kind = value.get("class_name") if isinstance(value, dict) else value
        raise ValueError(
            f"{path}: holds a {kind!r:.80}, a model of the registry allowed: "
            f"{', '.join(registry.names())}."
        )
    return fields


def _config(value, where):
    fields = value.get("zoo")
    if not isinstance(fields, dict):
        return hf.from_hf(value, where)
    try:
        return registry.config(**fields)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: {error}") from None


def _tensors(value, config, path, where) -> dict[str, np.ndarray]:
    """The arrays of a file of weights by the names that a config.json stands for."""
    held = sum(array.nbytes for array in h5_file.arrays(path, where).values())
    model, unmade = uninitialized.build(config)
    wanted = 4 * sum(math.prod(variable.shape) for variable in model.weights)
    if wanted > 2 * held:  # held as float16 at least
        raise ValueError(f"{where}: holds {held} bytes, but the model has {wanted}.")
    for variable in unmade:
        uninitialized.initialise(variable)
    try:
        model.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        first = (str(error).splitlines() or [""])[0]
        raise ValueError(f"{where}: does not fit its model: {first:.200}") from None
    arrays, variables = {}, by_path(model)
    for row in table(model, value["model_type"]):
        arrays |= row.to_theirs(np.asarray(variables[row.ours].value))
    return arrays
