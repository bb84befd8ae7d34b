"""JSON as examples: an object a line, or one array of objects."""

import codecs
import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

from zoo.data import compressed
from zoo.data.sources.examples import Example, Numbered

_SPACE = re.compile(r"[ \t\r\n]*")
_HALF = re.compile(rb"\\u[dD]")  # JSON can escape half a surrogate pair


def rows(path: str, field: str = "") -> Iterator[Numbered]:
    """Yields the file and number of each line that is not blank, and its object.

    A file that starts with an array, or with an object over several lines, is read as a
    whole: memory holds all of it.

    Args:
      path: of the file, or of a zip of such files.
      field: unused.

    Yields:
      The place, and the object; or the error about a line that is not a JSON object,
      or whose strings are not valid Unicode.

    Raises:
      ValueError: the file is missing, empty, or damaged; or its array is.
    """
    del field
    for file in compressed.files_in(path):
        lines = ((n, line) for n, line in enumerate(file.lines(), 1) if line.strip())
        at, first = next(lines, (0, b""))
        start = first.removeprefix(codecs.BOM_UTF8).strip()
        if start.startswith(b"[") or start == b"{":
            yield from _values(first + b"".join(line for _, line in lines), file.name)
            continue
        for number, line in itertools.chain([(at, first)] if first else [], lines):
            where = f"{file.name}, line {number}"
            try:
                found: Example | ValueError = _row(line, where)
            except ValueError as error:
                found = error
            yield where, found


def _values(data: bytes, name: str) -> Iterator[Numbered]:
    """The objects of an array, or of a file that has one behind the other."""
    text = compressed.decode(data, name)
    halves = bool(_HALF.search(data))
    decoder = json.JSONDecoder()
    place = _space(text, 0)
    array = text[place] == "["
    place += array
    for number in itertools.count(1):
        where = f"{name}, item {number}"
        place = _space(text, place)
        if text[place : place + 1] == ("]" if array else ""):
            break
        try:
            row, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{where}: not JSON ({error}).") from None
        try:
            yield where, _checked(row, where, halves)
        except ValueError as error:
            yield where, error
        place = _space(text, place)
        if array and text[place : place + 1] != "]":
            if text[place : place + 1] != ",":
                raise ValueError(f"{where}: neither a comma nor ] follows.")
            place += 1
    if text[place + array :].strip():
        raise ValueError(f"{name}: more text follows the array.")


def _space(text: str, place: int) -> int:
    """The first place from here on that is no white space."""
    match = _SPACE.match(text, place)
    return match.end() if match else place


def _row(line: bytes, where: str) -> Example:
    """Parses one line and checks every string in the object."""
    text = compressed.decode(line, where)
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:  # of JSON, or a very long number
        raise ValueError(f"{where}: not JSON ({error}).") from None
    return _checked(row, where, bool(_HALF.search(line)))


def _checked(row: Any, where: str, halves: bool) -> Example:
    """A value of JSON that is an object.

    Args:
      row: the value.
      where: its place.
      halves: whether a string may hold half a surrogate pair.
    """
    if not isinstance(row, dict):
        raise ValueError(f"{where}: a {type(row).__name__}, expected a JSON object.")
    if halves:
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
