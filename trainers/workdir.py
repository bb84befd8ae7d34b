"""The folder of a run, which only the same Run may use again."""

import pathlib

from trainers import objectives
from trainers.run import Run, differences, from_json, to_json
from zoo import files


def begin(workdir, run: Run) -> pathlib.Path:
    """Makes the workdir, or takes up the one of the same Run.

    A run.json from before a field existed counts as one with the field's default.

    Args:
      workdir: a path.
      run: the Run.

    Returns:
      The workdir, with run.json in it.

    Raises:
      ValueError: the folder holds something else, or another Run, or cannot be made.
    """
    folder = pathlib.Path(workdir)
    path = folder / "run.json"
    if path.exists():
        lines = differences(to_json(read(folder)), to_json(run))
        if lines:
            raise ValueError(
                f"{folder}: was begun by another Run; it differs in: {'; '.join(lines)}"
            )
        files.sweep(folder)
        files.sweep(folder / "checkpoints")
        return folder
    new = folder / ".run.json.new"
    if folder.is_dir():
        new.unlink(missing_ok=True)  # of a process that was killed before the rename
    files.refuse_full(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{folder}: cannot be made: {error.strerror}.") from None
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
    try:
        return from_json(files.read_json(path), objectives.BY_NAME)
    except ValueError as error:
        message = str(error)
        raise ValueError(
            message if message.startswith(str(path)) else f"{path}: {message}"
        ) from None
