"""How a GGUF file says that rotary positions are stretched."""

import numpy as np

from zoo.directory.gguf.fields import Fields
from zoo.directory.gguf.file import File

FREQUENCIES = "rope_freqs.weight"


def scaling(fields: Fields, file: File, theta: float, head: int) -> dict | None:
    """The object `rope_scaling` of a config.json, or None.

    Args:
      fields, file: of the GGUF file.
      theta: the base of the angles.
      head: the width of a head.

    Raises:
      ValueError: a kind that we do not have.
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
        before = fields.whole("rope.scaling.original_context_length")
        rope["original_max_position_embeddings"] = before
        for x in ("beta_fast", "beta_slow"):
            rope[x] = fields.number(f"rope.scaling.yarn_{x}", None)
    elif kind != "linear":
        raise ValueError(
            f"{file.where}: {fields.architecture}.rope.scaling.type {kind!r}; allowed: "
            "none, linear, yarn."
        )
    return rope


def slowed(factor: float, theta: float, head: int) -> np.ndarray:
    """By how much each pair slows in Llama 3.1 to 3.3, float64 [head / 2]."""
    turns = 8192 * theta ** (-np.arange(0, head, 2) / head) / (2 * np.pi)
    share = np.clip((turns - 1) / (4 - 1), 0, 1)
    return 1 / ((1 - share) / factor + share)


def _llama3(file, theta, head):
    """Llama 3's stretch, of which llama.cpp keeps only by how much each pair slows."""
    said = file.array(FREQUENCIES).astype(np.float64)
    factor = float(said.max())
    with np.errstate(all="ignore"):  # whatever the factor is
        usual = slowed(factor, theta, head)
    if said.shape != usual.shape or not np.allclose(said, usual, rtol=1e-4):
        raise ValueError(
            f"{file.where}: {FREQUENCIES} slows rotary positions in another way than "
            "Llama 3.1 to 3.3, the only one allowed."
        )
    return {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
