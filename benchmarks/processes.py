"""The sides of a benchmark, each in a process of its own."""

import json
import os
import random
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import flags

_FIGURES = flags.DEFINE_string("figures", "", "A file that results are appended to.")


def own(name: str, side: str, *flags: str) -> list[str]:
    """The command of a side of the benchmark `benchmarks.name`."""
    return [sys.executable, "-m", f"benchmarks.{name}", f"--side={side}", *flags]


def result(command: list[str], **environment: str) -> Any:
    """What a process prints as its last line, which is JSON.

    Args:
      command: of the process.
      **environment: variables beside those of this process.

    Raises:
      SystemExit: the process failed; the message is the end of its errors.
    """
    out = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}
    )
    if out.returncode:
        raise SystemExit(out.stderr[-3000:])
    return json.loads(out.stdout.splitlines()[-1])


def in_turn(
    sides: Mapping[str, list[str]],
    rounds: int,
    check: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, list[Any]]:
    """Runs the sides in turn, each in a process of its own, so many times.

    Args:
      sides: the command of each side, by name.
      rounds: how many processes a side has.
      check: `check({side: result})` of a round; raises where the sides did other work.

    Returns:
      The results of each side, one a round.
    """
    found: dict[str, list[Any]] = {side: [] for side in sides}
    for _ in range(rounds):
        results = {side: result(command) for side, command in sides.items()}
        if check:
            check(results)
        for side, one in results.items():
            found[side].append(one)
    return found


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float, float]:
    """The median of `theirs` over that of `ours`, and its interval of 95 %.

    Args:
      ours, theirs: seconds, one a round; the bootstrap draws whole rounds.
    """
    pairs = list(zip(ours, theirs, strict=True))
    draw = random.Random(0).choices
    drawn = sorted(_of_medians(draw(pairs, k=len(pairs))) for _ in range(2000))
    return _of_medians(pairs), drawn[50], drawn[1949]


def report(work: str, seconds: dict[str, list[float]], tokens: int = 0) -> None:
    """Prints the sides and the ratios of a work, and appends them to --figures.

    Args:
      work: its name.
      seconds: of each side, one a round; our side is the first.
      tokens: of a step; 0 shows milliseconds a step instead of tokens a second.
    """
    middle = {side: statistics.median(own) for side, own in seconds.items()}
    if tokens:
        shown = {side: f"{tokens / one:,.0f} tokens/s" for side, one in middle.items()}
    else:
        shown = {side: f"{1e3 * one:.2f} ms a step" for side, one in middle.items()}
    first, *peers = seconds
    print(f"{work}: {first} {shown[first]}")
    for side in peers:
        value, low, high = ratio(seconds[first], seconds[side])
        print(f"  {side} {shown[side]}, ratio {value:.2f} ({low:.2f} to {high:.2f})")
        if _FIGURES.value:
            row = {"work": work, "ours": shown[first], "peer": side}
            row |= {"theirs": shown[side], "ratio": [value, low, high]}
            with open(_FIGURES.value, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


def _of_medians(pairs):
    """The ratio of the medians of (ours, theirs)."""
    ours, theirs = zip(*pairs, strict=True)
    return statistics.median(theirs) / statistics.median(ours)
