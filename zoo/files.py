"""Writes folders and files whole or not at all, and reads those of others with care."""

import contextlib
import json
import os
import pathlib
import shutil
from typing import Any

# A parsed file takes up to 24 times its size: `{},` is an empty dict.
_LARGEST_JSON = 8 * 2**20


@contextlib.contextmanager
def staged(path, replace: bool = False):
    """A folder to fill, which appears as `path` only when the block ends well.

    It is filled under a temporary name in the same parent, flushed to disk, and then
    renamed. After an error nothing of it stays.

    Args:
      path: the final folder; must be absent or empty, unless `replace`.
      replace: whether an older folder is swapped out (and deleted last).

    Raises:
      ValueError: the folder is not empty and `replace` is off.
    """
    path = pathlib.Path(path)
    if not replace:
        refuse_full(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    try:
        yield new
        flush(new)
        old = path.with_name(f".{path.name}.{os.getpid()}.old")
        if path.exists():
            path.rename(old)
        new.rename(path)
        _flush_one(path.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(new, ignore_errors=True)


@contextlib.contextmanager
def staged_file(path):
    """The name of a file to write, which is renamed to `path` when the block ends well.

    Raises:
      ValueError: there is something of this name.
    """
    path = pathlib.Path(path)
    refuse_there(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        yield new
        _flush_one(new)
        new.rename(path)
        _flush_one(path.parent)
    finally:
        new.unlink(missing_ok=True)


def sweep(folder) -> None:
    """Removes what `staged` left in a folder when its process was killed."""
    for path in pathlib.Path(folder).glob(".*.*"):
        if path.is_dir() and path.suffix in (".new", ".old"):
            shutil.rmtree(path)


def refuse_full(path) -> None:
    """Refuses an output folder that has something in it (or that is a file)."""
    path = pathlib.Path(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ValueError(f"{path}: is not empty; give a new or an empty folder.")


def refuse_there(path) -> None:
    """Refuses the name of an output file that something has already."""
    if os.path.lexists(path):
        raise ValueError(f"{path}: is there already; give the name of a new file.")


def flush(folder) -> None:
    """Asks the system to bring all files of a folder to disk."""
    for file in pathlib.Path(folder).rglob("*"):
        _flush_one(file)
    _flush_one(folder)


def _flush_one(path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def inside(folder, name: str, below: str = "") -> pathlib.Path:
    """The path of a file in a folder that may come from anybody.

    A symbolic link may lead to another file of the folder or, as in the cache of the
    Hub (`snapshots/<commit>/` beside `blobs/`), to a blob of the same repository.

    Args:
      folder: the whole folder.
      name: of the file.
      below: of the folder in it that holds the file; "" is the whole folder.

    Raises:
      ValueError: the name is a path, there is no such file, it leads out of the
        folder, or it is a device or a folder.
    """
    folder = pathlib.Path(folder)
    path = folder / below / name
    for part in (name, below) if below else (name,):
        if not part or part in (".", "..") or {"/", os.sep, "\0"} & set(part):
            raise ValueError(f"{folder}: {part!r} is not the name of a file in it.")
    if not path.exists():
        raise ValueError(f"{path}: there is no such file.")
    real, home = path.resolve(), folder.resolve()
    homes = [home]
    if home.parent.name == "snapshots":
        homes.append(home.parent.parent / "blobs")
    if not any(real.is_relative_to(place) for place in homes):
        raise ValueError(f"{path}: is a link out of the folder, to {real}.")
    if not real.is_file():
        raise ValueError(f"{path}: is not a regular file.")
    return path


def read_json(path, kind: type = dict) -> Any:
    """Reads a JSON object, or a list where `kind` is one.

    Raises:
      ValueError: the file is missing, too large, not JSON, or of another kind.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file.")
    if path.stat().st_size > _LARGEST_JSON:
        raise ValueError(f"{path}: larger than {_LARGEST_JSON} bytes.")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # of UTF-8, JSON, or a long number
        raise ValueError(f"{path}: is not JSON: {error}") from None
    if not isinstance(value, kind):
        wanted = "a list" if kind is list else "an object"
        raise ValueError(f"{path}: holds a {type(value).__name__}, expected {wanted}.")
    return value


def write_json(path, value) -> None:
    """Writes JSON, indented, with a newline at the end; refuses NaN."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    pathlib.Path(path).write_text(text + "\n", encoding="utf-8")
