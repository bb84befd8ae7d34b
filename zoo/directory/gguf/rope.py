"""The scaling of rotary positions in a GGUF file."""

import numpy as np

from zoo.directory.gguf.fields import Fields
from zoo.directory.gguf.file import File
from zoo.layers import rotary

FREQUENCIES = "rope_freqs.weight"
# The scaling of Llama 3.1 to 3.3, without its factor.
_LLAMA3 = rotary.Scaling("llama3", context=8192, slow=1.0, fast=4.0)


def scaling(fields: Fields, file: File, theta: float, head: int) -> dict | None:
    """Returns the object `rope_scaling` of a config.json, or None.

    Args:
      fields, file: the fields and the header of a GGUF file.
      theta: the base of the rotary frequencies.
      head: the width of a head.

    Raises:
      ValueError: an unknown type of scaling.
    """
    kind = fields.text("rope.scaling.type", "none")
    if FREQUENCIES in file.tensors:
        if kind != "none":
            raise ValueError(
                f"{file.where}: {FREQUENCIES} and rope.scaling.type {kind!r}; "
                "one of them allowed."
            )
        return _llama3(file, theta, head)
    if kind == "none":
        return None
    rope = {"rope_type": kind, "factor": fields.number("rope.scaling.factor")}
    if kind == "yarn":
        rope["original_max_position_embeddings"] = fields.integer(
            "rope.scaling.original_context_length"
        )
        for x in ("beta_fast", "beta_slow"):
            rope[x] = fields.number(f"rope.scaling.yarn_{x}", None)
    elif kind != "linear":
        raise ValueError(
            f"{file.where}: {fields.architecture}.rope.scaling.type {kind!r}; allowed: "
            "none, linear, yarn."
        )
    return rope


def slowdown(factor: float, theta: float, head: int) -> np.ndarray:
    """Returns the factor [head / 2] by which Llama 3 divides each frequency, float64.

    Args:
      factor: the factor of the lowest frequencies.
      theta: the base of the rotary frequencies.
      head: the width of a head.
    """
    frequencies = theta ** (-np.arange(0, head, 2) / head)
    kept = rotary.llama3_kept(frequencies, _LLAMA3)
    return 1 / ((1 - kept) / factor + kept)


def _llama3(file, theta, head):
    """Returns Llama 3's `rope_scaling`, of which a file only has the slowdown."""
    stored = file.array(FREQUENCIES).astype(np.float64)
    factor = float(stored.max())
    with np.errstate(all="ignore"):  # the factor may be any number
        expected = slowdown(factor, theta, head)
    if stored.shape != expected.shape or not np.allclose(stored, expected, rtol=1e-4):
        raise ValueError(
            f"{file.where}: {FREQUENCIES} has other numbers than those of Llama 3.1 to "
            "3.3, which are allowed."
        )
    return {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": _LLAMA3.slow,
        "high_freq_factor": _LLAMA3.fast,
        "original_max_position_embeddings": _LLAMA3.context,
    }
