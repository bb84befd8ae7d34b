"""The folder of a preparation: what it began with, and who writes to it.

OUTPUT/work/begun.json    the recipe and the fingerprint of the data, before all else
OUTPUT/work/lock          held by the process that writes
OUTPUT/card.json          written last; then `work` goes
"""

import contextlib
import fcntl
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

from zoo import files
from zoo.data import fingerprints, sources
from zoo.data.preparation import recipe as recipes
from zoo.data.preparation.recipe import Recipe

CARD = "card.json"
_WORK, _BEGUN, _LOCK = "work", "begun.json", "lock"
_VERSION = 1  # of the files in the folder


def begin(recipe: Recipe) -> dict[str, Any]:
    """What begun.json and card.json hold: the recipe, and the data by SHA-256.

    Reads all files once.

    Raises:
      ValueError: a source or the tokenizer is missing or wrong.
    """
    found: fingerprints.Fingerprint = {}
    for split in input_splits(recipe.source):
        found |= fingerprints.fingerprint(recipe.source, split)
    for spec in recipe.against:
        found |= fingerprints.fingerprint(spec)
    if recipe.tokenizer:
        paths = sorted(pathlib.Path(recipe.tokenizer).glob("*.j*"))
        found |= fingerprints.of_files({str(path): str(path) for path in paths})
    return {
        "version": _VERSION,
        "recipe": recipes.to_json(recipe),
        "inputs": dict(sorted(found.items())),
    }


def input_splits(spec: str) -> list[str]:
    """The splits of a source that a preparation reads, in its order.

    What is held out comes first, so that a training document that equals it goes.
    Hugging Face calls the split `valid` "validation".
    """
    known = sources.splits(spec)
    wanted = ("test", "valid", "validation", "train")
    return [split for split in wanted if split in known]


@contextlib.contextmanager
def opened(output, begun: dict[str, Any]) -> Iterator[pathlib.Path | None]:
    """Yields the folder `work` of an output, which is new or goes on.

    Args:
      output: the folder of a preparation; new, empty, or with the same beginning.
      begun: of `begin`.

    Yields:
      The folder, or None where the preparation is complete.

    Raises:
      ValueError: the output has something else, or another process writes to it; the
        recipe or the data changed since the beginning, by field or file.
    """
    output = pathlib.Path(output)
    work = output / _WORK
    with files.system_errors(output):
        if (output / CARD).is_file():
            card = files.read_json(output / CARD, largest=2**30)
            refuse_changes(output, card, begun)
            shutil.rmtree(work, ignore_errors=True)
            _sweep(output)
            yield None
            return
        if not work.is_dir():
            files.refuse_full(output)
            work.mkdir(parents=True)
        with open(work / _LOCK, "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(f"{output}: another process writes to it.") from None
            if (work / _BEGUN).is_file():
                refuse_changes(output, files.read_json(work / _BEGUN), begun)
            else:
                with files.staged_file(work / _BEGUN) as new:
                    files.write_json(new, begun)
            for folder in (output, work, *(f for f in work.iterdir() if f.is_dir())):
                _sweep(folder)
            yield work


def remove(work: pathlib.Path) -> None:
    """Removes the folder, once the card is written."""
    shutil.rmtree(work)


def _sweep(folder: pathlib.Path) -> None:
    """Removes what a killed process did not finish to write."""
    for path in folder.glob(".*.*.new"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def refuse_changes(output, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Raises ValueError where recipe or data are not those of the beginning."""
    if before.get("version") != _VERSION:
        raise ValueError(
            f"{output}: version {before.get('version')!r} of a preparation, {_VERSION} "
            "allowed; give a new folder."
        )
    changed = recipes.differences(before["recipe"], now["recipe"])
    changed = changed or fingerprints.changes(before["inputs"], now["inputs"])
    if changed:
        raise ValueError(
            f"{output}: began with another recipe or other data: "
            f"{'; '.join(changed)}. Give a new folder, or what it began with."
        )
