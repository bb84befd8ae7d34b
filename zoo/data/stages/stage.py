"""What a stage is, and how its argument is read.

A stage is a function from a text to a text, or to `Dropped`. It is made of an entry:
its name, or "name:argument". Thresholds are arguments such as "min_words=20".
"""

import dataclasses
import importlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from zoo.fields import from_fields, suggest


class Dropped(NamedTuple):
    """A text that a stage drops.

    Attributes:
      reason: why, in few words, without words of the text itself.
    """

    reason: str


Stage = Callable[[str], str | Dropped]


@dataclasses.dataclass(frozen=True)
class Batched:
    """A stage that is faster with many texts at a time.

    Attributes:
      one: of one text.
      many: of several texts, the results of `one` for each of them.
    """

    one: Stage
    many: Callable[[Sequence[str]], list[str | Dropped]]

    def __call__(self, text: str) -> str | Dropped:
        return self.one(text)


# A module of stages has a table STAGES of these, by name. Each takes the argument.
Maker = Callable[[str], Stage]


def plain(function: Stage) -> Maker:
    """The maker of a stage that takes no argument."""

    def make(argument: str) -> Stage:
        if argument:
            raise ValueError(f"argument {argument!r}, none allowed.")
        return function

    return make


def options(cls: type, argument: str) -> Any:
    """A dataclass of numbers from "name=value,name=value".

    Raises:
      ValueError: an unknown name, a name given twice, or a value of another type.
    """
    kinds = {field.name: field.type for field in dataclasses.fields(cls)}
    found: dict[str, Any] = {}
    for part in filter(None, argument.split(",")):
        name, _, value = part.partition("=")
        if name not in kinds:
            raise ValueError(f"argument {part!r}.{suggest(name, kinds)}")
        if name in found:
            raise ValueError(f"{name} is given twice.")
        try:
            found[name] = int(value) if kinds[name] is int else float(value)
        except ValueError:
            raise ValueError(f"{name}: {value!r} is no number.") from None
        if not found[name] >= 0:
            raise ValueError(f"{name}: {value}, at least 0 allowed.")
    return from_fields(cls, found, cls.__name__.lower())


def names(argument: str, allowed, what: str) -> list[str]:
    """The names of "name,name", at least one, each of them allowed."""
    found = [name.strip() for name in argument.split(",")]
    for name in found:
        if name not in allowed:
            raise ValueError(f"{what} {name!r}.{suggest(name, allowed)}")
    return found


def library(module: str, package: str) -> Any:
    """Imports an optional library, or says how to install it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise ValueError(f"needs one more package: pip install {package}.") from None
