"""Builds dataclasses from plain data (JSON, keyword arguments) and checks fields."""

import dataclasses
import difflib
import math
import types
import typing
from typing import Any


def suggest(given: str, allowed) -> str:
    """The end of an error message: the nearest allowed name if any, then the list."""
    allowed = sorted(allowed)
    near = difflib.get_close_matches(given, allowed, n=1)
    initials = "".join(word[:1] for word in given.split("_"))
    near = near or [name for name in allowed if name == initials]  # learning_rate: lr
    hint = f" Did you mean {near[0]}?" if near else ""
    return f"{hint} Allowed: {', '.join(allowed)}."


def from_fields(cls: type, fields: dict[str, Any], where: str) -> Any:
    """Builds a dataclass from a dict, checking names, types and finite numbers.

    Args:
      cls: a dataclass. Its fields are bool, int, float, str, Any, lists or tuples of
        these, dataclasses, or classes with a method `from_plain(value, where)`.
      fields: the values by name; a dataclass may be given as a dict.
      where: the name of the object in messages, or a path of fields.

    Raises:
      ValueError: an unknown field, a wrong type, a number that is not finite, or
        a value that the dataclass itself refuses.
    """
    kinds = typing.get_type_hints(cls)
    values = {}
    for key, value in fields.items():
        if key not in kinds:
            raise ValueError(f"Unknown field {where}.{key}.{suggest(key, kinds)}")
        values[key] = _checked(kinds[key], value, f"{where}.{key}")
    try:
        return cls(**values)
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from None


def _checked(kind: Any, value: Any, where: str) -> Any:
    """The value of a field of type `kind`, or a ValueError."""
    if hasattr(kind, "from_plain"):
        return kind.from_plain(value, where)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        if isinstance(value, dict):
            return from_fields(kind, value, where)
        if isinstance(value, kind):
            return value
    elif typing.get_origin(kind) in (list, tuple):
        inner = typing.get_args(kind)[0]
        if isinstance(value, list | tuple):
            return (list if typing.get_origin(kind) is list else tuple)(
                _checked(inner, v, f"{where}[{i}]") for i, v in enumerate(value)
            )
    elif isinstance(kind, types.UnionType) or kind is Any:
        return value
    elif kind is float and type(value) in (int, float):
        if not math.isfinite(value):
            raise ValueError(f"{where}: {value} is not a finite number.")
        return float(value)
    elif type(value) is kind:
        return value
    raise ValueError(
        f"{where}: {value!r} is a {type(value).__name__}, expected {_type_name(kind)}."
    )


def _type_name(kind: Any) -> str:
    """The name of a type for messages."""
    return getattr(kind, "__name__", str(kind))


def one_of(where: str, value: str, allowed) -> None:
    """Raises a ValueError for a value that is not allowed."""
    if value not in allowed:
        raise ValueError(f"{where}: {value!r}.{suggest(str(value), allowed)}")


def at_least(where: str, value: float, least: float) -> None:
    """Raises a ValueError for a number below `least`, or not finite."""
    if not value >= least or not math.isfinite(value):
        raise ValueError(f"{where}: {value}, at least {least} allowed.")


def check_fraction(where: str, value: float) -> None:
    """Raises a ValueError for a number outside [0, 1)."""
    if not 0 <= value < 1:
        raise ValueError(f"{where}: {value}, at least 0 and below 1 allowed.")
