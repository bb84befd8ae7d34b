"""The rewards by name, those of users too, and the entries that ask for them."""

import inspect
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from trainers.rewards.functions import BUILT_IN, COLUMNS, Score
from zoo.fields import suggest

MODEL = "model"  # the reward of a model directory, which is no function of text


class Entry(NamedTuple):
    """One part of a reward.

    Attributes:
      weight: of the part in the sum.
      name: of the reward.
      argument: what follows the colon, or "".
    """

    weight: float
    name: str
    argument: str


class _Own(NamedTuple):
    """A function of a user, and the module and file that register it."""

    function: Callable[..., float]
    module: str
    file: str


_OWN: dict[str, _Own] = {}


def register(name: str) -> Callable[[Callable], Callable]:
    """Registers a function of your own as a reward: `@rewards.register("polite")`.

    The function takes a `Sample`, and the entry's argument if it has a second
    parameter. It returns a finite number. It runs in worker processes, each of which
    imports the module once. So the decorator stands at the top level of a module or of
    a config file. A module that imports TensorFlow makes each worker slow to start and
    large; a small module with the functions alone does not.

    Raises:
      ValueError: the name has spaces or a colon, is taken, or the function is defined
        in a script that runs as `__main__`.
    """
    if not name or ":" in name or any(c.isspace() for c in name):
        raise ValueError(f"reward {name!r}: a name without spaces and colons allowed.")
    if name in BUILT_IN or name == MODEL:
        raise ValueError(f"reward {name!r}: is built in; another name allowed.")

    def decorate(function):
        where = getattr(inspect.unwrap(function), "__globals__", None)
        if where is None:
            raise ValueError(f"reward {name!r}: {function!r}, a function allowed.")
        module, file = where.get("__name__", ""), where.get("__file__", "")
        if module == "__main__" or not file:
            raise ValueError(
                f"reward {name!r}: is defined in a script, which workers cannot "
                "import; a module or a config file allowed."
            )
        before = _OWN.get(name)
        if before is not None and before.file != file:
            raise ValueError(f"reward {name!r}: is registered by {before.file} too.")
        _OWN[name] = _Own(function, module, file)
        return function

    return decorate


def parse(entries: Sequence[str]) -> list[Entry]:
    """The entries "WEIGHT NAME" or "WEIGHT NAME:ARGUMENT" of a config.

    Raises:
      ValueError: there is none, one has another form, or a reward is unknown.
    """
    if isinstance(entries, str) or not entries:
        raise ValueError(
            f"rewards: {entries!r}, a list of entries such as '1 number_after:####' "
            "allowed."
        )
    return [_entry(text) for text in entries]


def check_columns(
    entries: Sequence[str],
    examples: Sequence[tuple[str, dict[str, Any]]],
    some_lack: bool = False,
) -> None:
    """Refuses examples without a column that a built-in reward reads.

    Args:
      entries: of a config.
      examples: where each is from (file and line), and its columns.
      some_lack: whether some examples may lack it; those get the score of an error.

    Raises:
      ValueError: an entry is wrong, or an example lacks its column; the first is named.
    """
    read = [
        (text, COLUMNS[entry.name](entry.argument))
        for text, entry in zip(entries, parse(entries), strict=True)
        if entry.name in COLUMNS
    ]
    for text, column in read:
        lack = [one for one in examples if column not in one[1]]
        if lack and not (some_lack and len(lack) < len(examples)):
            where, example = lack[0]
            raise ValueError(
                f"{where}: no column {column!r}, which config.objective.rewards "
                f"{text!r} reads.{suggest(column, example)}"
            )


def _entry(text: str) -> Entry:
    """One entry."""
    number, _, rest = text.strip().partition(" ")
    name, _, argument = rest.lstrip().partition(":")
    try:
        weight = float(number)
    except ValueError:
        weight = math.nan
    if not math.isfinite(weight) or not name:
        raise ValueError(
            f"rewards: {text!r}, WEIGHT NAME or WEIGHT NAME:ARGUMENT allowed, such as "
            "'1 number_after:####'."
        )
    allowed = names()
    if name not in allowed:
        raise ValueError(
            f"rewards: {text!r}: unknown {name!r}.{suggest(name, allowed)}"
        )
    if name == MODEL and not argument:
        raise ValueError(
            f"rewards: {text!r}, model:DIR with a model directory allowed."
        )
    return Entry(weight, name, argument)


def names() -> list[str]:
    """The rewards that an entry may name."""
    return sorted([*BUILT_IN, *_OWN, MODEL])


def modules(entries: Sequence[Entry]) -> list[tuple[str, str]]:
    """The modules, with their files, that register what the entries name."""
    found = [_OWN[entry.name] for entry in entries if entry.name in _OWN]
    return list(dict.fromkeys((own.module, own.file) for own in found))


def files(entries: Sequence[Entry]) -> dict[str, str]:
    """The file of each user's function that the entries name, by "reward NAME"."""
    return {
        f"reward {entry.name}": _OWN[entry.name].file
        for entry in entries
        if entry.name in _OWN
    }


def build(name: str, argument: str) -> Score:
    """The function of a sample that an entry names; workers call this.

    Raises:
      ValueError: the argument is wrong, or the imported modules do not register the
        name.
    """
    if name in BUILT_IN:
        try:
            return BUILT_IN[name](argument)
        except ValueError as error:
            raise ValueError(f"reward {name!r}: {error}") from None
    if name not in _OWN:
        raise ValueError(
            f"reward {name!r}: a worker imported its module, which did not register "
            "it; a decorator at the top level of the module allowed."
        )
    function = _OWN[name].function
    if _takes_argument(name, function):
        return lambda sample: function(sample, argument)
    if argument:
        raise ValueError(f"reward {name!r}: takes no argument, but got {argument!r}.")
    return function


def _takes_argument(name: str, function: Any) -> bool:
    """Whether a function takes a sample and an argument."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    found = inspect.signature(function).parameters.values()
    taken = [p for p in found if p.kind in kinds]
    needed = [
        p
        for p in found
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    if not taken or len(needed) > 2 or not set(needed) <= set(taken):
        raise ValueError(
            f"reward {name!r}: its parameters are {inspect.signature(function)}; a "
            "sample, or a sample and an argument allowed."
        )
    return len(taken) > 1


def loaded_tensorflow() -> bool:
    """Whether this process has imported TensorFlow."""
    return "tensorflow" in sys.modules
