"""Examples, and the checks that several sources share."""

from typing import Any

from zoo.fields import suggest

Example = dict[str, Any]  # field to string or number
# The place, such as "chats.jsonl, line 3", and what is there or what is wrong with it.
Numbered = tuple[str, Example | ValueError]


ABSENT: Any = object()  # what an example has in the place of a column that it lacks


def cell(example: Example, column: str, default: Any = ABSENT) -> Any:
    """What a column holds, or the default.

    A name with dots reaches into objects: of {"translation": {"en": "a house"}} the
    column "translation.en" is "a house".
    """
    if column in example:
        return example[column]
    found: Any = example
    for name in column.split("."):
        if not isinstance(found, dict) or name not in found:
            return default
        found = found[name]
    return found


def columns(example: Example) -> list[str]:
    """The names of an example's columns, those in its objects too, for messages."""
    inner = [
        f"{name}.{key}"
        for name, found in example.items()
        if isinstance(found, dict)
        for key in found
    ]
    return [*example, *inner]


def check_text(example: Example, field: str, where: str) -> Example:
    """Returns the example; refuses one whose `field` is not a string.

    Args:
      example: of any source.
      field: must hold a string; "" checks nothing.
      where: the file and line, for the message.
    """
    found = cell(example, field) if field else ""
    if found is ABSENT:
        raise ValueError(
            f"{where}: no field {field!r}.{suggest(field, columns(example))}"
        )
    if not isinstance(found, str):
        kind = type(found).__name__
        raise ValueError(f"{where}: field {field!r} is a {kind}, expected a string.")
    return example


def only_train(where: str, split: str) -> None:
    """Refuses another split of a source that has one split."""
    if split != "train":
        raise ValueError(
            f"{where}: split {split!r}, only 'train' allowed; name other data as a "
            "source of its own, or hold out a fraction."
        )
