"""Directories of LoRA adapters, in the layout of PEFT.

    adapter_config.json          the options, and where the base model is
    adapter_model.safetensors    A and B of each module, and what was trained in full
    base.json                    a digest of the weights that the adapters belong to,
                                 and the config.json of a model with a head
    SHA256SUMS                   the digests of all these, see `checksums`

PEFT writes the first two; `adapter_writer` writes all. Reading gives the base model
with the adapters merged. Adapters of a classifier bring the head that a base lacks; of
a head that PEFT trained, the number of labels is known, but not their names.
"""

import hashlib
import os
import pathlib
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from zoo import files
from zoo.directory import (
    adapter_heads,
    assemble,
    checksums,
    config_json,
    folder,
    hf,
    modules,
    safetensors_file,
)
from zoo.directory.hf import peft
from zoo.directory.hf.peft import PREFIX
from zoo.directory.pretrained import Pretrained, Tensors

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
BASE = "base.json"
DIGEST = "adapted_weights_sha256"
_POOLER = "pooler."  # of BERT, whose output no model of the zoo uses
_FACTOR = re.compile(r"(.+)\.lora_([AB])\.weight")


def is_adapter(path: pathlib.Path) -> bool:
    """Returns whether a folder holds adapters."""
    return os.path.lexists(path / CONFIG)


def base_of(path: pathlib.Path) -> tuple[Any, str | None]:
    """Returns the source of the base model of a folder of adapters, and its revision.

    A relative path is looked for in the folder of the adapters, then as it is.

    Raises:
      ValueError: adapter_config.json is broken or not supported, or the base is itself
        a folder of adapters.
    """
    config = _config(path)
    inside = path / config.base
    source = inside if os.path.lexists(inside) else config.base
    if is_adapter(pathlib.Path(source)):
        raise ValueError(
            f"{path / CONFIG}: base_model_name_or_path {config.base} holds adapters "
            "too; merge them by `python -m zoo.convert` first."
        )
    return source, config.revision


def read(
    path: pathlib.Path, read_base: Callable[[Any, str | None], Pretrained]
) -> Pretrained:
    """Reads a folder of adapters and its base model; weights when they are needed.

    Args:
      path: the folder.
      read_base: reads a source.

    Raises:
      ValueError: a file is missing or broken, the base is missing, or the adapters do
        not fit it.
    """
    checksums.check(path, CONFIG)
    config = _config(path)
    if not os.path.lexists(path / WEIGHTS):
        for other in sorted(path.iterdir()):
            safetensors_file.refuse_pickle(other)
    tensors = safetensors_file.open_file(files.inside(path, WEIGHTS))
    source, revision = base_of(path)
    try:
        base = read_base(source, revision)
    except ValueError as error:
        raise ValueError(f"{path}: its base model cannot be read: {error}") from None
    about = {}
    if os.path.lexists(path / BASE):
        about = files.read_json(files.inside(path, BASE))
    wanted = about.get(DIGEST)
    base = adapter_heads.with_head(
        path, config, tensors, base, about.get(adapter_heads.MODEL)
    )
    merged = _Merged(path, config, tensors, base)
    own = folder.read_tokenizer(path)

    def check():
        checksums.check(path, WEIGHTS)
        base.check()
        if wanted is not None and merged.digest() != wanted:
            raise ValueError(
                f"{path}: belongs to another base model: the weights of {source} are "
                f"not those that {BASE} has the digest of."
            )

    return base._replace(
        tensors=Tensors(merged.shapes, merged.read, merged.release),
        tokenizer=base.tokenizer if own is None else own,
        check=check,
    )


def _config(path) -> peft.AdapterConfig:
    """Reads the adapter_config.json of a folder."""
    value = files.read_json(files.inside(path, CONFIG))
    return peft.read(value, str(path / CONFIG))


class _Merged:
    """The tensors of a base model with adapters merged, each when it is asked for."""

    def __init__(self, path, config, tensors, base):
        self.path, self.config, self.tensors, self.base = path, config, tensors, base
        found = assemble.config_of(base)
        family = base.config["model_type"]
        own = family.startswith(config_json.OWN)
        self.family = None if own else (family, found)
        self.names = {self._key(name): name for name in base.shapes}
        self.transposed = self._transposed()
        self.factors: dict[str, dict[str, str]] = {}  # by the base's tensor
        self.saved: dict[str, str] = {}
        self.shapes = dict(base.shapes)  # and those of a new head
        self.wanted = set() if own else self._wanted()
        for name in tensors:
            self._add(name)
        if not self.factors:
            raise ValueError(f"{path}: {WEIGHTS} has no lora_A and lora_B.")
        for name, factors in self.factors.items():
            self._check(name, factors)

    def _key(self, name) -> str | None:
        """What tensors of the base and of the adapters have in common; None for none.

        It is the name in the weight mappings; for a model of our own, the module.
        """
        if self.family is None:
            return modules.module_of(name)
        return hf.canonical(*self.family, name)

    def _wanted(self) -> set[str]:
        """The names of all tensors that a model of a family needs."""
        assert self.family is not None
        if _layers(self.family[1]) > len(self.base.shapes):
            return set()  # such a base is refused when it is built
        mappings = hf.weight_mappings(*self.family)
        return {name for mapping in mappings for name in mapping.hf_names}

    def _transposed(self) -> set[str]:
        """The base's tensors that are stored [in, out]."""
        if self.family is None:
            return {name for name in self.base.shapes if name.endswith("kernel")}
        if _layers(self.family[1]) > len(self.base.shapes):
            return set()  # such a base is refused when it is built
        return {
            self.names[name]
            for mapping in hf.weight_mappings(*self.family)
            for name in mapping.hf_names
            if mapping.transposed and name in self.names
        }

    def _add(self, name):
        """Finds what a tensor of the adapters changes."""
        known = name.removeprefix(PREFIX)
        match = _FACTOR.fullmatch(known)
        tensor = f"{match[1]}.weight" if match else known
        key = self._key(tensor)
        if key is None and _POOLER in known:
            return
        target = None if key is None else self.names.get(key)
        if target is None and match is None and key and key in self.wanted:
            self.saved[key] = name  # of a head that the base lacks
            self.shapes[key] = self.tensors.shapes[name]
            return
        if target is None or not name.startswith(PREFIX):
            what = "is of no linear map" if match else "is no weight"
            raise ValueError(
                f"{self.path}: the tensor {name} {what} of the base model "
                f"{self.base.where}. Adapters beside a new head are read from the "
                "merged model."
            )
        if match:
            self.factors.setdefault(target, {})[match[2]] = name
        elif self.tensors.shapes[name] != self.base.shapes[target]:
            raise self._misfit(name, self.base.shapes[target])
        else:
            self.saved[target] = name

    def _check(self, target, factors):
        """Compares the shapes of A and B with the weight's."""
        for factor in "AB":
            if factor not in factors:
                other = next(iter(factors.values()))
                raise ValueError(
                    f"{self.path}: {other} has no lora_{factor} beside it."
                )
        shape = self.base.shapes[target]
        shape = shape[::-1] if target in self.transposed else shape
        rank = self.config.rank_of(self._module(factors["A"]))
        for factor, wanted in (("A", (rank, *shape[1:])), ("B", (*shape[:1], rank))):
            name = factors[factor]
            if len(shape) != 2 or self.tensors.shapes[name] != wanted:
                raise self._misfit(name, wanted)

    def _misfit(self, name, wanted):
        """The error of a tensor with another shape."""
        return ValueError(
            f"{self.path}: the tensor {name} has shape {self.tensors.shapes[name]}, "
            f"but its base {self.base.where} and its {CONFIG} need {wanted}."
        )

    def _module(self, name):
        """The name of the module of a factor, as PEFT matches patterns with it."""
        match = _FACTOR.fullmatch(name.removeprefix(PREFIX))
        assert match, name
        return match[1]

    def read(self, name) -> np.ndarray:
        """Returns a tensor of the merged model."""
        if name in self.saved:
            return self.tensors[self.saved[name]]
        value, factors = self.base.tensors[name], self.factors.get(name)
        if factors is None:
            return value
        down, up = (self._factor(factors[x]) for x in "AB")
        delta = self.config.scale_of(self._module(factors["A"])) * (up @ down)
        delta = delta.T if name in self.transposed else delta
        return np.asarray(value, np.float32) + delta

    def _factor(self, name) -> np.ndarray:
        """A or B in float32."""
        value = self.tensors[name]
        if value.dtype not in assemble.FLOATS:
            raise ValueError(
                f"{self.path}: the tensor {name} is of {value.dtype}; float32, float16 "
                "or bfloat16 allowed."
            )
        return np.asarray(value, np.float32)

    def release(self) -> None:
        """Releases the memory of what can be read again."""
        for tensors in (self.tensors, self.base.tensors):
            if isinstance(tensors, Tensors):
                tensors.release()

    def digest(self) -> str:
        """The digest of the base's tensors that have adapters."""
        before = ""
        if self.family and hasattr(self.family[1], "body"):
            before = f"{self.family[0]}."  # as `modules.of` names encoders' tensors
        return digest_of(
            (
                (self._key(file) or file).removeprefix(before) if self.family else file,
                self.base.tensors[file],
            )
            for file in self.factors
        )


def _layers(config) -> int:
    """The layers of a model, or of the body of one with a head."""
    return getattr(config, "body", config).layers


def digest_of(tensors) -> str:
    """The SHA-256 of the SHA-256s of tensors in float32, in the order of names."""
    lines = []
    for name, tensor in tensors:
        data = np.ascontiguousarray(tensor, np.dtype("<f4"))
        lines.append(f"{name} {hashlib.sha256(data.data).hexdigest()}\n")
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()
