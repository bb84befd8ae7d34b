"""The one table from a model's name to its Config and its build function.

Every Config says once what kind of model it describes:

    task     "generate", "embed", "classify" or "regress"
    reads    "text" or "features" (a row of numbers)

Signatures, feeds, evaluation and the commands choose by these two, and never by the
class of a model.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from zoo.fields import from_fields, suggest


@dataclasses.dataclass(frozen=True)
class Entry:
    """One row of the table.

    Attributes:
      name: the name that users give.
      config: the Config dataclass; two names may share one.
      fixed: the fields of Config that this name decides, such as `cell="gru"`.
      build: `build(config) -> keras.Model`, built, with initial weights.
      about: one line for the table of models.
      not_exported: why no SavedModel can be made of it, or "".
    """

    name: str
    config: type
    fixed: dict[str, Any]
    build: Callable[[Any], Any]
    about: str
    not_exported: str = ""


class ConfigSerializable:
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


def register(
    name: str,
    config: type,
    build: Callable,
    about: str,
    not_exported: str = "",
    **fixed,
) -> None:
    """Adds a row; a model file calls it once for each name that it offers."""
    _ENTRIES[name] = Entry(name, config, fixed, build, about, not_exported)


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
