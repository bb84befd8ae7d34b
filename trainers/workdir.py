"""The folder of a run, which only the same Run may use again."""

import contextlib
import dataclasses
import os
import pathlib

from trainers import objectives
from trainers.run import Run, differences, from_json, to_json
from zoo import files


def check(workdir, run: Run) -> None:
    """Refuses a workdir that `begin` could not use; writes nothing.

    Raises:
      ValueError: the folder holds something else, or another Run, or cannot be written.
    """
    folder = pathlib.Path(workdir)
    if (folder / "run.json").exists():
        _check_run(folder, read(folder), run)
    elif folder.exists() and not _is_empty(folder):
        files.refuse_full(folder)
    place = folder
    while not os.path.lexists(place):
        place = place.parent
    if not place.is_dir():
        raise ValueError(f"{folder}: cannot be made: {place} is not a folder.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise ValueError(f"{folder}: cannot be written: no permission in {place}.")


def begin(workdir, run: Run) -> pathlib.Path:
    """Makes the workdir, or takes up the one of the same Run.

    A run.json from before a field existed counts as one with the field's default.

    Args:
      workdir: a path.
      run: the Run.

    Returns:
      The workdir, with run.json in it.

    Raises:
      ValueError: as in `check`.
    """
    check(workdir, run)
    folder = pathlib.Path(workdir)
    path = folder / "run.json"
    if path.exists():
        files.sweep(folder)
        files.sweep(folder / "checkpoints")
        if read(folder) == run:
            return folder
    new = folder / ".run.json.new"
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        files.write_json(new, to_json(run))
        new.rename(path)
        files.flush(folder)
    return folder


def read(workdir) -> Run:
    """The Run that began a workdir.

    Raises:
      ValueError: run.json is missing or broken, or holds what no Run has.
    """
    path = pathlib.Path(workdir) / "run.json"
    value = files.read_json(path)
    try:
        return from_json(value, objectives.BY_NAME)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


@contextlib.contextmanager
def writing(path):
    """Turns an error of the operating system, such as a full disk, into a ValueError.

    Args:
      path: what the block writes, for the message.
    """
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).removeprefix(f"{path}: ").rstrip(".")
        raise ValueError(f"{path}: cannot be written: {reason}.") from error


def _check_run(folder, old, new):
    """Refuses another Run, but for more steps at a constant rate."""
    lines = differences(to_json(old), to_json(new))
    longer = dataclasses.replace(old, steps=new.steps, epochs=new.epochs) == new
    if longer and new.optimizer.decay == "constant":
        if new.steps >= old.steps and new.epochs >= old.epochs:
            return
    if lines:
        hint = ""
        if longer:
            hint = (
                f". Only optimizer.decay='constant' can go on with more steps; begin a "
                f"new workdir with config.init_from={folder}/model"
            )
        raise ValueError(
            f"{folder}: was begun by another Run; it differs in: {'; '.join(lines)}"
            f"{hint}"
        )


def _is_empty(folder) -> bool:
    """Whether nothing is there but what a killed process left of run.json."""
    return folder.is_dir() and not [
        path for path in folder.iterdir() if path.name != ".run.json.new"
    ]
