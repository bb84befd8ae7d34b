"""Builds the model of a `Pretrained`, and checks and copies its tensors."""

import concurrent.futures
import contextlib
import dataclasses
import math
import os
from collections.abc import Iterator
from typing import Any

import keras
import ml_dtypes
import numpy as np

from zoo.directory import config_json, hf, uninitialized
from zoo.directory.pretrained import Loaded, Pretrained, Tensors
from zoo.layers import low_rank

FLOATS = (np.dtype(np.float32), np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))
_CHUNK = 2**18  # numbers that are copied at once: a megabyte
_RELEASE_AFTER = 32 * 2**20  # bytes to copy before pages of the files are released


def assemble(
    pretrained: Pretrained, config: Any = None, dtype_policy: str = "float32"
) -> Loaded:
    """Builds the model and sets its weights from the tensors.

    Names and shapes are checked before a tensor is read. No second model is built, so
    that memory holds the weights once.

    Args:
      pretrained: what an importer read.
      config: the Config to build, which may differ from the pretrained one in
        `dropout` only; None takes the pretrained one.
      dtype_policy: the name of Keras' policy for the layers of the model.

    Raises:
      ValueError: an unknown family; a tensor that is missing, unknown, not finite, or
        of another shape or dtype; a wrong digest; or a `config` of another model.
    """
    where, tensors = pretrained.where, pretrained.tensors
    found = config_of(pretrained)
    if config is not None:
        _check_config(config, found, where)
    shapes = pretrained.shapes
    body = getattr(found, "body", found)
    layers = getattr(body, "layers", 0) + getattr(body, "encoder_layers", 0)
    if layers > len(shapes):
        raise ValueError(
            f"{where}: the config says {layers} layers, but there are "
            f"{len(shapes)} tensors."
        )
    # The threads mostly wait for the system, which allocates the pages of a copy.
    pool = concurrent.futures.ThreadPoolExecutor(3)
    checked = pool.submit(pretrained.check)
    try:
        with _policy(dtype_policy):
            model, pending = uninitialized.build(found if config is None else config)
            family = pretrained.config["model_type"]
            mappings, variables = weight_mappings(model, family), by_path(model)
            names = _file_names(family, found, tensors, shapes, mappings, where)
            _check_shapes(mappings, variables, names, shapes, where)
            copies = pool.map(
                lambda m: _copy(tensors, m, variables[m.path].shape, names, where),
                mappings,
            )
            tokenizer = pretrained.tokenizer
            if callable(tokenizer):
                tokenizer = tokenizer()
            source_tokenizer = pretrained.source_tokenizer
            if callable(source_tokenizer):
                source_tokenizer = source_tokenizer()
            for mapping, copy in zip(mappings, copies, strict=True):
                uninitialized.initialise(variables[mapping.path], copy)
            loaded = {id(variables[mapping.path]) for mapping in mappings}
            for variable in pending:
                if id(variable) not in loaded:
                    uninitialized.initialise(variable)
        checked.result()
    except ValueError:
        checked.result()  # a wrong digest explains any other error
        raise
    finally:
        pool.shutdown(cancel_futures=True)
    return Loaded(model, tokenizer, pretrained.generation, source_tokenizer)


def config_of(pretrained: Pretrained) -> Any:
    """Returns the Config of the model.

    Raises:
      ValueError: an unknown family, a missing field, or a wrong value.
    """
    where = pretrained.where
    path = f"{where}/config.json" if os.path.isdir(where) else where
    return config_json.from_json(pretrained.config, path)


def weight_mappings(model, family: str) -> list[hf.WeightMapping]:
    """Returns the mapping of each variable of a model to tensors of a file.

    A model with a model_type of our own has one tensor for each variable, by its path.
    The low-rank adapters of a model have no mapping.
    """
    if not family.startswith(config_json.OWN):
        return hf.weight_mappings(family, model.config)
    added = {id(v) for x in low_rank.adapters(model).values() for v in x.weights}
    return [
        hf.WeightMapping(path, (path,), tuple(variable.shape[:1]))
        for path, variable in by_path(model).items()
        if id(variable) not in added
    ]


def by_path(model) -> dict[str, Any]:
    """Returns the weights of a model by paths that are equal in every process.

    Keras starts some paths with the name of the model, which has a running number.
    """
    return {v.path.removeprefix(f"{model.name}/"): v for v in model.weights}


@contextlib.contextmanager
def _policy(name) -> Iterator[None]:
    """Sets the global dtype policy, and restores it."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


# ------------------------------------------------------------------ checks


def _check_config(config, found, where):
    """Refuses a Config that differs from the pretrained one in more than dropout."""
    given, allowed = (config_json.to_json(without_dropout(c)) for c in (config, found))
    for field in {**given, **allowed}:
        if given.get(field) != allowed.get(field):
            raise ValueError(
                f"{where}: {field} {given.get(field)!r}; {allowed.get(field)!r} "
                "allowed, the value of the pretrained model."
            )


def without_dropout(config):
    """Returns a Config without dropout, in its body neither."""
    body = getattr(config, "body", None)
    fields = {} if body is None else {"body": without_dropout(body)}
    return dataclasses.replace(config, dropout=0.0, **fields)


def _file_names(family, config, tensors, shapes, mappings, where) -> dict[str, str]:
    """Returns the name in the file of each tensor that the mappings name."""
    wanted = {name for mapping in mappings for name in mapping.hf_names}
    names, copies, unknown = {}, {}, []
    for file_name in shapes:
        name = file_name
        if not family.startswith(config_json.OWN):
            name = hf.canonical(family, config, file_name)
        if name is None:
            copies[file_name] = hf.original(family, config, file_name)
        elif name not in wanted:
            unknown.append(file_name)
        elif name in names:
            raise ValueError(
                f"{where}: the tensors {names[name]} and {file_name} are the same one."
            )
        else:
            names[name] = file_name
    for copy, original in copies.items():
        # A file may have the embedding table by the name of a copy only.
        if original is not None:
            names.setdefault(original, copy)
    missing = sorted(wanted - names.keys())
    if missing:
        raise ValueError(f"{where}: the tensor {missing[0]} is missing.")
    if unknown:
        raise ValueError(f"{where}: unknown tensors: {', '.join(sorted(unknown)[:5])}.")
    for copy, original in copies.items():
        if original is not None:
            _check_copy(copy, names[original], tensors, where)
    return names


def _check_copy(copy, original, tensors, where):
    """Refuses a dropped tensor, such as a tied head, that is no copy of another."""
    if not np.array_equal(tensors[copy], tensors[original]):
        raise ValueError(
            f"{where}: the config ties the tensors {original} and {copy}, but they "
            "differ."
        )


def _check_shapes(mappings, variables, names, shapes, where):
    for mapping in mappings:
        wanted = mapping.shapes(tuple(variables[mapping.path].shape))
        for name, shape in zip(mapping.hf_names, wanted, strict=True):
            if shapes[names[name]] != shape:
                raise ValueError(
                    f"{where}: the tensor {names[name]} has shape "
                    f"{shapes[names[name]]}, expected {shape}."
                )


# ------------------------------------------------------------------ copies


def _copy(tensors, mapping, shape, names, where) -> np.ndarray:
    """Returns a variable's value in float32, copied from its tensors and checked."""
    parts = [tensors[names[name]] for name in mapping.hf_names]
    for name, part in zip(mapping.hf_names, parts, strict=True):
        if part.dtype not in FLOATS:
            raise ValueError(
                f"{where}: the tensor {names[name]} is of {part.dtype}; float32, "
                "float16 or bfloat16 allowed."
            )
    # Tensors that lie one after the other are copied without joining them first.
    if mapping.heads:
        values = [mapping.to_variable(parts)]
    else:
        values = [mapping.to_variable([part]) for part in parts]
    release = tensors.release if isinstance(tensors, Tensors) else lambda: None
    copy, start, copied = uninitialized.empty(shape), 0, 0
    for value in values:
        target = copy[start : start + len(value)] if copy.shape else copy
        start += len(value) if copy.shape else 0
        for to, source in _chunks(target, value):
            to[...] = source
            if not _finite(to):
                bad = [
                    name
                    for name, part in zip(mapping.hf_names, parts, strict=True)
                    if not np.isfinite(part).all()
                ]
                raise ValueError(f"{where}: the tensor {names[bad[0]]} has NaN or Inf.")
            copied += to.nbytes
            if copied > _RELEASE_AFTER:
                release()
                copied = 0
    release()
    return copy


def _chunks(*arrays):
    """Cuts arrays of one shape at the same rows, to fit the processor's cache."""
    arrays = [np.atleast_1d(array) for array in arrays]
    rows = max(1, _CHUNK * len(arrays[0]) // arrays[0].size)
    for start in range(0, len(arrays[0]), rows):
        yield [array[start : start + rows] for array in arrays]


def _finite(value) -> bool:
    # A sum reads the values once and writes nothing. It may overflow, though.
    with np.errstate(over="ignore", invalid="ignore"):
        return math.isfinite(value.sum()) or bool(np.isfinite(value).all())
