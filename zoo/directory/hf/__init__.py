"""Hugging Face directories: their config.json and the names of their tensors.

A family is a function that turns its config.json into our Config, one that does the
reverse, and a table from our variables to the tensors of the file (`hf_parts.Family`).
A Config is written as the first family that says it without loss: what a family
writes is read back and compared, so that nothing it has no word for gets lost.
"""

import re
from typing import Any

from zoo.directory.hf.bert import BERT, ROBERTA
from zoo.directory.hf.gpt2 import GPT2, OPT
from zoo.directory.hf.llama import GEMMA2, GEMMA3, LLAMA, MISTRAL, QWEN2, QWEN3
from zoo.directory.hf.neox import NEOX, PHI
from zoo.directory.hf.parts import Row, filled
from zoo.fields import from_fields, suggest
from zoo.models import text_encoder
from zoo.models.transformer_config import Config

__all__ = ["ENCODERS", "Row", "canonical", "filled", "from_hf", "rows", "to_hf"]

_FAMILIES = {
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
_ALL = _FAMILIES | ENCODERS


def to_hf(config: Config | text_encoder.Config) -> dict[str, Any] | None:
    """The config.json that says this Config, or None where no family can."""
    wanted = filled(config)
    encodes = isinstance(config, text_encoder.Config)
    for name, family in (ENCODERS if encodes else _FAMILIES).items():
        value = family.write(wanted)
        if value is None:
            continue
        value = {"model_type": name, **value, "torch_dtype": "float32"}
        try:
            if filled(from_hf(value, name)) == wanted:
                return value
        except ValueError:  # what it wrote is another model, and not even a sound one
            continue
    return None


def from_hf(value: dict[str, Any], where: str) -> Config | text_encoder.Config:
    """The Config that a config.json says.

    Raises:
      ValueError: another family, a field that is missing, or a choice that
        `transformer_lm` or `text_encoder` does not have.
    """
    family = value.get("model_type")
    if not isinstance(family, str) or family not in _ALL:
        raise ValueError(f"{where}: model_type {family!r}.{suggest(str(family), _ALL)}")
    try:
        fields = _ALL[family].read(value, where)
    except KeyError as error:
        raise ValueError(f"{where}: the field {error} is missing.") from None
    try:
        if family in ENCODERS:
            return from_fields(text_encoder.Config, fields, "text_encoder")
        return from_fields(Config, fields, "transformer_lm")
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def rows(family: str, config: Config | text_encoder.Config) -> list[Row]:
    """The table of a family: one row for each variable of the model."""
    return list(_ALL[family].rows(filled(config)))


def canonical(
    family: str, config: Config | text_encoder.Config, name: str
) -> str | None:
    """The name that `rows` has for a tensor that a file calls otherwise.

    Returns:
      None for what is no weight: masks and angles that old files hold, the head of a
      model whose head is its embedding, and the pooler and the heads of an encoder.
    """
    for pattern, theirs in _ALL[family].names:
        if theirs is None and re.search(pattern, name):
            return None
        name = name if theirs is None else re.sub(pattern, theirs, name)
    tied = getattr(config, "tied_head", False)
    if tied and name in ("lm_head.weight", "embed_out.weight"):
        return None
    return name
