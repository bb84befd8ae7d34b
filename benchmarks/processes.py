"""The sides of a benchmark, each in a process of its own."""

import json
import os
import subprocess
import sys
from typing import Any


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
