"""The types that the loss of every objective returns."""

from typing import Any, NamedTuple


class Mean(NamedTuple):
    """A weighted mean that is not divided yet; `float()` divides.

    Attributes:
      sum: the weighted sum.
      weight: the sum of the weights.
    """

    sum: Any
    weight: Any

    def __float__(self) -> float:
        weight = float(self.weight)
        return float(self.sum) / weight if weight else float("nan")


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
