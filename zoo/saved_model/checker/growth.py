"""Measures whether a process grows while it answers.

Standard library only.
"""

import ctypes
import itertools
import os
import resource
from collections.abc import Callable

_MEGABYTE = 1 << 20
_PARTS = 6
# A leak exceeds both limits: bytes per call, and bytes in one part of the calls.
_SLOPE, _SUM = 2048, _MEGABYTE


def measure(call: Callable[[int], None], calls: int) -> tuple[bool, str]:
    """Calls `call(number)` many times and measures the memory of the process.

    The calls have six parts. The first two fill caches and thread pools. The result is
    the lower median growth of the other four: a leak raises it, one or two steps of the
    allocator do not.

    Returns:
      Whether the process keeps its size, and the numbers in words.
    """
    ends = [calls * part // _PARTS for part in range(_PARTS + 1)]
    sizes = [_memory()]
    for start, end in itertools.pairwise(ends):
        for number in range(start, end):
            call(number)
        sizes.append(_memory())
    grown = [late - early for early, late in itertools.pairwise(sizes)]
    usual = sorted(grown[2:])[1]
    slope = usual / max(1, calls // _PARTS)
    words = (
        f"{slope / 1024:+.2f} KB a call; {sum(grown[2:]) / _MEGABYTE:+.1f} MB over "
        f"the last {calls - ends[2]} of {calls} calls; "
        f"{sizes[-1] / _MEGABYTE:.0f} MB of memory"
    )
    return not (slope > _SLOPE and usual > _SUM), words


def _memory() -> int:
    """Bytes in memory or in swap, after the allocator has returned what it can."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)
    if os.path.exists("/proc/self/status"):
        # RssAnon leaves out pages of files, which the kernel may drop at any time
        with open("/proc/self/status") as file:
            fields = dict(line.split(":", 1) for line in file)
        resident = fields.get("RssAnon") or fields["VmRSS"]
        swapped = fields.get("VmSwap", "0 kB")
        return sum(int(size.split()[0]) for size in (resident, swapped)) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS: the peak
