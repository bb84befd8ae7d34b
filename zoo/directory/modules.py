"""The linear maps of a model, by the names that PEFT has for them.

Hugging Face's files name a linear map as transformers does: the tensor
model.layers.0.self_attn.q_proj.weight belongs to the module without ".weight". One
weight of ours may hold several of these modules, see `hf.WeightMapping`.

A model that no Hugging Face family expresses has one module for each weight. The name
of the module is the path of the weight with dots, such as block_0.attention.qkv.
"""

import re
from typing import NamedTuple

import numpy as np

from zoo.directory import assemble, config_json, hf
from zoo.layers import low_rank
from zoo.layers.low_rank import Part, Place

_LAYER = re.compile(r"(?:^|.*?[._])\d+\.(.+)")  # what follows the layer's number

BODY = "body/"  # starts the paths of the body of `headed`


class Module(NamedTuple):
    """One linear map.

    Attributes:
      name: its name in PEFT, without the prefix of PEFT itself.
      tensor: the tensor of the base model with its weight.
      mapping: of the weight that holds it.
      part: the rows of the weight.
      place: the layer of the weight.
    """

    name: str
    tensor: str
    mapping: hf.WeightMapping
    part: Part
    place: Place

    @property
    def attention(self) -> bool:
        """Whether the map belongs to attention."""
        parts = self.mapping.path.split("/")
        return "attention" in parts or "cross_attention" in parts

    @property
    def short(self) -> str:
        """The name inside of its layer: "self_attn.q_proj"."""
        match = _LAYER.fullmatch(self.name)
        return match[1] if match else self.name

    def fits(self, target: str) -> bool:
        """Whether a target of PEFT is the name, or its end after a dot."""
        return f".{self.name}".endswith(f".{target}")

    def to_hf(self, up: np.ndarray) -> np.ndarray:
        """B [outputs, rank] of this module, with its rows in the file's order."""
        heads = self.mapping.heads
        if not heads:
            return up
        split = up.reshape(3, heads, -1, up.shape[1])
        return split.swapaxes(0, 1).reshape(up.shape)


def of(model) -> list[Module]:
    """Returns the linear maps of a model that may get adapters: all but its head.

    Of a `headed` model these are the maps of the body. The name of an encoder's map
    then starts with its family, as in the models of transformers with a head.
    """
    body = getattr(model, "body", model)
    head = getattr(body, "untied_head", None)
    places = {
        place.variable.path.removeprefix(f"{model.name}/").removeprefix(BODY): place
        for place in low_rank.places(body)
        if place.layer is not head
    }
    family, found, before = config_json.to_json(body.config)["model_type"], [], ""
    if body is not model and family in hf.ENCODERS:
        before = f"{family}."
    for mapping in assemble.weight_mappings(body, family):
        place = places.get(mapping.path.removeprefix(BODY))
        if place is None:
            continue
        sizes, start = mapping.sizes, 0
        if place.transposed:
            sizes = tuple(place.variable.shape[1:])
        for tensor, size in zip(mapping.hf_names, sizes, strict=True):
            tensor = tensor.removeprefix(BODY)
            name = before + module_of(tensor)
            part = Part(name.rpartition(".")[2], start, size)
            found.append(Module(name, tensor, mapping, part, place))
            start += size
    return found


def module_of(tensor: str) -> str:
    """Returns the name of the module of a weight, from the name of its tensor.

    An example: "model.layers.0.mlp.up_proj" of "model.layers.0.mlp.up_proj.weight", and
    "block_0.mlp.up" of "block_0/mlp/up/weight".
    """
    return tensor.replace("/", ".").removesuffix(".weight")


def short_names(modules: list[Module], every: list[Module]) -> list[str]:
    """Returns names that stand for modules in PEFT's `target_modules`.

    A name is the last component, such as "q_proj". Where two modules of a layer share
    it, as mlp.c_proj and attn.c_proj do, the name in the layer is kept.

    Args:
      modules: some modules of a model.
      every: all modules of the model.
    """
    last = [name.rpartition(".")[2] for name in {m.short for m in every}]
    names = {m.short: m.short.rpartition(".")[2] for m in modules}
    return sorted({x if last.count(x) == 1 else name for name, x in names.items()})
