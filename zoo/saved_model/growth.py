"""Measures whether a process grows while it answers.

Standard library only. Linux only: it reads /proc/self/statm.
"""

import ctypes
import os
import statistics
from collections.abc import Callable

_MEGABYTE = 1 << 20
_SAMPLES = 40
# The allocator's own noise stays below this; a leak shows in slope and in sum.
_SLOPE, _SUM = 2048, 4 * _MEGABYTE


def measure(call: Callable[[int], None], calls: int) -> tuple[bool, str]:
    """Calls `call(turn)` many times and watches the resident memory.

    The slope is the median over all pairs of samples (Theil and Sen), which one
    step of the allocator does not move; the first third of the calls, which fills
    caches and thread pools, is left out.

    Returns:
      Whether the process keeps its size, and the numbers in words.
    """
    every = max(1, calls // _SAMPLES)
    samples = []
    for turn in range(calls):
        if turn % every == 0:
            samples.append((turn, _resident()))
        call(turn)
    samples.append((calls, _resident()))
    samples = samples[len(samples) // 3 :]
    slope = statistics.median(
        (late[1] - early[1]) / (late[0] - early[0])
        for i, early in enumerate(samples)
        for late in samples[i + 1 :]
    )
    grown = samples[-1][1] - samples[0][1]
    words = (
        f"{slope / 1024:+.2f} KB a call; {grown / _MEGABYTE:+.1f} MB over the last "
        f"{samples[-1][0] - samples[0][0]} of {calls} calls; "
        f"{samples[-1][1] / _MEGABYTE:.0f} MB resident"
    )
    return not (slope > _SLOPE and grown > _SUM), words


def _resident() -> int:
    """Bytes in memory, after the allocator has returned what it can."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
