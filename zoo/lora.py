"""LoRA: adds low-rank adapters to a built model, switches them off, merges them.

The linear maps of `transformer_lm` and `text_encoder` get adapters, and the kernels of
`recurrent_lm`. Of a model with a body, the body gets them; its head stays trained in
full, as PEFT's `modules_to_save`. Source: Hu et al. 2021 (arXiv:2106.09685).
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from zoo import registry
from zoo.directory import assemble, modules
from zoo.fields import suggest
from zoo.layers import low_rank
from zoo.lora_config import ALL_LINEAR, Lora


def add(model, lora: Lora, seed: int = 0) -> None:
    """Adds adapters to a built model; until they learn, they change nothing.

    Args:
      model: a model of the registry, with its weights.
      lora: the options; the rank is at least 1.
      seed: of the initial A and the dropout.

    Raises:
      ValueError: the model has no linear map for adapters, or a target fits none.
    """
    name = registry.name_of(model.config)
    if not registry.entry(name).own_layers:
        raise ValueError(
            f"config.lora.rank: {lora.rank}, but {name} has layers of another library, "
            "which take no adapters of ours; 0 allowed."
        )
    found = _chosen(name, modules.of(model), lora)
    by_weight: dict[str, list[modules.Module]] = {}
    for module in found:
        by_weight.setdefault(module.mapping.path, []).append(module)
    for i, (path, group) in enumerate(by_weight.items()):
        place = group[0].place
        if place.transposed and lora.dropout:
            raise ValueError(
                f"config.lora.dropout: {lora.dropout}, 0 allowed for {name}: the "
                "adapters of a recurrent kernel have no input of their own."
            )
        outputs, inputs = place.variable.shape[:: -1 if place.transposed else 1]
        with contextlib.ExitStack() as scopes:
            for scope in path.split("/"):
                scopes.enter_context(keras.name_scope(scope))
            adapter = low_rank.LowRank(
                inputs,
                outputs,
                [module.part for module in group],
                lora.rank,
                lora.scale,
                lora.dropout,
                int(np.random.SeedSequence([seed, i]).generate_state(1)[0]),
                place.transposed,
                name="adapter",
            )
        setattr(place.layer, place.field, adapter)


def _chosen(name, found, lora) -> list[modules.Module]:
    """The modules that the targets name."""
    if not found:
        raise ValueError(
            f"config.lora.rank: {lora.rank}, but {name} has none of the linear layers "
            "that can have adapters; 0 allowed."
        )
    if lora.targets == (ALL_LINEAR,):
        return found
    if not lora.targets:
        return [m for m in found if m.attention] or found
    for target in lora.targets:
        if not any(module.fits(target) for module in found):
            names = {*modules.short_names(found, found), ALL_LINEAR}
            raise ValueError(
                f"config.lora.targets: {target!r} fits no linear map of {name}."
                f"{suggest(target, names)}"
            )
    return [m for m in found if any(m.fits(target) for target in lora.targets)]


def learning(model) -> list[Any]:
    """Returns the variables that learn: A and B, and the weights outside of a body."""
    found = low_rank.adapters(model).values()
    result = [v for adapter in found for v in adapter.trainable_variables]
    body = getattr(model, "body", model)
    inside = {id(v) for v in body.weights}
    return result + [v for v in model.trainable_variables if id(v) not in inside]


@contextlib.contextmanager
def off(model) -> Iterator[None]:
    """Switches the adapters of a model off, so that it is its base, bit for bit.

    A graph keeps what it was traced with. So trace a function of its own inside of the
    block; to call an older one there has no effect.
    """
    found = low_rank.adapters(model).values()
    before = [adapter.enabled for adapter in found]
    try:
        for adapter in found:
            adapter.enabled = False
        yield
    finally:
        for adapter, enabled in zip(found, before, strict=True):
            adapter.enabled = enabled


class Base:
    """A language model without its adapters, of the same weights.

    Functions that are traced see the adapters off while they call this object only.
    """

    def __init__(self, model):
        self.model, self.config, self.trainable = model, model.config, False

    def features(self, *args, **kwargs):
        """The input of the head, as the model without adapters makes it."""
        with off(self.model):
            return self.model.features(*args, **kwargs)

    def head(self):
        """The head of the model without adapters."""
        with off(self.model):
            return self.model.head()

    def logits(self, x):
        """The logits of features, as the model without adapters makes them."""
        with off(self.model):
            return self.model.logits(x)


def merged(model):
    """Returns a new model without adapters, whose weights include their products."""
    new = registry.build_config(model.config)
    adapters, variables = low_rank.adapters(model), assemble.by_path(model)
    for path, target in assemble.by_path(new).items():
        variable = variables[path]
        adapter = adapters.get(id(variable))
        value = variable.value
        target.assign(value if adapter is None else adapter.added(value))
    return new
