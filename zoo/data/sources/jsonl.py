"""JSON lines as examples, an object a line."""

import json
from collections.abc import Iterator

from zoo.data import compressed
from zoo.data.sources.examples import Example, check_text, only_train


def read(patterns: str, split: str, field: str) -> Iterator[Example]:
    """Yields the object of each line; blank lines are skipped.

    Args:
      patterns: comma-separated paths or globs.
      split: "train".
      field: must hold a string in every object; "" checks nothing.

    Raises:
      ValueError: another split or a missing file (at once); a line that is not a
        JSON object, or whose strings are not valid Unicode (when reached).
    """
    only_train("jsonl", split)
    return _rows(compressed.find(patterns), field)


def _rows(paths: list[str], field: str) -> Iterator[Example]:
    """The objects of all lines that are not blank."""
    for path in paths:
        for number, line in enumerate(compressed.lines(path), 1):
            if line.strip():
                where = f"{compressed.shown(path)}, line {number}"
                yield _row(line, field, where)


def _row(line: bytes, field: str, where: str) -> Example:
    """Parses one line and checks every string in the object."""
    text = compressed.decode(line, where)
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:  # of JSON, or a very long number
        raise ValueError(f"{where}: not JSON ({error}).") from None
    if not isinstance(row, dict):
        raise ValueError(f"{where}: a {type(row).__name__}, expected a JSON object.")
    for key, value in row.items():
        if not _is_unicode(key) or isinstance(value, str) and not _is_unicode(value):
            raise ValueError(f"{where}: field {key!r} holds half a surrogate pair.")
    return check_text(row, field, where)


def _is_unicode(value: str) -> bool:
    """Whether UTF-8 can encode the string; JSON can escape half a surrogate pair."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
