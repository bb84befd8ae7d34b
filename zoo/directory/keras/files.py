"""Models of the registry as Keras saved them: NAME.keras, or NAME.weights.h5.

A .keras file contains its model's Config. A .weights.h5 file needs the config.json of a
model directory beside it. No class that a file names is looked up or run: the registry
builds the model, and Keras only reads the weights.
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
from zoo.directory import assemble, config_json, uninitialized
from zoo.directory.pretrained import Pretrained
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
            value = {"model_type": f"{config_json.OWN}{fields['name']}", "zoo": fields}
            config = config_json.from_json(value, str(path))
            tensors = _tensors(value, config, weights, str(path))
        return Pretrained(str(path), value, tensors, None, GenerationConfig())
    value = files.read_json(files.inside(path.parent, _CONFIG))
    config = config_json.from_json(value, str(path.parent / _CONFIG))
    files.inside(path.parent, path.name)
    tensors = _tensors(value, config, path, str(path))
    folder = str(path.parent)
    return Pretrained(
        str(path), value, tensors, lambda: hf_files.load(folder), GenerationConfig()
    )


@contextlib.contextmanager
def _unpacked(path):
    """Unpacks a .keras file: the fields of the Config, and the path of the weights."""
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
    """Returns the fields of our Config in the config.json of a .keras file."""
    config = value.get("config") if isinstance(value, dict) else None
    fields = config.get("config") if isinstance(config, dict) else None
    name = fields.get("name") if isinstance(fields, dict) else None
    if not isinstance(fields, dict) or name not in registry.names():
        kind = value.get("class_name") if isinstance(value, dict) else value
        raise ValueError(
            f"{path}: holds a {kind!r:.80}, a model of the registry allowed: "
            f"{', '.join(registry.names())}."
        )
    return fields


def _tensors(value, config, path, where) -> dict[str, np.ndarray]:
    """Reads a .weights.h5 file; returns arrays by the names of a model directory."""
    size = sum(array.nbytes for array in h5_file.arrays(path, where).values())
    model, pending = uninitialized.build(config)
    wanted = 4 * sum(math.prod(variable.shape) for variable in model.weights)
    if wanted > 2 * size:  # the file has float16 or a larger type
        raise ValueError(f"{where}: holds {size} bytes, but the model has {wanted}.")
    for variable in pending:
        uninitialized.initialise(variable)
    try:
        model.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        first = (str(error).splitlines() or [""])[0]
        raise ValueError(f"{where}: does not fit its model: {first:.200}") from None
    arrays, variables = {}, assemble.by_path(model)
    for mapping in assemble.weight_mappings(model, value["model_type"]):
        arrays |= mapping.to_hf(np.asarray(variables[mapping.path].value))
    return arrays
