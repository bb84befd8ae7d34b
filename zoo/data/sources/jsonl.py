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


def numbered(patterns: str, split: str) -> Iterator[tuple[str, Example | ValueError]]:
    """Yields the file and line of each object, and the object or what is wrong with it.

    Raises:
      ValueError: another split or a missing file.
    """
    only_train("jsonl", split)
    for where, line in _lines(compressed.find(patterns)):
        try:
            yield where, _row(line, "", where)
        except ValueError as error:
            yield where, error


def _rows(paths: list[str], field: str) -> Iterator[Example]:
    """The objects of all lines that are not blank."""
    for where, line in _lines(paths):
        yield _row(line, field, where)


def _lines(paths: list[str]) -> Iterator[tuple[str, bytes]]:
    """The file and number of each line that is not blank, and its bytes."""
    for path in paths:
        for number, line in enumerate(compressed.lines(path), 1):
            if line.strip():
                yield f"{compressed.shown(path)}, line {number}", line


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
