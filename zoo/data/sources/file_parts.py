"""Parts: pieces of a source that can be read one by one, in any process."""

import re
import urllib.parse
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from zoo.data import storage

# A part of a text source holds many small files: a folder may have a million of them.
_PART_BYTES = 32 * 2**20
_PART_FILES = 1000
# What would end a path in a spec; and bytes of a path that are not UTF-8.
_MARKS = re.compile("[%,#\udc80-\udcff]")


class Part(NamedTuple):
    """A file, a run of small text files, or one split of kjv or tfds.

    Attributes:
      spec: as a spec of `zoo.data.sources`, but its paths are no globs, and `%`, `,`
        and `#` in a path are written as `%25`, `%2C` and `%23`.
      split: as in `zoo.data.sources`.
    """

    spec: str
    split: str


def of_files(kind: str, paths: Sequence[str], field: str) -> list[Part]:
    """The parts of a source of files.

    Args:
      kind: the source.
      paths: in order.
      field: of the spec, or "".
    """
    end = f"#{field}" if field else ""
    groups = _groups(paths) if kind == "text" else ([path] for path in paths)
    return [
        Part(f"{kind}:{','.join(map(_quoted, group))}{end}", "train")
        for group in groups
    ]


def paths_of(rest: str) -> list[str]:
    """The paths of a part, from what its spec has after the colon."""
    return [
        urllib.parse.unquote(path, errors="surrogateescape") for path in rest.split(",")
    ]


def _groups(paths: Sequence[str]) -> Iterator[list[str]]:
    """Cuts paths into runs of about 32 MiB, or of 1,000 files."""
    group: list[str] = []
    total = 0
    for path in paths:
        group.append(path)
        total += storage.size(path)
        if total >= _PART_BYTES or len(group) == _PART_FILES:
            yield group
            group, total = [], 0
    if group:
        yield group


def _quoted(path: str) -> str:
    """A path without the marks that have a meaning in a spec."""

    def escaped(match: re.Match) -> str:
        data = match[0].encode("utf-8", "surrogateescape")
        return f"%{data[0]:02X}"

    return _MARKS.sub(escaped, path)
