"""Writes the LoRA adapters of a model in the layout of PEFT; see `adapters`."""

import os
from typing import Any

import numpy as np

from zoo import files
from zoo.directory import (
    assemble,
    checksums,
    config_json,
    modules,
    safetensors_file,
)
from zoo.directory.adapter_heads import MODEL
from zoo.directory.adapters import BASE, CONFIG, DIGEST, WEIGHTS, digest_of
from zoo.directory.hf import peft
from zoo.directory.hf.peft import PREFIX
from zoo.lora_config import Lora


def save(directory, model, lora: Lora, base: str, replace: bool = False) -> None:
    """Writes the adapters of a model. After an error, no part of them stays.

    Args:
      directory: a folder that is absent or empty, unless `replace`.
      model: a model with adapters.
      lora: their options.
      base: the folder of the base model, or its name on the Hub.
      replace: whether to replace an older folder.

    Raises:
      ValueError: the folder is not empty, or cannot be written.
    """
    every = modules.of(model)
    adapted = [m for m in every if _index(m) is not None]
    tensors = {f"{m.name}.lora_{x}.weight": _value(m, x) for m in adapted for x in "AB"}
    saved = _outside(model)
    tensors |= saved
    tensors = {f"{PREFIX}{name}": tensors[name] for name in sorted(tensors)}
    config = peft.write(
        lora,
        model.config.task,
        os.path.abspath(base) if os.path.lexists(base) else base,
        modules.short_names(adapted, every),
        sorted({modules.module_of(name).removesuffix(".bias") for name in saved}),
        any(m.mapping.transposed for m in adapted),
    )
    about: dict[str, Any] = {DIGEST: digest_of(_base_weights(adapted))}
    if hasattr(model, "body"):  # a head, of which PEFT's files name no labels
        about[MODEL] = config_json.to_json(model.config)
    files.check_room(directory, sum(t.nbytes for t in tensors.values()))
    with files.staged(directory, replace) as new:
        files.write_json(new / CONFIG, config)
        shapes = {name: tensor.shape for name, tensor in tensors.items()}
        safetensors_file.write(new / WEIGHTS, shapes, tensors.items())
        files.write_json(new / BASE, about)
        checksums.write(new, (CONFIG, WEIGHTS, BASE))


def _index(module) -> int | None:
    """Which of the parts of its weight's adapters a module is; None for none."""
    adapter = module.place.adapter
    parts = () if adapter is None else adapter.parts
    return parts.index(module.part) if module.part in parts else None


def _value(module, factor) -> np.ndarray:
    """A or B of a module, as PEFT stores it."""
    adapter, i = module.place.adapter, _index(module)
    if factor == "A":
        return np.asarray(adapter.downs[i].value, np.float32)
    return module.to_hf(np.asarray(adapter.ups[i].value, np.float32))


def _outside(model) -> dict[str, np.ndarray]:
    """The weights outside of a model's body, by the names of their tensors."""
    body = getattr(model, "body", model)
    inside = {id(v) for v in body.weights}
    variables, found = assemble.by_path(model), {}
    family = config_json.to_json(model.config)["model_type"]
    for mapping in assemble.weight_mappings(model, family):
        variable = variables[mapping.path]
        if id(variable) not in inside:
            found |= mapping.to_hf(np.asarray(variable.value, np.float32))
    return {name.replace("/", "."): value for name, value in found.items()}


def _base_weights(adapted):
    """Yields the name and the value of each adapted tensor of the base."""
    for module in adapted:
        value = np.asarray(module.place.variable.value, np.float32)
        for name, tensor in module.mapping.to_hf(value).items():
            if name.removeprefix(modules.BODY) == module.tensor:
                yield module.tensor, tensor
