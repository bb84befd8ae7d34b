"""The adapter_config.json of PEFT, read and written.

Source: https://huggingface.co/docs/peft, `LoraConfig` of version 0.21.
"""

import math
import re
from typing import Any, NamedTuple

from zoo.lora_config import Lora, scale

PREFIX = "base_model.model."  # starts the names of tensors
TASKS = {
    "generate": "CAUSAL_LM",
    "embed": "FEATURE_EXTRACTION",
    "classify": "SEQ_CLS",
    "regress": "SEQ_CLS",
    "tag": "TOKEN_CLS",
    "fill_mask": None,  # PEFT has no name for it
}
# What does not change the numbers, once the tensors of the adapter are known.
_HARMLESS = (
    "auto_mapping",
    "base_model_name_or_path",
    "corda_config",
    "ensure_weight_tying",
    "eva_config",
    "exclude_modules",
    "fan_in_fan_out",
    "inference_mode",
    "layers_pattern",
    "layers_to_transform",
    "lora_dropout",
    "megatron_core",
    "modules_to_save",
    "peft_version",
    "qalora_group_size",
    "revision",
    "target_modules",
    "task_type",
)
_READ = ("alpha_pattern", "lora_alpha", "peft_type", "r", "rank_pattern", "use_rslora")
# Other ways to begin change the weights of the base.
_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")
_NAME = re.compile(r"\^?[\w.]+")


class AdapterConfig(NamedTuple):
    """What an adapter_config.json says.

    Attributes:
      base: where the base model is: a folder, or a name on the Hub.
      revision: of the base on the Hub, or None.
      rank, alpha, rslora: as in `Lora`, for all modules without a pattern.
      ranks, alphas: the patterns: an end of the names of modules, to a number.
      task: PEFT's name of the task, one of `TASKS`; None where it has none.
    """

    base: str
    revision: str | None
    rank: int
    alpha: float
    rslora: bool
    ranks: dict[str, int]
    alphas: dict[str, float]
    task: str | None = None

    def rank_of(self, module: str) -> int:
        """Returns the rank of a module."""
        return _match(self.ranks, module, self.rank)

    def scale_of(self, module: str) -> float:
        """Returns the factor of the product of A and B of a module."""
        alpha = _match(self.alphas, module, self.alpha)
        return scale(alpha, self.rank_of(module), self.rslora)


def read(value: dict[str, Any], where: str) -> AdapterConfig:
    """Reads an adapter_config.json.

    Args:
      value: the content of the file.
      where: the start of error messages.

    Raises:
      ValueError: another method than LoRA, a missing or wrong value, or an option that
        changes the numbers and is not supported. The message has its name.
    """
    if value.get("peft_type") != "LORA":
        raise ValueError(
            f"{where}: peft_type {value.get('peft_type')!r}; allowed: LORA."
        )
    bias, start = value.get("bias", "none"), value.get("init_lora_weights", True)
    if bias != "none":
        raise ValueError(f"{where}: bias {bias!r}; allowed: none.")
    if not any(start is s if isinstance(s, bool) else start == s for s in _STARTS):
        raise ValueError(
            f"{where}: init_lora_weights {start!r} changes the base model; allowed: "
            "true, false, gaussian, eva, orthogonal."
        )
    known = {*_HARMLESS, *_READ, "bias", "init_lora_weights"}
    for field in sorted(value.keys() - known):
        if value[field] not in (None, False, 0, "", [], {}):
            raise ValueError(
                f"{where}: {field} {value[field]!r} is not supported; allowed: to "
                "merge the adapter with PEFT, and to read the merged model."
            )
    base, revision = value.get("base_model_name_or_path"), value.get("revision")
    if not isinstance(base, str) or not base:
        raise ValueError(
            f"{where}: base_model_name_or_path {base!r}; the base model's folder or "
            "its name on the Hub allowed."
        )
    if not isinstance(revision, str | None):
        raise ValueError(f"{where}: revision {revision!r}, a name or null allowed.")
    rslora = value.get("use_rslora", False)
    if type(rslora) is not bool:
        raise ValueError(f"{where}: use_rslora {rslora!r}, true or false allowed.")
    return AdapterConfig(
        base,
        revision,
        _rank(value.get("r", 8), f"{where}: r"),
        _number(value.get("lora_alpha", 8), f"{where}: lora_alpha"),
        rslora,
        _pattern(value, where, "rank_pattern", _rank),
        _pattern(value, where, "alpha_pattern", _number),
        task if isinstance(task := value.get("task_type"), str) else None,
    )


def write(
    lora: Lora, task: str, base: str, targets: list[str], saved: list[str], conv1d: bool
) -> dict[str, Any]:
    """Returns the adapter_config.json of adapters.

    Args:
      lora: the options.
      task: of the model's Config.
      base: where the base model is.
      targets: the names of the adapted modules.
      saved: the names of modules that are trained in full.
      conv1d: whether the base stores the weights as [in, out], as GPT-2 does.
    """
    return {
        "alpha_pattern": {},
        "auto_mapping": None,
        "base_model_name_or_path": base,
        "bias": "none",
        "fan_in_fan_out": conv1d,
        "inference_mode": True,
        "init_lora_weights": True,
        "lora_alpha": lora.alpha,
        "lora_dropout": lora.dropout,
        "modules_to_save": saved or None,
        "peft_type": "LORA",
        "r": lora.rank,
        "rank_pattern": {},
        "target_modules": targets,
        "task_type": TASKS[task],
        "use_dora": False,
        "use_rslora": lora.rslora,
    }


def _match(pattern, module, default):
    """The value of the first key that is the module's name, or its end after a dot."""
    for key, value in pattern.items():
        exact, name = key.startswith("^"), key.removeprefix("^")
        if module == name or (not exact and module.endswith(f".{name}")):
            return value
    return default


def _pattern(value, where, field, check):
    """Reads a pattern: names of modules to numbers; PEFT's keys are expressions."""
    found = value.get(field) or {}
    if not isinstance(found, dict):
        raise ValueError(f"{where}: {field} {found!r}, an object allowed.")
    for key in found:
        if not _NAME.fullmatch(key):
            raise ValueError(
                f"{where}: {field} {key!r}; names of modules or their ends allowed."
            )
    return {key: check(x, f"{where}: {field} {key}") for key, x in found.items()}


def _rank(value, where) -> int:
    """A rank, checked."""
    if type(value) is not int or not 1 <= value <= 2**16:
        raise ValueError(f"{where} {value!r}, 1 to {2**16} allowed.")
    return value


def _number(value, where) -> float:
    """An alpha, checked."""
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(f"{where} {value!r}, a finite number allowed.")
    return value
