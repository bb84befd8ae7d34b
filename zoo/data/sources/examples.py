"""Examples, and the checks that several sources share."""

from typing import Any

from zoo.fields import suggest

Example = dict[str, Any]  # field to string or number
# The place, such as "chats.jsonl, line 3", and what is there or what is wrong with it.
Numbered = tuple[str, Example | ValueError]


def check_text(example: Example, field: str, where: str) -> Example:
    """Returns the example; refuses one whose `field` is not a string.

    Args:
      example: of any source.
      field: must hold a string; "" checks nothing.
      where: the file and line, for the message.
    """
    if field and field not in example:
        raise ValueError(f"{where}: no field {field!r}.{suggest(field, example)}")
    if field and not isinstance(example[field], str):
        kind = type(example[field]).__name__
        raise ValueError(f"{where}: field {field!r} is a {kind}, expected a string.")
    return example


def only_train(where: str, split: str) -> None:
    """Refuses another split of a source that has one split."""
    if split != "train":
        raise ValueError(
            f"{where}: split {split!r}, only 'train' allowed; name other data as a "
            "source of its own, or hold out a fraction."
        )
