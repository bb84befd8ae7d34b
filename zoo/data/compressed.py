"""Finds and reads the files of a source, plain or compressed."""

import codecs
import glob
import gzip
import lzma
import os
import re
import zlib
from collections.abc import Iterator
from typing import BinaryIO, cast

BYTE_ORDER_MARK = "\ufeff"
# Python turns a byte of a path that is not UTF-8 into one of these.
_ESCAPED_BYTES = re.compile("[\udc80-\udcff]")
_OPENERS = {".gz": gzip.open, ".xz": lzma.open}
# What the decompressors raise when a file is damaged or cut off.
_DAMAGE = (EOFError, lzma.LZMAError, gzip.BadGzipFile, zlib.error)


def find(patterns: str) -> list[str]:
    """Finds the files that comma-separated paths or globs (`**` too) name, each once.

    Returns:
      The paths in the order of the patterns, those of one glob sorted by name.

    Raises:
      ValueError: a pattern names no file, a directory, a pipe or a device.
    """
    paths: dict[str, None] = {}
    for pattern in patterns.split(","):
        pattern = pattern.strip()
        # A path that exists is no glob, even if the name has brackets.
        found = [pattern] if os.path.exists(pattern) else _glob(pattern)
        if not found:
            raise ValueError(f"'{shown(pattern)}': no such file.")
        if os.path.isdir(found[0]):
            raise ValueError(
                f"'{shown(pattern)}' is a directory; name its files, such as "
                f"'{shown(os.path.join(pattern, '**', '*.txt'))}'."
            )
        if not os.path.isfile(found[0]):  # a pipe would wait, a device may never end
            raise ValueError(f"'{shown(pattern)}' is not a regular file.")
        paths.update(dict.fromkeys(found))
    return list(paths)


def text(path: str) -> str:
    """The text of one UTF-8 file, decompressed by its ending (.gz, .xz).

    Raises:
      ValueError: the file is missing or empty, its compression is damaged, or a byte
        is not UTF-8.
    """
    return decode(b"".join(lines(path)), shown(path))


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
        raise ValueError(f"{shown(path)}: damaged compressed file ({error}).") from None
    except OSError as error:
        raise ValueError(f"{shown(path)}: {error.strerror or error}.") from None
    if empty:
        raise ValueError(f"{shown(path)}: the file is empty.")


def is_path(spec: str) -> bool:
    """Whether a spec without the name of a source looks like a file or a folder."""
    kind = spec.partition(":")[0]
    return "/" in kind or "." in kind or os.path.exists(spec)


def decode(data: bytes, where: str) -> str:
    """UTF-8 bytes as text, without the byte order mark that some programs write.

    Args:
      data: of a file, a line or a field.
      where: what the message calls it.

    Raises:
      ValueError: a byte is not UTF-8; the message names its place and value.
    """
    try:
        return data.decode("utf-8").removeprefix(BYTE_ORDER_MARK)
    except UnicodeDecodeError as error:
        byte = f"byte {error.start} (0x{data[error.start]:02x})"
        utf_16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        hint = " This looks like UTF-16; save it as UTF-8." if utf_16 else ""
        raise ValueError(f"{where}: {byte} is not UTF-8.{hint}") from None


def shown(path: str) -> str:
    """A path or a spec for a message; a byte that is not UTF-8 becomes `\\xff`."""
    path = _ESCAPED_BYTES.sub(lambda m: f"\\x{ord(m[0]) - 0xDC00:02x}", path)
    return path.encode("utf-8", "backslashreplace").decode()


def _glob(pattern: str) -> list[str]:
    """The files, without the folders, that a glob names."""
    return sorted(p for p in glob.glob(pattern, recursive=True) if os.path.isfile(p))
