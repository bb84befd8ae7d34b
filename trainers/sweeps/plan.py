"""The plan of a sweep: the fields that vary, and the values of each trial."""

import itertools
import json
import math
import random
from collections.abc import Sequence
from typing import Any

from trainers import objectives
from trainers.run import Run, from_json, to_json
from zoo.fields import at_least, one_of, suggest

Values = dict[str, Any]  # a field of the Run, such as "optimizer.lr", to its value

MODES = ("grid", "random")
_MOST = 100_000  # points of a grid
_FIXED = ("best",)  # decides the order of the table


def parse(overs: Sequence[str]) -> dict[str, list[Any]]:
    """The values of each field.

    Args:
      overs: entries "FIELD=VALUE,VALUE"; a value is JSON, such as 1e-3, true or
        [64,64], or else a string.

    Raises:
      ValueError: an entry without a field or a value, or a field or value that is
        given twice.
    """
    found: dict[str, list[Any]] = {}
    for over in overs:
        field, equals, text = over.partition("=")
        parts = _parts(text)
        if not field or not equals or "" in parts:
            raise ValueError(f"--over: {over!r}; FIELD=VALUE,VALUE allowed.")
        if field in found:
            raise ValueError(f"--over: {field} is given twice.")
        if field in _FIXED:
            raise ValueError(f"--over: {field} must be the same in all trials.")
        values = [_value(part) for part in parts]
        if any(value in values[:i] for i, value in enumerate(values)):
            raise ValueError(f"--over: {over!r} has a value twice.")
        found[field] = values
    if not found:
        raise ValueError("--over: missing; give FIELD=VALUE,VALUE.")
    return found


def trials(
    over: dict[str, list[Any]], mode: str = "grid", count: int = 0, seed: int = 0
) -> list[Values]:
    """The values of each trial, in the order of the trials.

    Args:
      over: of `parse`.
      mode: "grid" takes all combinations, of which the last field changes fastest;
        "random" draws `count` different ones of them (Bergstra and Bengio 2012).
      count: of "random". A larger one of the same seed begins with the same trials.
      seed: of "random".

    Raises:
      ValueError: an argument is out of its range.
    """
    one_of("--mode", mode, MODES)
    size = math.prod(len(values) for values in over.values())
    if size > _MOST:
        raise ValueError(f"--over: {size} combinations, at most {_MOST} allowed.")
    grid = [
        dict(zip(over, point, strict=True))
        for point in itertools.product(*over.values())
    ]
    if mode == "grid":
        if count:
            raise ValueError(f"--trials: {count}; the grid has {size}. Leave it out.")
        return grid
    at_least("--trials", count, 1)
    if count > size:
        raise ValueError(f"--trials: {count}, at most {size} combinations are there.")
    return random.Random(seed).sample(grid, size)[:count]


def override(run: Run, values: Values) -> Run:
    """The Run with other values of some fields, every field checked again.

    Raises:
      ValueError: as `check`; or a Run cannot have the value.
    """
    fields = to_json(run)
    for path, value in values.items():
        holder, name = _place(fields, path)
        holder[name] = value
    return from_json(fields, objectives.BY_NAME)


def check(run: Run, over: dict[str, list[Any]]) -> None:
    """Refuses a field that the Run does not have."""
    for path in over:
        _place(to_json(run), path)


def _place(fields: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    """The dict that holds a field, and the name of the field in it."""
    *holders, name = path.split(".")
    for holder in (*holders, None):
        known = name if holder is None else holder
        if known not in fields:
            raise ValueError(f"--over: no field {path}.{suggest(known, fields)}")
        if holder is not None:
            fields = fields[holder]
            if not isinstance(fields, dict):
                raise ValueError(f"--over: no field {path}: {holder} is {fields!r}.")
    return fields, name


def _parts(text: str) -> list[str]:
    """Cuts a text at the commas that are in no brackets and no quotes."""
    parts, depth, quoted = [""], 0, False
    for character in text:
        quoted ^= character == '"'
        if not quoted:
            depth += (character in "[{") - (character in "]}")
        if character == "," and not depth and not quoted:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _value(text: str) -> Any:
    """The JSON value of a text, or else the text."""
    try:
        return json.loads(text)
    except ValueError:
        return text
