"""The digests of a model directory, in the format of the command `sha256sum`.

`save` writes SHA256SUMS, and loading compares the digests. So a flipped bit is found.
It is an error in config.json and the weights, a warning in the files that users edit. A
directory from another program has no SHA256SUMS, and loads without the check.
"""

import hashlib
import os
import pathlib
import re

from absl import logging

from zoo import files

FILE = "SHA256SUMS"
_LARGEST = 2**16
_LINE = re.compile(r"([0-9a-f]{64})  (\S+)")


def write(folder: pathlib.Path, names) -> None:
    """Writes the digests of some files of a folder."""
    lines = [f"{_digest(folder / name)}  {name}\n" for name in names]
    (folder / FILE).write_text("".join(lines), encoding="utf-8")


def check(folder: pathlib.Path, name: str) -> None:
    """Compares a file of a folder with its digest.

    Raises:
      ValueError: the digest is another one, or SHA256SUMS is broken.
    """
    digests = _read(folder)
    if digests is None:
        return
    if name not in digests:
        raise ValueError(f"{folder / FILE}: has no digest of {name}; {_ADVICE}.")
    if _digest(files.inside(folder, name)) != digests[name]:
        raise ValueError(
            f"{folder / name}: was changed after it was written; its digest is not "
            f"that of {FILE}. Copy the directory again; {_ADVICE}."
        )


def warn(folder: pathlib.Path, names) -> None:
    """Warns of files that users edit, such as tokenizer.json, if they were changed.

    Raises:
      ValueError: SHA256SUMS is broken.
    """
    digests = _read(folder) or {}
    for name in names:
        if name in digests and os.path.lexists(folder / name):
            if _digest(files.inside(folder, name)) != digests[name]:
                logging.warning(
                    "%s: was edited or damaged after it was written; its digest is not "
                    "that of %s.",
                    folder / name,
                    FILE,
                )


def _read(folder) -> dict[str, str] | None:
    """The digests by file name, or None without SHA256SUMS."""
    if not os.path.lexists(folder / FILE):
        return None
    path = files.inside(folder, FILE)
    if path.stat().st_size > _LARGEST:
        raise ValueError(f"{path}: larger than {_LARGEST} bytes.")
    digests = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"{path}: {line[:80]!r}; lines of `sha256sum` allowed.")
        digests[match[2]] = match[1]
    return digests


_ADVICE = f"after a change of your own, delete {FILE}"


def _digest(path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
