"""metrics.jsonl: one JSON object a line, with a step, a split and metrics."""

import json
import pathlib
from typing import Any


def read(path) -> list[dict[str, Any]]:
    """The lines, but for a last one that is not complete.

    Raises:
      ValueError: there is no such file, or a line is no object with a step and a split;
        the message names the file and the line.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file.")
    text = path.read_text(encoding="utf-8", errors="backslashreplace")
    lines = []
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        if line.endswith("\n"):
            try:
                value = json.loads(line)
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: is broken: {error}") from None
            if not isinstance(value, dict) or not {"step", "split"} <= value.keys():
                raise ValueError(f"{path}, line {number}: is broken: {line.strip()}")
            lines.append(value)
    return lines


def cut(path, step: int) -> None:
    """Removes the lines after a step, at step 0 all; and a last incomplete line."""
    path = pathlib.Path(path)
    if not path.exists():
        return
    kept = [line for line in read(path) if step and line["step"] <= step]
    new = path.with_suffix(".new")
    new.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
    new.rename(path)
