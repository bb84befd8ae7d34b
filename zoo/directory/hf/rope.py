"""Rotary positions in a config.json, in the spellings of transformers 4 and 5.

4 has `rope_theta` and, where angles are stretched, an object `rope_scaling`; 5 has all
of it in one object `rope_parameters`. What is written here both can read.
"""

import math

from zoo.directory.hf.parts import refuse, whole
from zoo.fields import suggest

_BEFORE = "original_max_position_embeddings"
_COMMON = ("rope_type", "type", "rope_theta", "partial_rotary_factor")
_KINDS = {
    "default": (),
    "linear": ("factor",),
    "llama3": ("factor", _BEFORE, "low_freq_factor", "high_freq_factor"),
    "yarn": (
        "factor",
        _BEFORE,
        "beta_fast",
        "beta_slow",
        "attention_factor",
        "mscale",
        "mscale_all_dim",
        "truncate",
    ),
}


def find(value, where):
    """The object that says how rotary positions turn; empty where there is none."""
    name = "rope_scaling" if value.get("rope_scaling") else "rope_parameters"
    rope = value.get(name) or {}
    if not isinstance(rope, dict):
        raise ValueError(f"{where}: {name} {rope!r} is not an object.")
    return rope


def read(value, where, rope, theta, share=1.0):
    """The fields of our Config for rotary positions.

    Args:
      value: config.json.
      where: for messages.
      rope: what `find` gave, or an object in there.
      theta, share: what holds where it does not say them.

    Raises:
      ValueError: a kind that we do not have, or a field that it does not have.
    """
    where = f"{where}: rope_scaling"
    kind = rope.get("rope_type", rope.get("type", "default"))
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ValueError(f"{where} {kind!r}.{suggest(str(kind), _KINDS)}")
    known = (*_COMMON, *_KINDS[kind])
    for field in rope:
        if field not in known:
            raise ValueError(f"{where} has {field!r}.{suggest(field, known)}")
    fields = {
        "rope_theta": rope.get("rope_theta", theta),
        "rotary_fraction": rope.get("partial_rotary_factor", share),
    }
    if kind == "default":
        return fields
    fields |= {"rope_scaling": kind, "rope_factor": _there(rope, where, "factor")}
    if kind == "linear":
        return fields
    before = rope.get(_BEFORE, value["max_position_embeddings"])
    fields["rope_context"] = value.get(_BEFORE, before)
    if kind == "llama3":
        fields["rope_slow"] = _there(rope, where, "low_freq_factor")
        fields["rope_fast"] = _there(rope, where, "high_freq_factor")
        return fields
    refuse(rope, where, "truncate", True)
    if fields["rope_factor"] is None:
        longest = whole(value, where, "max_position_embeddings")
        fields["rope_factor"] = longest / whole(fields, where, "rope_context")
    fields["rope_slow"] = rope.get("beta_slow") or 1.0
    fields["rope_fast"] = rope.get("beta_fast") or 32.0
    fields["rope_magnitude"] = _magnitude(rope, where, fields["rope_factor"])
    return fields


def _there(rope, where, field):
    if field not in rope:
        raise ValueError(f"{where}: the field {field!r} is missing.")
    return rope[field]


def _magnitude(rope, where, factor):
    """Of yarn's cosines and sines; 0 means the usual."""
    said = rope.get("attention_factor")
    if said is not None:
        if said == 0:
            raise ValueError(f"{where}: attention_factor {said}, above 0 allowed.")
        return said
    scales = rope.get("mscale"), rope.get("mscale_all_dim")
    if not all(scales):
        return 0.0
    numbers = factor, *scales
    if not all(type(x) in (int, float) and x > 0 for x in numbers):
        raise ValueError(
            f"{where}: factor, mscale, mscale_all_dim {numbers}, numbers above 0 "
            "allowed."
        )
    rise = 0.1 * math.log(max(factor, 1))
    return (rise * scales[0] + 1) / (rise * scales[1] + 1)


def write(config):
    """The object `rope_scaling` of a Config as a field; empty where there is none."""
    c = config
    if c.rope_scaling == "none":
        return {}
    rope = {"rope_type": c.rope_scaling, "factor": c.rope_factor}
    if c.rope_scaling in ("llama3", "yarn"):
        rope[_BEFORE] = c.rope_context
    if c.rope_scaling == "llama3":
        rope |= {"low_freq_factor": c.rope_slow, "high_freq_factor": c.rope_fast}
    if c.rope_scaling == "yarn":
        rope |= {"beta_slow": c.rope_slow, "beta_fast": c.rope_fast}
        if c.rope_magnitude:
            rope["attention_factor"] = c.rope_magnitude
    return {"rope_scaling": rope}
