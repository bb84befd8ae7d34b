"""The type that the loss of every objective returns."""

from typing import Any, NamedTuple


class Loss(NamedTuple):
    """Sums: those of the parts of a batch, on any devices, add up to the batch's.

    Attributes:
      sum: float32 scalar: the weighted sum of the examples' losses.
      weight: float32 scalar: the sum of the weights, by which the Step divides.
      metrics: name to (weighted sum, weight), float32 scalars.
    """

    sum: Any
    weight: Any
    metrics: dict[str, tuple[Any, Any]]
