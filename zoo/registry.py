"""The one table from a model's name to its Config and its build function."""

import dataclasses
import math
import types
import typing
from collections.abc import Callable
from typing import Any

from zoo.shapes import suggest


@dataclasses.dataclass(frozen=True)
class Entry:
    """One row of the table.

    Attributes:
      name: the name that users give.
      config: the Config dataclass; two names may share one.
      fixed: the fields of Config that this name decides, such as `cell="gru"`.
      build: `build(config) -> keras.Model`, built, with initial weights.
      about: one line for the table of models.
    """

    name: str
    config: type
    fixed: dict[str, Any]
    build: Callable[[Any], Any]
    about: str


class Saved:
    """How Keras saves a model whose `config` is all that it is built from."""

    config: Any
    name: str

    def get_config(self):
        return {"config": to_fields(self.config), "name": self.name}

    @classmethod
    def from_config(cls, value):
        fields = dict(value["config"])
        return cls(config(fields.pop("name"), **fields), name=value["name"])


_ENTRIES: dict[str, Entry] = {}


def register(name: str, config: type, build: Callable, about: str, **fixed) -> None:
    """Adds a row; a model file calls it once for each name that it offers."""
    _ENTRIES[name] = Entry(name, config, fixed, build, about)


def names() -> list[str]:
    """The names of all models, sorted."""
    return sorted(_ENTRIES)


def entry(name: str) -> Entry:
    """The row of a name.

    Raises:
      ValueError: there is no such model; the message lists those there are.
    """
    if name not in _ENTRIES:
        raise ValueError(f"Unknown model {name!r}.{suggest(name, _ENTRIES)}")
    return _ENTRIES[name]


def config(name: str, **fields) -> Any:
    """The Config of a model, with some fields set.

    Raises:
      ValueError: an unknown model or field, or a value that the field refuses.
    """
    row = entry(name)
    for key, value in row.fixed.items():
        if fields.get(key, value) != value:
            raise ValueError(f"{name}.{key}: {fields[key]!r}, {value!r} allowed.")
    return from_fields(row.config, {**row.fixed, **fields}, where=name)


def name_of(config: Any) -> str:
    """The name of the model that a Config belongs to."""
    for row in _ENTRIES.values():
        if type(config) is row.config and all(
            getattr(config, key) == value for key, value in row.fixed.items()
        ):
            return row.name
    raise ValueError(f"No model of the registry has the config {config!r}.")


def build(name: str, **fields) -> Any:
    """Builds a model by name: `build("lstm_lm", units=256)`.

    Returns:
      A built keras.Model under the current dtype policy.
    """
    return build_config(config(name, **fields))


def build_config(config: Any) -> Any:
    """Builds the model of a Config."""
    return entry(name_of(config)).build(config)


def to_fields(config: Any) -> dict[str, Any]:
    """A Config as a JSON-able dict, its model's name first."""
    return {"name": name_of(config), **dataclasses.asdict(config)}


def from_fields(cls: type, fields: dict[str, Any], where: str) -> Any:
    """Builds a dataclass from a dict, checking names, types and finite numbers.

    Args:
      cls: a dataclass whose fields are bool, int, float, str, lists of those, or
        dataclasses.
      fields: what JSON or a caller gave.
      where: what messages call the whole, a name or a path of fields.

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
    if dataclasses.is_dataclass(kind):
        if isinstance(value, dict):
            return from_fields(kind, value, where)
        if isinstance(value, kind):
            return value
    elif typing.get_origin(kind) in (list, tuple):
        inner = typing.get_args(kind)[0]
        if isinstance(value, list | tuple):
            make = typing.get_origin(kind)
            return make(
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
    return getattr(kind, "__name__", str(kind))


def one_of(where: str, value: str, allowed) -> None:
    """Refuses a value that is not among those allowed."""
    if value not in allowed:
        raise ValueError(f"{where}: {value!r}.{suggest(str(value), allowed)}")


def at_least(where: str, value: float, least: float) -> None:
    """Refuses a number below the least one allowed (and one that is not finite)."""
    if not value >= least or not math.isfinite(value):
        raise ValueError(f"{where}: {value}, at least {least} allowed.")


def share(where: str, value: float) -> None:
    """Refuses a number outside [0, 1)."""
    if not 0 <= value < 1:
        raise ValueError(f"{where}: {value}, at least 0 and below 1 allowed.")
