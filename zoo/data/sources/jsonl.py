"""JSON lines as examples, an object a line."""

import json
import re
from collections.abc import Iterator

from zoo.data import compressed
from zoo.data.sources.examples import Example, Numbered

_HALF = re.compile(rb"\\u[dD]")  # JSON can escape half a surrogate pair


def rows(path: str, field: str = "") -> Iterator[Numbered]:
    """Yields the file and number of each line that is not blank, and its object.

    Args:
      path: of the file, or of a zip of such files.
      field: unused.

    Yields:
      The place, and the object; or the error about a line that is not a JSON object,
      or whose strings are not valid Unicode.

    Raises:
      ValueError: the file is missing, empty, or damaged.
    """
    del field
    for file in compressed.files_in(path):
        for number, line in enumerate(file.lines(), 1):
            if line.strip():
                where = f"{file.name}, line {number}"
                try:
                    found: Example | ValueError = _row(line, where)
                except ValueError as error:
                    found = error
                yield where, found


def _row(line: bytes, where: str) -> Example:
    """Parses one line and checks every string in the object."""
    text = compressed.decode(line, where)
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:  # of JSON, or a very long number
        raise ValueError(f"{where}: not JSON ({error}).") from None
    if not isinstance(row, dict):
        raise ValueError(f"{where}: a {type(row).__name__}, expected a JSON object.")
    if _HALF.search(line):
        for key, value in row.items():
            if not _is_unicode(json.dumps([key, value], ensure_ascii=False)):
                raise ValueError(f"{where}: field {key!r} holds half a surrogate pair.")
    return row


def _is_unicode(value: str) -> bool:
    """Whether UTF-8 can encode the string."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
