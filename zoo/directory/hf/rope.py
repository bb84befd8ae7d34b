"""The fields of a config.json for rotary positions, from transformers 4 and 5.

Version 4 has `rope_theta` and an optional object `rope_scaling`. Version 5 has all of
them in one object `rope_parameters`. The fields written here are read by both.
"""

import math

from zoo.directory.hf.parts import integer, refuse
from zoo.fields import suggest

_ORIGINAL = "original_max_position_embeddings"
OBJECTS = ("rope_scaling", "rope_parameters")
_LAYERS = ("full_attention", "sliding_attention")
_COMMON = ("rope_type", "type", "rope_theta", "partial_rotary_factor")
_KINDS = {
    "default": (),
    "linear": ("factor",),
    "llama3": ("factor", _ORIGINAL, "low_freq_factor", "high_freq_factor"),
    "yarn": (
        "factor",
        _ORIGINAL,
        "beta_fast",
        "beta_slow",
        "attention_factor",
        "mscale",
        "mscale_all_dim",
        "truncate",
    ),
}


def find(value, where):
    """Returns the object for rotary positions; {} if the config.json has none."""
    name = "rope_scaling" if value.get("rope_scaling") else "rope_parameters"
    rope = value.get(name) or {}
    if not isinstance(rope, dict):
        raise ValueError(f"{where}: {name} {rope!r} is not an object.")
    return rope


def read(value, where, rope, theta, fraction=1.0):
    """Returns the fields of our Config for rotary positions.

    Args:
      value: a config.json.
      where: the start of error messages.
      rope: the object that `find` returned, or an object in it.
      theta, fraction: the defaults of `rope_theta` and `partial_rotary_factor`.

    Raises:
      ValueError: an unknown `rope_type`, or a field with an unsupported value.
    """
    where = f"{where}: rope_scaling"
    kind = rope.get("rope_type", rope.get("type", "default"))
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ValueError(f"{where} {kind!r}.{suggest(str(kind), _KINDS)}")
    if kind == "yarn":
        # vLLM and llama.cpp multiply by this field, and transformers ignores it.
        refuse(rope, where, "attn_factor", 1, None)
    fields = {
        "rope_theta": rope.get("rope_theta", theta),
        "rotary_fraction": rope.get("partial_rotary_factor", fraction),
    }
    if kind == "default":
        return fields
    fields |= {"rope_scaling": kind, "rope_factor": _needed(rope, where, "factor")}
    if kind == "linear":
        return fields
    original = rope.get(_ORIGINAL, value["max_position_embeddings"])
    fields["rope_context"] = value.get(_ORIGINAL, original)
    if kind == "llama3":
        fields["rope_slow"] = _needed(rope, where, "low_freq_factor")
        fields["rope_fast"] = _needed(rope, where, "high_freq_factor")
        return fields
    refuse(rope, where, "truncate", True)
    if fields["rope_factor"] is None:
        longest = integer(value, where, "max_position_embeddings")
        fields["rope_factor"] = longest / integer(fields, where, "rope_context")
    fields["rope_slow"] = rope.get("beta_slow") or 1.0
    fields["rope_fast"] = rope.get("beta_fast") or 32.0
    fields["rope_magnitude"] = _magnitude(rope, where, fields["rope_factor"])
    return fields


def unknown(value) -> list[str]:
    """Returns the names of fields in the objects of `find` that `read` ignores."""
    found = []
    for name in OBJECTS:
        rope = value.get(name) or {}
        layers = [rope.get(kind) for kind in _LAYERS]
        for part in layers if any(layers) else [rope]:
            kind = (part or {}).get("rope_type", (part or {}).get("type", "default"))
            known = (*_COMMON, *_KINDS.get(kind, ()))
            found += [f"{name}.{field}" for field in part or {} if field not in known]
    return found


def _needed(rope, where, field):
    """Returns a field of the object, or raises a ValueError if it is missing."""
    if field not in rope:
        raise ValueError(f"{where}: the field {field!r} is missing.")
    return rope[field]


def _magnitude(rope, where, factor):
    """Returns the factor of yarn's cosines and sines; 0 means yarn's default."""
    given = rope.get("attention_factor")
    if given is not None:
        if given == 0:
            raise ValueError(f"{where}: attention_factor {given}, above 0 allowed.")
        return given
    scales = rope.get("mscale"), rope.get("mscale_all_dim")
    if not all(scales):
        return 0.0
    numbers = factor, *scales
    if not all(type(x) in (int, float) and x > 0 for x in numbers):
        raise ValueError(
            f"{where}: factor, mscale, mscale_all_dim {numbers}, numbers above 0 "
            "allowed."
        )
    growth = 0.1 * math.log(max(factor, 1))
    return (growth * scales[0] + 1) / (growth * scales[1] + 1)


def write(config):
    """Returns {"rope_scaling": ...} for a Config, or {} if it scales nothing."""
    c = config
    if c.rope_scaling == "none":
        return {}
    rope = {"rope_type": c.rope_scaling, "factor": c.rope_factor}
    if c.rope_scaling in ("llama3", "yarn"):
        rope[_ORIGINAL] = c.rope_context
    if c.rope_scaling == "llama3":
        rope |= {"low_freq_factor": c.rope_slow, "high_freq_factor": c.rope_fast}
    if c.rope_scaling == "yarn":
        rope |= {"beta_slow": c.rope_slow, "beta_fast": c.rope_fast}
        if c.rope_magnitude:
            rope["attention_factor"] = c.rope_magnitude
    return {"rope_scaling": rope}
