"""The folder of a run: begun once, gone on with by the same Run only."""

import json
import pathlib
from typing import Any

from trainers.run import differences
from zoo import files


def begin(workdir, run: dict[str, Any]) -> pathlib.Path:
    """Makes the workdir, or takes up the one of the same Run.

    Args:
      workdir: a path.
      run: the Run as JSON.

    Returns:
      The workdir, with run.json in it.

    Raises:
      ValueError: the folder holds something else, or another Run, or cannot be made.
    """
    folder = pathlib.Path(workdir)
    path = folder / "run.json"
    if path.exists():
        lines = differences(files.read_json(path), json.loads(json.dumps(run)))
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
    files.write_json(new, run)
    new.rename(path)
    files.flush(folder)
    return folder
