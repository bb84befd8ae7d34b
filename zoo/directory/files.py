"""Writes folders whole or not at all, and reads small JSON files with care."""

import contextlib
import json
import os
import pathlib
import shutil

_LARGEST_JSON = 64 * 2**20


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


def read_json(path) -> dict:
    """Reads a JSON object.

    Raises:
      ValueError: the file is missing, too large, not JSON, or not an object.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file.")
    if path.stat().st_size > _LARGEST_JSON:
        raise ValueError(f"{path}: larger than {_LARGEST_JSON} bytes.")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path}: holds a {type(value).__name__}, expected an object.")
    return value


def write_json(path, value) -> None:
    """Writes JSON, indented, with a newline at the end; refuses NaN."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    pathlib.Path(path).write_text(text + "\n", encoding="utf-8")
