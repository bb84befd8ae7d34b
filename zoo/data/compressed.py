"""Finds and opens the files of a source, plain or compressed."""

import glob
import gzip
import lzma
import os
import zlib
from collections.abc import Iterator
from typing import BinaryIO, cast

_OPENERS = {".gz": gzip.open, ".xz": lzma.open}
# What the decompressors raise when a file is damaged or cut off.
_DAMAGE = (EOFError, lzma.LZMAError, gzip.BadGzipFile, zlib.error)


def find(patterns: str) -> list[str]:
    """Finds the files that comma-separated paths or globs (`**` too) name, each once.

    Returns:
      The paths in the order of the patterns, those of one glob sorted by name.

    Raises:
      ValueError: a pattern names no file, or a directory.
    """
    paths: dict[str, None] = {}
    for pattern in patterns.split(","):
        pattern = pattern.strip()
        # A path that exists is no glob, even if the name has brackets.
        found = [pattern] if os.path.exists(pattern) else _glob(pattern)
        if not found:
            raise ValueError(f"{pattern!r}: no such file.")
        if os.path.isdir(found[0]):
            raise ValueError(
                f"{pattern!r} is a directory; name its files, such as "
                f"{os.path.join(pattern, '**', '*.txt')!r}."
            )
        paths.update(dict.fromkeys(found))
    return list(paths)


def read(path: str) -> bytes:
    """The content of one file, decompressed by its ending (.gz, .xz).

    Raises:
      ValueError: the file is missing, empty, or its compression is damaged.
    """
    return b"".join(lines(path))


def lines(path: str) -> Iterator[bytes]:
    """The lines of one file, split at newlines only, each with its newline.

    Raises:
      ValueError: the file is missing, empty, or its compression is damaged.
    """
    opener = _OPENERS.get(os.path.splitext(path)[1], open)
    empty = True
    try:
        with cast(BinaryIO, opener(path, "rb")) as file:
            for line in file:
                empty = False
                yield line
    except _DAMAGE as error:
        raise ValueError(f"{path}: damaged compressed file ({error}).") from None
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}.") from None
    if empty:
        raise ValueError(f"{path}: the file is empty.")


def _glob(pattern: str) -> list[str]:
    """The files, without the folders, that a glob names."""
    return sorted(p for p in glob.glob(pattern, recursive=True) if os.path.isfile(p))
