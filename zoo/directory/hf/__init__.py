"""Reads and writes the config.json and the tensor names of Hugging Face directories.

A family has a function that reads its config.json, a function that writes it, and a
list of weight mappings (`parts.Family`). A Config is written as the first family that
can express it. To find that family, the written config.json is read back and compared.
"""

import dataclasses
import re
from typing import Any

from zoo import models, registry
from zoo.directory.hf import bart, head_config, heads, parts, t5, unused
from zoo.directory.hf.bart import BART, MARIAN
from zoo.directory.hf.bert import BERT, ROBERTA
from zoo.directory.hf.gpt2 import GPT2, OPT
from zoo.directory.hf.llama import GEMMA2, GEMMA3, LLAMA, MISTRAL, QWEN2, QWEN3
from zoo.directory.hf.neox import NEOX, PHI
from zoo.directory.hf.parts import WeightMapping, refuse
from zoo.directory.hf.t5 import MT5, T5
from zoo.fields import from_fields, suggest

__all__ = [
    "DECODERS",
    "ENCODERS",
    "SEQ2SEQ",
    "WeightMapping",
    "canonical",
    "from_hf",
    "original",
    "to_hf",
    "unused_fields",
    "weight_mappings",
    "with_defaults",
    "with_tensors",
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
SEQ2SEQ = {"t5": T5, "mt5": MT5, "bart": BART, "marian": MARIAN}
_ALL = DECODERS | ENCODERS | SEQ2SEQ
# The families of each model of the registry, and the Config of the model.
_FAMILIES = {
    "transformer_lm": DECODERS,
    "text_encoder": ENCODERS,
    "encoder_decoder": SEQ2SEQ,
}
_CONFIGS = {
    "transformer_lm": models.transformer_lm.Config,
    "text_encoder": models.text_encoder.Config,
    "encoder_decoder": models.encoder_decoder.Config,
}
_WITH_TENSORS = {
    "t5": t5.with_tensors,
    "mt5": t5.with_tensors,
    "bart": bart.with_tensors,
    "marian": bart.with_tensors,
}
# Fields that a family may lack; then config.json has them under "zoo".
_OWN = ("dropout", "context", "source_context")
_HEADS = ("lm_head.weight", "embed_out.weight")
_EMBEDDING = "embedding/weight"  # the path of the variable


def to_hf(config: Any) -> dict[str, Any] | None:
    """Returns the config.json of a Config, or None if no family can express it."""
    body = config.body if _has_head(config) else config
    families = _FAMILIES.get(registry.name_of(body))
    if families is None or getattr(config, "classes", 0) > head_config.MOST_LABELS:
        return None
    value = _write(families, with_defaults(config))
    if value is None:
        # Most families have no field for dropout. Other programs ignore "zoo".
        own = {"dropout": body.dropout}
        without = dataclasses.replace(body, dropout=0.0)
        if _has_head(config):
            own["head_dropout"] = config.dropout
            without = dataclasses.replace(config, body=without, dropout=0.0)
        value = _write(families, with_defaults(without))
        value = None if value is None else value | {"zoo": own}
    return value


def _write(families, wanted) -> dict[str, Any] | None:
    """Returns the config.json of the first family that can express a Config."""
    for name, family in families.items():
        head = heads.of(name, wanted) if _has_head(wanted) else None
        if _has_head(wanted) and head is None:
            continue
        value = family.write(wanted if head is None else wanted.body)
        if value is None:
            continue
        if head is not None:
            value = head_config.write(head, wanted, value)
        value = {"model_type": name, **value, "torch_dtype": "float32"}
        try:
            if with_defaults(from_hf(value, name)) == wanted:
                return value
        except ValueError:  # the family cannot express it, and wrote a wrong config
            continue
    return None


def from_hf(value: dict[str, Any], where: str) -> Any:
    """Returns the Config of a `transformer_lm`, `text_encoder` or `headed`.

    Args:
      value: the content of a config.json.
      where: the start of error messages.

    Raises:
      ValueError: an unknown family, a missing field, or a value that is not supported.
    """
    family = value.get("model_type")
    if not isinstance(family, str) or family not in _ALL:
        raise ValueError(f"{where}: model_type {family!r}.{suggest(str(family), _ALL)}")
    _check_common(value, where, family in SEQ2SEQ)
    try:
        fields = _ALL[family].read(value, where)
    except KeyError as error:
        raise ValueError(f"{where}: the field {error} is missing.") from None
    model = next(name for name, known in _FAMILIES.items() if family in known)
    own = value.get("zoo")
    if isinstance(own, dict):
        fields |= {n: own[n] for n in _OWN if n in own and hasattr(_CONFIGS[model], n)}
    head = heads.named(family, value)
    if head is not None:
        fields = head_config.body_fields(fields)
    try:
        config = from_fields(_CONFIGS[model], fields, model)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return config if head is None else head_config.read(head, value, where, config)


def with_defaults(config: Any) -> Any:
    """Returns the Config with a value in each field whose value is a default.

    Two Configs are of one model if these are equal.
    """
    if _has_head(config):
        return head_config.with_defaults(config)
    return parts.with_defaults(config)


def _has_head(config) -> bool:
    """Tells whether a Config is that of a `headed` model."""
    return isinstance(config, models.headed.Config)


def unused_fields(value: dict[str, Any]) -> list[str]:
    """Returns the names of fields of a config.json that `from_hf` does not use."""
    family = value.get("model_type")
    if not isinstance(family, str) or family not in _ALL:
        return []
    return unused.fields(_ALL[family], value)


def with_tensors(value: dict[str, Any], tensors, shapes) -> dict[str, Any]:
    """Returns a config.json with fields that only the tensors of a file tell.

    Args:
      value: the content of the config.json.
      tensors: the tensors of the file by name.
      shapes: their shapes by name.
    """
    family = value.get("model_type")
    change = _WITH_TENSORS.get(family) if isinstance(family, str) else None
    return value if change is None else change(value, tensors, shapes)


def _check_common(value, where, seq2seq):
    """Refuses fields that change what any family computes."""
    quantised = value.get("quantization_config")
    if quantised:
        method = quantised.get("quant_method") if isinstance(quantised, dict) else None
        raise ValueError(
            f"{where}: quantization_config {method!r}; weights in float32, float16 or "
            "bfloat16 without it allowed."
        )
    refuse(value, where, "is_encoder_decoder", seq2seq)
    refuse(value, where, "add_cross_attention", False)
    refuse(value, where, "pruned_heads", {}, None)


def weight_mappings(family: str, config: Any) -> list[WeightMapping]:
    """Returns the mapping of each variable of a model of a family."""
    config = with_defaults(config)
    if _has_head(config):
        return list(heads.mappings(_head(family, config), _ALL[family], config))
    return list(_ALL[family].mappings(config))


def canonical(family: str, config: Any, name: str) -> str | None:
    """Returns the name in `weight_mappings` of a tensor of a file.

    Returns:
      None if the tensor is not a weight of the model: masks and frequencies of old
      files, the head of a model with a tied head, the pooler and heads of an encoder.
    """
    if _has_head(config):
        return heads.canonical(_head(family, config), _ALL[family], name)
    for pattern, replacement in _ALL[family].names:
        if replacement is None and re.search(pattern, name):
            return None
        name = name if replacement is None else re.sub(pattern, replacement, name)
    return None if _is_tied(_ALL[family], config, name) else name


def original(family: str, config: Any, name: str) -> str | None:
    """Returns the tensor whose values a tensor of a file repeats, such as a tied head.

    Returns:
      A name in `weight_mappings`; None if the tensor repeats no other.
    """
    if _has_head(config):
        return heads.original(_head(family, config), _ALL[family], name)
    if not _is_tied(_ALL[family], config, parts.renamed(_ALL[family], name)):
        return None
    embeddings = (m for m in weight_mappings(family, config) if m.path == _EMBEDDING)
    return next(embeddings).hf_names[0]


def _is_tied(family, config, name):
    """Tells whether a tensor is the embedding table once more, such as a tied head."""
    if name in family.tables:
        return not config.source_vocab_size
    return getattr(config, "tied_head", False) and name in _HEADS


def _head(family, config):
    """Returns the head of a family for a Config that the family can express."""
    head = heads.of(family, config)
    if head is None:
        raise ValueError(f"{family}: has no head for the task {config.task}.")
    return head
