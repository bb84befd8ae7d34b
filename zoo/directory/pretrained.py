"""What any file of weights is read as, and the model that it becomes.

An importer turns its files into a `Pretrained`: Hugging Face's config and names, and
tensors that are read one at a time. `assemble` does the rest, and checks all of it.
"""

import concurrent.futures
import math
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras
import ml_dtypes
import numpy as np

from zoo import registry
from zoo.directory import hf, uninitialized
from zoo.directory.safetensors_file import Tensors
from zoo.generation_config import GenerationConfig
from zoo.text.tokenizer import Tokenizer

__all__ = ["Loaded", "Pretrained", "Tensors", "assemble", "table"]

_FLOATS = (np.dtype(np.float32), np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))
_PIECE = 2**18  # numbers that are copied at once: a megabyte
_LOOKED_AT = 32 * 2**20  # bytes that are copied until pages of the files are released


class Pretrained(NamedTuple):
    """A model as files hold it.

    Attributes:
      where: the folder or file, with which every message begins.
      config: the content of a config.json.
      tensors: float32, float16 or bfloat16 by Hugging Face's names; `Tensors` where
        reading them takes time or memory.
      tokenizer: a `Tokenizer`, or None for a model of features, or a function that
        reads it, which is called while threads copy the tensors.
      generation: the defaults of generation.
    """

    where: str
    config: dict[str, Any]
    tensors: Mapping[str, np.ndarray]
    tokenizer: Tokenizer | None | Callable[[], Tokenizer | None]
    generation: GenerationConfig


class Loaded(NamedTuple):
    """What a model directory holds.

    Attributes:
      model: a built keras.Model in float32.
      tokenizer: a `Tokenizer`, or None for a model of features.
      generation: the defaults of generation.
    """

    model: Any
    tokenizer: Tokenizer | None
    generation: GenerationConfig


def assemble(pretrained: Pretrained) -> Loaded:
    """Builds the model and gives it its weights, one after the other.

    Names and shapes are compared before a tensor is read or a weight is made.

    Raises:
      ValueError: the family is unknown, or a tensor is missing, unknown, of another
        shape or dtype, or not finite, or the tokenizer has more tokens than the model.
    """
    where, tensors = pretrained.where, pretrained.tensors
    config = _config(pretrained.config, where)
    shapes = _shapes(tensors)
    if getattr(config, "layers", 0) > len(shapes):
        raise ValueError(
            f"{where}: the config says {config.layers} layers, but there are "
            f"{len(shapes)} tensors."
        )
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    # What a copy costs is mostly the system's, which makes its pages.
    pool = concurrent.futures.ThreadPoolExecutor(2)
    try:
        model, unmade = uninitialized.build(config)
        family = pretrained.config["model_type"]
        rows, variables = table(model, family), by_path(model)
        names = _names(family, config, tensors, shapes, rows, where)
        _check_shapes(rows, variables, names, shapes, where)
        copies = pool.map(
            lambda row: _copy(tensors, row, variables[row.ours].shape, names, where),
            rows,
        )
        tokenizer = pretrained.tokenizer
        if callable(tokenizer):
            tokenizer = tokenizer()
        tokenizer = _fitting(tokenizer, config, where)
        for row, copy in zip(rows, copies, strict=True):
            uninitialized.initialise(variables[row.ours], copy)
        made = {id(variables[row.ours]) for row in rows}
        for variable in unmade:
            if id(variable) not in made:
                uninitialized.initialise(variable)
    finally:
        pool.shutdown(cancel_futures=True)
        keras.config.set_dtype_policy(policy)
    return Loaded(model, tokenizer, pretrained.generation)


def table(model, family: str) -> list[hf.Row]:
    """Which tensors make up each weight of a model.

    A family of our own has one tensor for each weight, by the same name.
    """
    if not family.startswith("zoo-"):
        return hf.rows(family, model.config)
    return [hf.Row(n, (n,), tuple(v.shape[:1])) for n, v in by_path(model).items()]


def by_path(model) -> dict[str, Any]:
    """The weights by paths that are the same in every process.

    Keras begins some with the model's name, which it numbers.
    """
    return {v.path.removeprefix(f"{model.name}/"): v for v in model.weights}


def _config(value, where):
    path = f"{where}/config.json" if os.path.isdir(where) else where
    family = value.get("model_type", "")
    if not isinstance(family, str) or not family.startswith("zoo-"):
        return hf.from_hf(value, path)
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


def _shapes(tensors):
    if isinstance(tensors, Tensors):
        return tensors.shapes
    return {name: tensor.shape for name, tensor in tensors.items()}


def _names(family, config, tensors, shapes, rows, where) -> dict[str, str]:
    """The file's name of each tensor of the table."""
    wanted = {name for row in rows for name in row.theirs}
    names, dropped, unknown = {}, [], []
    for theirs in shapes:
        name = theirs
        if not family.startswith("zoo-"):
            name = hf.canonical(family, config, theirs)
        if name is None:
            dropped.append(theirs)
        elif name not in wanted:
            unknown.append(theirs)
        elif name in names:
            raise ValueError(
                f"{where}: the tensors {names[name]} and {theirs} are the same one."
            )
        else:
            names[name] = theirs
    missing = sorted(wanted - names.keys())
    if missing:
        raise ValueError(f"{where}: the tensor {missing[0]} is missing.")
    if unknown:
        raise ValueError(f"{where}: unknown tensors: {', '.join(sorted(unknown)[:5])}.")
    tied = getattr(config, "tied_head", False)
    tables = [row.theirs[0] for row in rows if tied and row.ours == "embedding/weight"]
    for theirs in dropped:
        # Of what may be dropped only a tied head has the shape of the embedding.
        for embedding in (names[name] for name in tables):
            if shapes[theirs] == shapes[embedding] and not np.array_equal(
                tensors[theirs], tensors[embedding]
            ):
                raise ValueError(
                    f"{where}: the config ties the head to the embedding, but the "
                    f"tensors {theirs} and {embedding} differ."
                )
    return names


def _check_shapes(rows, variables, names, shapes, where):
    for row in rows:
        wanted = row.shapes(tuple(variables[row.ours].shape))
        for name, shape in zip(row.theirs, wanted, strict=True):
            if shapes[names[name]] != shape:
                raise ValueError(
                    f"{where}: the tensor {names[name]} has shape "
                    f"{shapes[names[name]]}, expected {shape}."
                )


def _copy(tensors, row, shape, names, where) -> np.ndarray:
    parts = [tensors[names[name]] for name in row.theirs]
    for name, part in zip(row.theirs, parts, strict=True):
        if part.dtype not in _FLOATS:
            raise ValueError(
                f"{where}: the tensor {names[name]} is of {part.dtype}; float32, "
                "float16 or bfloat16 allowed."
            )
    # one after the other where they lie so: without a second copy
    values = [row.to_ours(parts)] if row.heads else [row.to_ours([p]) for p in parts]
    release = tensors.release if isinstance(tensors, Tensors) else lambda: None
    copy, start, seen = uninitialized.empty(shape), 0, 0
    for value in values:
        room = copy[start : start + len(value)] if copy.shape else copy
        start += len(value) if copy.shape else 0
        for piece, theirs in _pieces(room, value):
            piece[...] = theirs
            if not _finite(piece):
                bad = [n for n, p in zip(row.theirs, parts, strict=True) if _bad(p)]
                raise ValueError(f"{where}: the tensor {names[bad[0]]} has NaN or Inf.")
            seen += piece.nbytes
            if seen > _LOOKED_AT:
                release()
                seen = 0
    release()
    return copy


def _pieces(*arrays):
    """Cuts arrays of one shape alike, into rows that fit the processor's cache."""
    arrays = [np.atleast_1d(array) for array in arrays]
    rows = max(1, _PIECE * len(arrays[0]) // arrays[0].size)
    for start in range(0, len(arrays[0]), rows):
        yield [array[start : start + rows] for array in arrays]


def _finite(value) -> bool:
    # A sum reads the values once and writes nothing; it may overflow, though.
    with np.errstate(over="ignore", invalid="ignore"):
        return math.isfinite(value.sum()) or not _bad(value)


def _bad(value) -> bool:
    return not np.isfinite(value).all()


def _fitting(tokenizer, config, where):
    """The tokenizer without the added tokens that the model has no rows for."""
    if tokenizer is None:
        return None
    try:
        return tokenizer.limited(getattr(config, "vocab_size", 0))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
