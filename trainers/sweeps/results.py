"""What the trials of a sweep reached: a score for each, and tables of them."""

import json
import math
import os
import pathlib
from typing import Any, NamedTuple

import rich.markup
import rich.table

from trainers import metrics_file, objectives
from trainers.run import from_json, to_json
from zoo import files

FILE, TABLE = "sweep.json", "sweep.md"


class Trial(NamedTuple):
    """One trial.

    Attributes:
      name: of its workdir, such as "trial_000".
      values: of the fields that vary.
      status: "planned", "done" or "failed".
      score: the best value of the metric that `Run.best` names, or None.
      step: where that was, or None.
      split: "eval", or "train" of a run without evaluation; "" without a score.
      error: why it failed, or "".
    """

    name: str
    values: dict[str, Any]
    status: str = "planned"
    score: float | None = None
    step: int | None = None
    split: str = ""
    error: str = ""


def finished(trial: Trial, workdir, best: str) -> Trial:
    """The trial with the score that its metrics.jsonl has.

    The score is the best evaluation; that of step 0 is before training and does not
    count. Without evaluations it is the last logged line of training.

    Args:
      trial: which ended.
      workdir: of the trial.
      best: `Run.best`.

    Raises:
      ValueError: metrics.jsonl is broken.
    """
    name = best.removeprefix("+")
    lines = [
        line
        for line in metrics_file.read(pathlib.Path(workdir) / "metrics.jsonl")
        if line.get(name) is not None and line["step"]
    ]
    evaluated = [line for line in lines if line["split"] == "eval"]
    found = evaluated or lines[-1:]
    trial = trial._replace(status="done", error="")
    if not found:
        return trial
    sign = -1 if best.startswith("+") else 1
    line = min(found, key=lambda line: sign * line[name])
    return trial._replace(score=line[name], step=line["step"], split=line["split"])


def ranked(trials: list[Trial], best: str) -> list[Trial]:
    """The trials from the best to the worst; those without a score are last."""
    sign = -1 if best.startswith("+") else 1

    def key(trial):
        return math.inf if trial.score is None else sign * trial.score

    return sorted(trials, key=key)


def rows(trials: list[Trial], best: str) -> list[list[str]]:
    """The cells of a table, the names of the columns first, the best trial next."""
    fields = list(trials[0].values)
    found = [["trial", *fields, best.removeprefix("+"), "step", "status"]]
    for trial in ranked(trials, best):
        scored = trial.score is not None
        found.append(
            [
                trial.name,
                *(_shown(trial.values[field]) for field in fields),
                f"{trial.score:.6g}" if scored else "",
                str(trial.step) if scored else "",
                f"{trial.status}: {trial.error}" if trial.error else trial.status,
            ]
        )
    return found


def table(trials: list[Trial], best: str) -> rich.table.Table:
    """The trials as a table for the terminal."""
    names, *cells = rows(trials, best)
    made = rich.table.Table(*names)
    for row in cells:
        made.add_row(*(rich.markup.escape(cell) for cell in row))
    return made


def markdown(trials: list[Trial], best: str) -> str:
    """The trials as a table in Markdown."""
    names, *cells = rows(trials, best)
    lines = [names, ["---"] * len(names), *cells]
    escaped = ([c.replace("|", "\\|").replace("\n", " ") for c in x] for x in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in escaped)


def write(folder, plan: dict[str, Any], trials: list[Trial]) -> None:
    """Writes sweep.json and sweep.md, each by one rename.

    Args:
      folder: of the sweep.
      plan: JSON-able: what decides the trials; its "best" is `Run.best`.
      trials: all of them.
    """
    folder = pathlib.Path(folder)
    value = {**plan, "results": [trial._asdict() for trial in trials]}
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    for name, content in ((FILE, text), (TABLE, markdown(trials, plan["best"]))):
        new = folder / f".{name}.new"
        with new.open("w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.rename(folder / name)


def read(folder, plan: dict[str, Any], trials: list[Trial]) -> list[Trial]:
    """The trials with the results of an earlier process of the same sweep.

    Args:
      folder: of the sweep.
      plan: as in `write`; only a "random" sweep may have more trials than before.
      trials: as planned.

    Raises:
      ValueError: sweep.json is broken, or of another sweep; the message says what
        differs.
    """
    path = pathlib.Path(folder) / FILE
    if not path.exists():
        return trials
    value = files.read_json(path)
    try:
        before = [Trial(**result) for result in value.pop("results")]
        # fields that are younger than the file have their defaults
        value["config"] = to_json(from_json(value["config"], objectives.BY_NAME))
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path}: is broken: {error}.") from None
    odd = sorted(k for k in plan.keys() | value.keys() if plan.get(k) != value.get(k))
    planned = [(t.name, t.values) for t in trials[: len(before)]]
    if not odd and planned != [(t.name, t.values) for t in before]:
        odd = ["trials"]
    if odd:
        raise ValueError(
            f"{path}: was begun by another sweep; it differs in: {', '.join(odd)}. "
            "Give a new or an empty folder."
        )
    return [*before, *trials[len(before) :]]


def _shown(value: Any) -> str:
    """A value of a field as a cell."""
    return value if isinstance(value, str) else json.dumps(value)
