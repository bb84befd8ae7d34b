"""Writes folders and files that appear only when complete; checks those it reads.

An error of the system, such as a full disk, becomes a `FileError`: one line with the
path and the reason.
"""

import contextlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import safetensors

# A parsed file needs up to 24 times its size: `{},` is an empty dict.
_LARGEST_JSON = 8 * 2**20


class FileError(OSError, ValueError):
    """A file or folder cannot be read or written."""


@contextlib.contextmanager
def system_errors(path) -> Iterator[None]:
    """Turns errors of the system into a `FileError`.

    Args:
      path: the path for the message, if the error does not have one.

    Raises:
      FileError: the block raised an OSError or a SafetensorError.
    """
    try:
        yield
    except FileError:
        raise
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise FileError(f"{error.filename or path}: {reason}.") from error
    except safetensors.SafetensorError as error:
        raise FileError(f"{path}: {error}.") from error


@contextlib.contextmanager
def staged(path, replace: bool = False):
    """Yields a folder to fill, which becomes `path` when the block ends without error.

    The folder has a temporary name in the same parent. At the end of the block it is
    flushed to disk and renamed. After an error, no part of it stays.

    Args:
      path: the final folder; must be absent or empty, unless `replace`.
      replace: whether to replace an older folder, which is deleted last.

    Raises:
      ValueError: the folder is not empty and `replace` is off.
      FileError: the system cannot write, in the block too.
    """
    path = pathlib.Path(path)
    if not replace:
        refuse_full(path)
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with system_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir()
            yield new
            flush(new)
            old = path.with_name(f".{path.name}.{os.getpid()}.old")
            if path.exists():
                path.rename(old)
            new.rename(path)
            flush_one(path.parent)
            shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(new, ignore_errors=True)


@contextlib.contextmanager
def staged_file(path, replace: bool = False):
    """Yields the name of a file to write, which becomes `path` at the end of the block.

    Args:
      path: the file.
      replace: whether there may be one, whose place the new one takes.

    Raises:
      ValueError: `path` exists, and `replace` is not set.
      FileError: the system cannot write, in the block too.
    """
    path = pathlib.Path(path)
    if not replace:
        refuse_existing(path)
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with system_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield new
            flush_one(new)
            new.rename(path)
            flush_one(path.parent)
    finally:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)


def check_room(path, size: int) -> None:
    """Checks, before the work, that an output can be written.

    Args:
      path: the file or folder to write; it need not exist.
      size: the number of bytes to write.

    Raises:
      FileError: its folder is a file, is not writable, or the disk lacks room.
    """
    path = pathlib.Path(path).absolute()
    with system_errors(path):
        parent = next(folder for folder in path.parents if folder.exists())
        if not parent.is_dir():
            raise FileError(f"{parent}: is a file; a folder for {path.name} allowed.")
        if not os.access(parent, os.W_OK | os.X_OK):
            raise FileError(f"{parent}: is not writable.")
        free = shutil.disk_usage(parent).free
    if size > free:
        raise FileError(f"{path}: needs {size:,} bytes, but the disk has {free:,}.")


def sweep(folder) -> None:
    """Removes temporary folders of `staged` that a killed process left."""
    for path in pathlib.Path(folder).glob(".*.*"):
        if path.is_dir() and path.suffix in (".new", ".old"):
            shutil.rmtree(path)


def refuse_full(path) -> None:
    """Raises a ValueError if an output folder is not empty, or is a file."""
    path = pathlib.Path(path)
    with system_errors(path):
        full = path.exists() and (not path.is_dir() or any(path.iterdir()))
    if full:
        raise ValueError(f"{path}: is not empty; give a new or an empty folder.")


def refuse_existing(path) -> None:
    """Raises a ValueError if an output file exists."""
    if os.path.lexists(path):
        raise ValueError(f"{path}: exists; give the name of a new file.")


def flush(folder) -> None:
    """Flushes all files of a folder to disk."""
    for file in pathlib.Path(folder).rglob("*"):
        flush_one(file)
    flush_one(folder)


def flush_one(path) -> None:
    """Flushes one file or folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def inside(folder, name: str, below: str = "") -> pathlib.Path:
    """Returns the path of a file in a folder that may come from anybody.

    A symbolic link may lead to another file of the folder. In the cache of the Hub
    (`snapshots/<commit>/` beside `blobs/`), it may lead to a blob of the repository.

    Args:
      folder: the folder.
      name: the name of the file.
      below: the name of a folder in `folder` that has the file; "" is `folder` itself.

    Raises:
      ValueError: the name is a path, there is no such file, it leads out of the
        folder, or it is not a regular file.
    """
    folder = pathlib.Path(folder)
    path = folder / below / name
    for part in (name, below) if below else (name,):
        if not part or part in (".", "..") or {"/", os.sep, "\0"} & set(part):
            raise ValueError(f"{folder}: {part!r} is not the name of a file in it.")
    if not path.exists():
        raise ValueError(f"{path}: there is no such file.")
    real, home = path.resolve(), folder.resolve()
    allowed = [home]
    if home.parent.name == "snapshots":
        allowed.append(home.parent.parent / "blobs")
    if not any(real.is_relative_to(root) for root in allowed):
        raise ValueError(f"{path}: is a link out of the folder, to {real}.")
    if not real.is_file():
        raise ValueError(f"{path}: is not a regular file.")
    return path


def read_json(path, kind: type = dict, largest: int = _LARGEST_JSON) -> Any:
    """Reads a JSON object, or a JSON list if `kind` is list.

    Args:
      path: the file.
      kind: dict or list.
      largest: bytes that the file may have.

    Raises:
      ValueError: the file is missing, too large, not JSON, or has another kind.
      FileError: the system cannot read it.
    """
    path = pathlib.Path(path)
    with system_errors(path):
        if not path.is_file():
            raise ValueError(f"{path}: there is no such file.")
        if path.stat().st_size > largest:
            raise ValueError(f"{path}: larger than {largest} bytes.")
        content = path.read_bytes()
    try:
        value = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # from UTF-8, JSON or a long number
        raise ValueError(f"{path}: is not JSON: {error}") from None
    if not isinstance(value, kind):
        wanted = "a list" if kind is list else "an object"
        raise ValueError(f"{path}: holds a {type(value).__name__}, expected {wanted}.")
    return value


def write_json(path, value) -> None:
    """Writes JSON, indented, with a newline at the end; refuses NaN."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    with system_errors(path):
        pathlib.Path(path).write_text(text + "\n", encoding="utf-8")
