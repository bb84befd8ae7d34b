"""What every objective returns."""

from typing import Any, NamedTuple


class Loss(NamedTuple):
    """Sums, so that parts of a batch on any number of devices add up to the whole.

    Attributes:
      sum: float32 scalar: the weighted sum of the examples' losses.
      weight: float32 scalar: the sum of their weights. The Step divides once.
      metrics: name to (sum, weight).
    """

    sum: Any
    weight: Any
    metrics: dict[str, tuple[Any, Any]]
