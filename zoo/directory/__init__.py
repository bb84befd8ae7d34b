"""Model directories: the zoo's only weight format.

    config.json              the family and its fields
    model.safetensors        the weights, float32
    tokenizer.json           for models of text
    tokenizer_config.json
    generation_config.json   the defaults of generation

A Transformer LM that GPT-2 or Llama can express is written as one, so that other
programs read it unchanged. Every other model has the model_type "zoo-<name>" and its
Config in the field "zoo". Nothing in a directory can run code.
"""

import pathlib
from typing import Any, NamedTuple

import keras
import numpy as np
import safetensors.numpy

from zoo import models, registry
from zoo.directory import files, hf
from zoo.directory.generation import Generation
from zoo.text import tokenizer as tokenizers

__all__ = ["Generation", "Loaded", "fields_of", "load", "save"]


class Loaded(NamedTuple):
    """What a model directory holds.

    Attributes:
      model: a built keras.Model in float32.
      tokenizer: a `Tokenizer`, or None for a model of features.
      generation: the defaults of generation.
    """

    model: Any
    tokenizer: tokenizers.Tokenizer | None
    generation: Generation


def save(directory, model, tokenizer=None, generation=None, replace=False) -> None:
    """Writes a model directory, whole or not at all.

    Args:
      directory: absent or empty, unless `replace`.
      model: a model of the registry.
      tokenizer: a `Tokenizer`; needed by models of text.
      generation: a `Generation`; its defaults where None.
      replace: whether an older model directory is swapped for this one.

    Raises:
      ValueError: the folder is not empty.
    """
    values = {
        name: np.asarray(v.value, np.float32) for name, v in _variables(model).items()
    }
    config = fields_of(model.config)
    if "zoo" not in config:
        values = _to_theirs(hf.rows(config["model_type"], model.config), values)
    end_id = None if tokenizer is None else tokenizer.end_id
    if tokenizer is not None:
        config |= {"bos_token_id": end_id, "eos_token_id": end_id}
    with files.staged(directory, replace) as folder:
        files.write_json(folder / "config.json", config)
        safetensors.numpy.save_file(
            {k: np.ascontiguousarray(v) for k, v in values.items()},
            folder / "model.safetensors",
            {"format": "pt"},  # what transformers asks for
        )
        if tokenizer is not None:
            tokenizer.save(folder)
            generation = (generation or Generation()).to_json(end_id)
            files.write_json(folder / "generation_config.json", generation)


def fields_of(config) -> dict[str, Any]:
    """What config.json says of a model's Config."""
    if isinstance(config, models.transformer_lm.Config):
        fields = hf.to_hf(config)
        if fields is not None:
            return fields
    name = registry.name_of(config)
    return {"model_type": f"zoo-{name}", "zoo": registry.to_fields(config)}


def load(directory) -> Loaded:
    """Reads a model directory into a model that computes in float32.

    Raises:
      ValueError: a file is missing or not what it should be, the family is unknown,
        or a tensor is missing, extra, of another shape, or not finite.
    """
    folder = pathlib.Path(directory)
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such model directory.")
    value = files.read_json(folder / "config.json")
    config = _config(value, folder / "config.json")
    tensors = _tensors(folder / "model.safetensors")
    if getattr(config, "layers", 0) > len(tensors):
        raise ValueError(
            f"{folder}: config.json says {config.layers} layers, model.safetensors "
            f"has {len(tensors)} tensors."
        )
    family = value["model_type"]
    family = None if family.startswith("zoo-") else family
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        # a model without memory first: config.json may ask for any amount of it
        with keras.StatelessScope(initialize_variables=False):
            outline = registry.build_config(config)
        values = _values(outline, tensors, family, folder / "model.safetensors")
        model = registry.build_config(config)
    finally:
        keras.config.set_dtype_policy(policy)
    for name, variable in _variables(model).items():
        variable.assign(values[name])
    if not (folder / "tokenizer.json").exists():
        return Loaded(model, None, Generation())
    tokenizer = tokenizers.load(folder)
    if tokenizer.vocab_size > getattr(config, "vocab_size", 0):
        raise ValueError(
            f"{folder}: tokenizer.json has {tokenizer.vocab_size} tokens, the model "
            f"{getattr(config, 'vocab_size', 0)}."
        )
    generation, path = Generation(), folder / "generation_config.json"
    if path.exists():
        generation = Generation.from_json(files.read_json(path), str(path))
    return Loaded(model, tokenizer, generation)


def _variables(model) -> dict[str, Any]:
    """The weights by paths that are the same in every process.

    Keras begins some with the model's name, which it numbers.
    """
    return {v.path.removeprefix(f"{model.name}/"): v for v in model.weights}


def _config(value, path):
    family = value.get("model_type", "")
    if not isinstance(family, str) or not family.startswith("zoo-"):
        return hf.from_hf(value, str(path))
    fields = value.get("zoo")
    if not isinstance(fields, dict):
        raise ValueError(f"{path}: the field 'zoo' is missing or not an object.")
    fields = dict(fields)
    name = fields.pop("name", None)
    if not isinstance(name, str) or family != f"zoo-{name}":
        raise ValueError(
            f"{path}: model_type {family!r}, but the config's is {name!r}."
        )
    try:
        return registry.config(name, **fields)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _tensors(path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file.")
    try:
        return safetensors.numpy.load_file(path)
    except Exception as error:  # the library has one class for each kind of damage
        raise ValueError(f"{path}: cannot be read as safetensors: {error}") from None


def _to_theirs(table, values):
    out = {}
    for row in table:
        parts = np.split(values.pop(row.ours), np.cumsum(row.sizes)[:-1])
        for name, part in zip(row.theirs, parts, strict=True):
            out[name] = part.T if row.transposed else part
    assert not values, f"not in the table: {sorted(values)}"
    return out


def _values(model, tensors, family, path) -> dict[str, np.ndarray]:
    """The value of each variable, every tensor checked by name, shape and value."""
    variables, values = _variables(model), {}
    if family:
        table = hf.rows(family, model.config)
    else:
        table = [hf.Row(name, (name,), v.shape[:1]) for name, v in variables.items()]
    for row in table:
        variable = variables[row.ours]
        parts = []
        for name, size in zip(row.theirs, row.sizes, strict=True):
            if name not in tensors:
                raise ValueError(f"{path}: the tensor {name} is missing.")
            part = tensors.pop(name)
            part = part.T if row.transposed else part
            wanted = (size, *variable.shape[1:])
            if part.shape != wanted:
                raise ValueError(
                    f"{path}: the tensor {name} has shape {part.shape}, expected "
                    f"{wanted}{' transposed' if row.transposed else ''}."
                )
            parts.append(part)
        value = np.concatenate(parts) if len(parts) > 1 else parts[0]
        if not np.isfinite(value).all():
            raise ValueError(f"{path}: the tensor {row.theirs[0]} has NaN or Inf.")
        values[row.ours] = value
    if tensors:
        raise ValueError(f"{path}: unknown tensors: {', '.join(sorted(tensors)[:5])}.")
    return values
