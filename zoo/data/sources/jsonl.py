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
    for path in paths:
        for number, line in enumerate(compressed.lines(path), 1):
            if line.strip():
                yield _row(line, field, f"{path}, line {number}")


def _row(line: bytes, field: str, where: str) -> Example:
    """Parses one line and checks every string in the object."""
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{where}: byte {error.start} of the line is not valid UTF-8."
        ) from None
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{where}: not JSON ({error}).") from None
    if not isinstance(row, dict):
        raise ValueError(f"{where}: a {type(row).__name__}, expected a JSON object.")
    for key, value in row.items():
        if isinstance(value, str) and not _is_unicode(value):
            raise ValueError(f"{where}: field {key!r} holds half a surrogate pair.")
    return check_text(row, field, where)


def _is_unicode(value: str) -> bool:
    """Whether UTF-8 can encode the string; JSON can escape half a surrogate pair."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
