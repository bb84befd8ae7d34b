"""The phases of a mixture: from which row on it has which shares.

An example: shares 3 and 1, from step 100 on 1 and 1, and a batch of 8. The first phase
has 800 rows, 200 patterns of 4: 600 rows of the first source and 200 of the second. So
row 800 starts the second phase, with row 600 of the first source or row 200 of the
second. A phase ends with a whole pattern, so the counts of each source are exact.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple


class Phase(NamedTuple):
    """A phase.

    Attributes:
      row: the number of its first row.
      shares: rows of each source in a pattern; 0 leaves a source out.
      patterns: how many there are before the phase.
      used: rows of each source before the phase.
    """

    row: int
    shares: tuple[int, ...]
    patterns: int
    used: tuple[int, ...]


def phases(
    shares: Sequence[int],
    schedule: Sequence[tuple[int, Sequence[int]]] = (),
    batch: int = 1,
) -> list[Phase]:
    """The phases of a mixture.

    Args:
      shares: rows of each source in a pattern, from the first row on.
      schedule: the number of a batch, and the shares from it on; numbers rise.
      batch: rows of a batch.

    Raises:
      ValueError: a phase does not end with a whole pattern.
    """
    found = [Phase(0, tuple(shares), 0, (0,) * len(shares))]
    for step, later in schedule:
        row, before, patterns, used = found[-1]
        pattern = sum(before)
        times, rest = divmod(step * batch - row, pattern)
        if rest:
            raise ValueError(
                f"config.data.schedule: step {step} is inside a pattern of {pattern} "
                f"rows; with a batch of {batch}, step {row // batch} and multiples of "
                f"{pattern // math.gcd(pattern, batch)} steps after it allowed."
            )
        more = (u + times * share for u, share in zip(used, before, strict=True))
        found.append(Phase(step * batch, tuple(later), patterns + times, tuple(more)))
    return found
