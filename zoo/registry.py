"""The table of models: from a name to a Config and a build function.

Every Config states the kind of its model once:

    task     "generate", "seq2seq", "embed", "classify", "regress", "tag" or "fill_mask"
    reads    "text" or "features" (a row of numbers)

Signatures, feeds, evaluation and commands dispatch on these two fields, and never on
the class of a model.
"""

import dataclasses
import typing
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from zoo import fields as fields_lib
from zoo.fields import suggest


@dataclasses.dataclass(frozen=True)
class Entry:
    """One row of the table.

    Attributes:
      name: the name for users.
      config: the Config dataclass; several names may share one.
      fixed: the fields of Config that the name decides, such as `cell="gru"`.
      build: `build(config) -> keras.Model`, built, with initial weights.
      about: one line for the table of models.
      not_exported: the reason why the model cannot be exported, or "".
      own_layers: whether the model is made of `zoo.layers`; heads, adapters and packing
        need these.
    """

    name: str
    config: type
    fixed: dict[str, Any]
    build: Callable[[Any], Any]
    about: str
    not_exported: str = ""
    own_layers: bool = True


class ConfigSerializable:
    """Lets Keras save and load a model that is built from its `config` alone."""

    config: Any
    name: str

    def get_config(self):
        return {"config": to_fields(self.config), "name": self.name}

    @classmethod
    def from_config(cls, value):
        make: Any = cls  # a model, whose first argument is its Config
        return make(from_fields(value["config"]), name=value["name"])


if TYPE_CHECKING:
    Nested = Any
else:

    class Nested:
        """The type of a field that holds the Config of another model.

        `to_fields` writes the field as {"name": ..., field: value, ...}, and
        `from_fields` reads it. An example: a dataclass is registered as "headed" and
        has the field `body: Nested`.

            {"name": "headed", "body": {"name": "lstm_lm", "units": 256, ...}, ...}
        """

        @classmethod
        def from_plain(cls, value, where):
            """The Config of a JSON object; a Config and None stay as they are.

            Raises:
              ValueError: the value is neither, or as `from_fields`.
            """
            if isinstance(value, dict):
                return from_fields(value, where)
            if value is None:
                return None
            if not any(type(value) is row.config for row in _ENTRIES.values()):
                raise ValueError(
                    f"{where}: {value!r:.80}, the Config of a model or an object with "
                    "its name allowed."
                )
            return value


_ENTRIES: dict[str, Entry] = {}


def register(
    name: str,
    config: type,
    build: Callable,
    about: str,
    not_exported: str = "",
    own_layers: bool = True,
    **fixed,
) -> None:
    """Adds a row. A model file calls this function once for each of its names.

    Raises:
      ValueError: the Config does not state its `task` or what it `reads`.
    """
    for field in ("task", "reads"):
        if not hasattr(config, field):
            raise ValueError(f"{name}: its Config has no {field}; see zoo.registry.")
    _ENTRIES[name] = Entry(name, config, fixed, build, about, not_exported, own_layers)


def names() -> list[str]:
    """The names of all models, sorted."""
    return sorted(_ENTRIES)


def entry(name: str) -> Entry:
    """The row of a name.

    Raises:
      ValueError: there is no such model; the message lists the names.
    """
    if name not in _ENTRIES:
        raise ValueError(f"Unknown model {name!r}.{suggest(name, _ENTRIES)}")
    return _ENTRIES[name]


def config(name: str, **fields) -> Any:
    """The Config of a model, with some fields set.

    Raises:
      ValueError: an unknown model or field, or a value that the field refuses.
    """
    return _config(entry(name), fields, where=name)


def _config(row: Entry, fields: dict[str, Any], where: str) -> Any:
    """The Config of a row; `where` names it in messages."""
    for key, value in row.fixed.items():
        if fields.get(key, value) != value:
            raise ValueError(f"{where}.{key}: {fields[key]!r}, {value!r} allowed.")
    return fields_lib.from_fields(row.config, {**row.fixed, **fields}, where=where)


def name_of(config: Any) -> str:
    """The name of the model of a Config."""
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
    """A Config as an object for JSON: the name of its model, then its fields."""
    fields = dataclasses.asdict(config)
    for key, kind in typing.get_type_hints(type(config)).items():
        if kind is Nested and key in fields:
            inner = getattr(config, key)
            fields[key] = None if inner is None else to_fields(inner)
    return {"name": name_of(config), **fields}


def from_fields(fields: dict[str, Any], where: str = "") -> Any:
    """The Config that `to_fields` wrote; absent fields get their defaults.

    Args:
      fields: an object with the field "name".
      where: the name of the object in messages; "" is the name of the model.

    Raises:
      ValueError: there is no name, or as `config`.
    """
    fields = dict(fields)
    name = fields.pop("name", None)
    if not isinstance(name, str):
        raise ValueError(f"{where or 'config'}.name: {name!r}.{suggest('', _ENTRIES)}")
    row = entry(name)
    return _config(row, fields, where or name)
