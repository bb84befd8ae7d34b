"""What a knob of generation is: its name, type, default, range and help."""

import math
from typing import Any, NamedTuple

INT32, INT64 = 2**31 - 1, 2**63 - 1


class Range(NamedTuple):
    """The numbers that a knob takes.

    Attributes:
      low: the least one.
      high: the largest one; infinity allows every finite number.
      above: whether `low` itself is excluded.
    """

    low: float
    high: float
    above: bool = False

    def holds(self, x: Any) -> Any:
        """Whether a number, or each number of a tensor, is in the range."""
        over = x > self.low if self.above else x >= self.low
        return over & (x < self.high if self.high == math.inf else x <= self.high)

    def __str__(self):
        if self.high == INT64:
            return "integers of 64 bits"
        if self.low == -math.inf:
            return "finite numbers"
        if self.high in (math.inf, INT32):
            return f"above {self.low}" if self.above else f"at least {self.low}"
        if self.above:
            return f"above {self.low} and at most {self.high}"
        return f"{self.low} to {self.high}"


class Knob(NamedTuple):
    """One value of a request.

    Attributes:
      name: as in the signature, the flag and the field of `GenerationConfig`.
      dtype: TensorFlow's name of its type.
      default: its value where neither the request nor the model gives one.
      range: its `Range`; None for `stop`, the only knob of strings.
      help: one line for users.
    """

    name: str
    dtype: str
    default: Any
    range: Any
    help: str

    def about(self) -> str:
        """The help, and the range where there is one."""
        return f"{self.help} Allowed: {self.range}." if self.range else self.help
