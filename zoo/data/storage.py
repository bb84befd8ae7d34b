"""Files of this machine, and those of gs://, s3:// and other stores of fsspec.

A path with a protocol, such as `gs://bucket/a.jsonl`, is read by fsspec. Each protocol
needs its own package: `gcsfs` for gs://, `s3fs` for s3://. Other paths are local.
"""

import contextlib
import glob
import os
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

_REMOTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# Python turns a byte of a path that is not UTF-8 into one of these.
_POINTER = b"version https://git-lfs.github.com/spec/"
_ESCAPED_BYTES = re.compile("[\udc80-\udcff]")


def shown(path: str) -> str:
    """A path or a spec for a message; a byte that is not UTF-8 becomes `\\xff`."""
    path = _ESCAPED_BYTES.sub(lambda m: f"\\x{ord(m[0]) - 0xDC00:02x}", path)
    return path.encode("utf-8", "backslashreplace").decode()


def is_remote(path: str) -> bool:
    """Whether a path has a protocol, such as gs://."""
    return bool(_REMOTE.match(path))


def open_bytes(path: str) -> BinaryIO:
    """Opens a file for reading; it can be searched (`seek`).

    Raises:
      ValueError: there is no such file, it cannot be read, or it is a pointer of Git
        LFS in the place of the file.
    """
    with reading(path):
        if is_remote(path):
            filesystem, inner = _filesystem(path)
            file = cast(BinaryIO, filesystem.open(inner, "rb"))
        else:
            file = open(path, "rb")
        if file.read(len(_POINTER)) == _POINTER:
            file.close()
            raise ValueError(
                f"{shown(path)}: a pointer of Git LFS, not the file: run git lfs pull."
            )
        file.seek(0)
        return file


def size(path: str) -> int:
    """The bytes of a file, as they are stored.

    Raises:
      ValueError: there is no such file, or it cannot be read.
    """
    with reading(path):
        if is_remote(path):
            filesystem, inner = _filesystem(path)
            return filesystem.size(inner) or 0
        return os.path.getsize(path)


def exists(path: str) -> bool:
    """Whether there is a file or a folder of this path.

    Raises:
      ValueError: the store cannot be asked.
    """
    with reading(path):
        if is_remote(path):
            filesystem, inner = _filesystem(path)
            return filesystem.exists(inner)
        return os.path.exists(path)


@contextlib.contextmanager
def reading(path: str) -> Iterator[None]:
    """Turns what a system or a store raises in the block into a ValueError.

    Raises:
      ValueError: names the path and the reason.
    """
    try:
        yield
    except ValueError as error:
        if is_remote(path) and shown(path) not in str(error):  # of a store
            raise ValueError(f"{shown(path)}: {error}") from None
        raise
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise ValueError(f"{shown(path)}: {shown(reason)}.") from None
    except Exception as error:
        if not is_remote(path):
            raise
        # Each store has errors of its own, which have no common class.
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise ValueError(f"{shown(path)}: {shown(reason)}") from None


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
        found = _find_remote(pattern) if is_remote(pattern) else _find_local(pattern)
        if not found:
            raise ValueError(f"'{shown(pattern)}': no such file.")
        paths.update(dict.fromkeys(found))
    return list(paths)


def _find_local(pattern: str) -> list[str]:
    """The files of this machine that a path or a glob names, without folders."""
    # A path that exists is no glob, even if the name has brackets.
    if not os.path.exists(pattern):
        found = glob.glob(pattern, recursive=True)
        return sorted(path for path in found if os.path.isfile(path))
    if os.path.isdir(pattern):
        raise _is_directory(pattern)
    if not os.path.isfile(pattern):  # a pipe would wait, a device may never end
        raise ValueError(f"'{shown(pattern)}' is not a regular file.")
    return [pattern]


def _find_remote(pattern: str) -> list[str]:
    """The files of a store that a path or a glob names, without folders."""
    with reading(pattern):
        filesystem, inner = _filesystem(pattern)
        if filesystem.isfile(inner):
            return [pattern]
        if filesystem.isdir(inner):
            raise _is_directory(pattern)
        found = filesystem.glob(inner, detail=True)
        files = [name for name, about in found.items() if about["type"] == "file"]
        return sorted(filesystem.unstrip_protocol(name) for name in files)


def _is_directory(path: str) -> ValueError:
    """The error about a folder where a file is needed."""
    files = os.path.join(path, "**", "*.txt")
    return ValueError(
        f"'{shown(path)}' is a directory; name its files, such as '{shown(files)}'."
    )


def _filesystem(path: str) -> tuple[Any, str]:
    """The store of a path, and the path without its protocol."""
    import fsspec

    try:
        return fsspec.core.url_to_fs(path)
    except (ImportError, ValueError) as error:  # no package, or an unknown protocol
        raise ValueError(f"{shown(path)}: {error}.") from None
