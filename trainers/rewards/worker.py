"""The process that runs rewards: `python -m trainers.rewards.worker`.

It reads a JSON value a line: first what it must be able to score, then samples. It
writes a line for each part of a sample as soon as the part is known, so that the other
side can name the reward that hangs. No signal of a terminal reaches it. It ends when
its input ends, and a sample that takes far too long ends it, even where the process
that started it is dead.
"""

import importlib
import importlib.util
import json
import math
import os
import signal
import sys
import traceback
from typing import Any

from trainers.rewards import registry
from trainers.rewards.sample import Sample


def main():
    """Serves samples until the input ends."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    # What a reward prints must not look like an answer, nor may it read a sample.
    inputs, outputs = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", 0)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.dup2(2, 1)
    line = inputs.readline()
    if not line:
        return
    setup = json.loads(line)
    try:
        scores = _prepare(setup)
    except ValueError as error:
        _write(outputs, {"refused": str(error)})
        return
    _write(outputs, {"tensorflow": registry.loaded_tensorflow()})
    for line in inputs:
        sample = Sample(*json.loads(line))
        # The system itself ends a process at an alarm, also inside of a long regex.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, 2 * setup["timeout"] + 1)
        for score in scores:
            _write(outputs, _value(score, sample))
        signal.setitimer(signal.ITIMER_REAL, 0)


def _prepare(setup: dict[str, Any]) -> list:
    """Imports the modules of users, and makes the functions.

    Raises:
      ValueError: a module cannot be imported, or an argument is wrong.
    """
    for name, file in setup["modules"]:
        try:
            _import(name, file)
        except BaseException as error:
            raise ValueError(f"rewards: {file}: {_where(error)}") from None
    return [registry.build(name, argument) for name, argument in setup["entries"]]


def _import(name: str, file: str) -> None:
    """Imports a module by its name, or from its file where that is another one."""
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        found = None
    if found is not None and found.origin and os.path.exists(found.origin):
        if os.path.samefile(found.origin, file):
            importlib.import_module(name)
            return
    spec: Any = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


def _value(score, sample: Sample) -> Any:
    """The score of one part, or what is wrong with it."""
    try:
        value = score(sample)
        if value is None or isinstance(value, str | bytes):
            return {"error": f"returned {value!r:.60}, a finite number allowed"}
        value = float(value)
    except BaseException as error:  # SystemExit too: a reward must not end its worker
        return {"error": f"raised {_where(error)}"}
    if not math.isfinite(value):
        return {"error": f"returned {value}, a finite number allowed"}
    return value


def _where(error: BaseException) -> str:
    """The error with the last place in its code, on one line."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}{place}"


def _write(outputs, value: Any) -> None:
    """Writes one line."""
    outputs.write(json.dumps(value).encode() + b"\n")


if __name__ == "__main__":
    main()
