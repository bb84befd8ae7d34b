"""Compares answers with recorded ones.

Standard library only. A recording is a JSON list of
`{"signature": name, "inputs": {name: nested lists}, "outputs": {name: nested lists}}`;
strings that are no UTF-8 are `{"b64": ...}`, as in TF Serving's REST interface.
"""

import json
from collections.abc import Iterator
from typing import Any

from zoo.saved_model.checker.c_api import Error, Session
from zoo.saved_model.checker.tensors import Tensor, tensor

TOLERANCE = 1e-4  # of floats, relative to max(1, recorded value)


def load(path: str) -> list[dict]:
    """Reads a recording.

    Raises:
      ValueError: the file is not one; the message names the item.
    """
    try:
        with open(path) as file:
            items = json.load(file)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: not a readable JSON file: {error}.") from None
    if not isinstance(items, list):
        raise ValueError(f"{path}: a {type(items).__name__}, expected a list.")
    for i, item in enumerate(items):
        keys = sorted(item) if isinstance(item, dict) else item
        if keys != ["inputs", "outputs", "signature"]:
            raise ValueError(
                f"{path}[{i}]: has {keys}, expected signature, inputs, outputs."
            )
    return items


def compare(session: Session, items: list[dict]) -> Iterator[tuple[str, bool, str]]:
    """Sends every request; yields (signature, equal, the difference)."""
    for i, item in enumerate(items):
        try:
            outputs = session.run(item["signature"], item["inputs"])
            wrong = _difference(outputs, item["outputs"])
        except (Error, ValueError) as error:
            wrong = str(error)
        yield item["signature"], not wrong, f"request {i}: {wrong or 'as recorded'}"


def _difference(outputs: dict[str, Tensor], wanted: dict[str, Any]) -> str:
    """The first output that differs, in words, or ""."""
    for name, value in wanted.items():
        if name not in outputs:
            return f"there is no output {name!r}"
        got = outputs[name]
        if not near(got, value, name):
            return f"output {name!r} is {str(got.tolist())[:200]}, not {value}"
    return ""


def near(got: Tensor, value: Any, name: str) -> bool:
    """Whether a tensor has a value: floats to TOLERANCE, everything else exactly.

    Raises:
      ValueError: the value does not fit the tensor's type.
    """
    floats = got.dtype in ("float32", "float64", "float16", "bfloat16")
    wanted = tensor(value, "float64" if floats else got.dtype, f"output {name!r}")
    if not floats or got.shape != wanted.shape:
        return got == wanted
    return all(
        a == b or abs(a - b) <= TOLERANCE * max(1.0, abs(b)) or (a != a and b != b)
        for a, b in zip(got.flat(), wanted.flat(), strict=True)
    )
