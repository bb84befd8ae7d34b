"""Reads and writes the config.json and the tensor names of Hugging Face directories.

A family has a function that reads its config.json, a function that writes it, and a
list of weight mappings (`parts.Family`). A Config is written as the first family that
can express it. To find that family, the written config.json is read back and compared.
"""

import dataclasses
import re
from typing import Any

from zoo import models, registry
from zoo.directory.hf import unused
from zoo.directory.hf.bert import BERT, ROBERTA
from zoo.directory.hf.gpt2 import GPT2, OPT
from zoo.directory.hf.llama import GEMMA2, GEMMA3, LLAMA, MISTRAL, QWEN2, QWEN3
from zoo.directory.hf.neox import NEOX, PHI
from zoo.directory.hf.parts import WeightMapping, refuse, with_defaults
from zoo.fields import from_fields, suggest

__all__ = [
    "DECODERS",
    "ENCODERS",
    "WeightMapping",
    "canonical",
    "from_hf",
    "to_hf",
    "unused_fields",
    "weight_mappings",
    "with_defaults",
]

DECODERS = {
    "gpt2": GPT2,
    "llama": LLAMA,
    "mistral": MISTRAL,
    "qwen2": QWEN2,
    "qwen3": QWEN3,
    "gemma2": GEMMA2,
    "gemma3_text": GEMMA3,
    "gpt_neox": NEOX,
    "opt": OPT,
    "phi": PHI,
}
ENCODERS = {"bert": BERT, "roberta": ROBERTA}
_ALL = DECODERS | ENCODERS
# The families of each model of the registry, and the Config of the model.
_FAMILIES = {"transformer_lm": DECODERS, "text_encoder": ENCODERS}
_CONFIGS = {
    "transformer_lm": models.transformer_lm.Config,
    "text_encoder": models.text_encoder.Config,
}


def to_hf(config: Any) -> dict[str, Any] | None:
    """Returns the config.json of a Config, or None if no family can express it."""
    families = _FAMILIES.get(registry.name_of(config))
    if families is None:
        return None
    value = _write(families, with_defaults(config))
    if value is None:
        # Most families have no field for dropout. Other programs ignore "zoo".
        without = dataclasses.replace(config, dropout=0.0)
        value = _write(families, with_defaults(without))
        value = None if value is None else value | {"zoo": {"dropout": config.dropout}}
    return value


def _write(families, wanted) -> dict[str, Any] | None:
    """Returns the config.json of the first family that can express a Config."""
    for name, family in families.items():
        value = family.write(wanted)
        if value is None:
            continue
        value = {"model_type": name, **value, "torch_dtype": "float32"}
        try:
            if with_defaults(from_hf(value, name)) == wanted:
                return value
        except ValueError:  # the family cannot express it, and wrote a wrong config
            continue
    return None


def from_hf(value: dict[str, Any], where: str) -> Any:
    """Returns the Config of a `transformer_lm` or `text_encoder` from a config.json.

    Args:
      value: the content of a config.json.
      where: the start of error messages.

    Raises:
      ValueError: an unknown family, a missing field, or a value that is not supported.
    """
    family = value.get("model_type")
    if not isinstance(family, str) or family not in _ALL:
        raise ValueError(f"{where}: model_type {family!r}.{suggest(str(family), _ALL)}")
    _check_common(value, where)
    try:
        fields = _ALL[family].read(value, where)
    except KeyError as error:
        raise ValueError(f"{where}: the field {error} is missing.") from None
    own = value.get("zoo")
    if isinstance(own, dict) and "dropout" in own:
        fields["dropout"] = own["dropout"]
    model = "text_encoder" if family in ENCODERS else "transformer_lm"
    try:
        return from_fields(_CONFIGS[model], fields, model)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def unused_fields(value: dict[str, Any]) -> list[str]:
    """Returns the names of fields of a config.json that `from_hf` does not use."""
    family = value.get("model_type")
    if not isinstance(family, str) or family not in _ALL:
        return []
    return unused.fields(_ALL[family], value)


def _check_common(value, where):
    """Refuses fields that change what any family computes."""
    quantised = value.get("quantization_config")
    if quantised:
        method = quantised.get("quant_method") if isinstance(quantised, dict) else None
        raise ValueError(
            f"{where}: quantization_config {method!r}; weights in float32, float16 or "
            "bfloat16 without it allowed."
        )
    refuse(value, where, "is_encoder_decoder", False)
    refuse(value, where, "add_cross_attention", False)
    refuse(value, where, "pruned_heads", {}, None)


def weight_mappings(family: str, config: Any) -> list[WeightMapping]:
    """Returns the mapping of each variable of a model of a family."""
    return list(_ALL[family].mappings(with_defaults(config)))


def canonical(family: str, config: Any, name: str) -> str | None:
    """Returns the name in `weight_mappings` of a tensor of a file.

    Returns:
      None if the tensor is not a weight of the model: masks and frequencies of old
      files, the head of a model with a tied head, the pooler and heads of an encoder.
    """
    for pattern, replacement in _ALL[family].names:
        if replacement is None and re.search(pattern, name):
            return None
        name = name if replacement is None else re.sub(pattern, replacement, name)
    tied = getattr(config, "tied_head", False)
    if tied and name in ("lm_head.weight", "embed_out.weight"):
        return None
    return name
