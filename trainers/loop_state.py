"""What the loop remembers between steps, which a checkpoint stores as JSON."""

import dataclasses
import math
from typing import Any

from trainers.objectives.loss import Mean


@dataclasses.dataclass
class LoopState:
    """The loop's memory.

    Attributes:
      best: the best value of the metric that `Run.best` names, or None.
      worse: how many evaluations in a row were not better.
      window: name to the sums (values, weights) over the steps since the last line.
      last: the metrics of the last evaluation or logged line.
      done: whether the run has ended.
    """

    best: float | None = None
    worse: int = 0
    window: dict[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    last: dict[str, float] = dataclasses.field(default_factory=dict)
    done: bool = False

    def to_json(self) -> dict[str, Any]:
        """The fields; JSON keeps every digit of a float."""
        return dataclasses.asdict(self)

    def add(self, pending: list[dict[str, Mean]]) -> None:
        """Moves the metrics of steps into the window and empties the list.

        JSON has no NaN, and a mean over a skipped step says nothing. So numbers that
        are not finite are left out; `skipped` counts their steps.
        """
        for metrics in pending:
            for name, mean in metrics.items():
                value, weight = float(mean.sum), float(mean.weight)
                if math.isfinite(value) and math.isfinite(weight):
                    old_value, old_weight = self.window.get(name, (0.0, 0.0))
                    self.window[name] = (old_value + value, old_weight + weight)
        pending.clear()

    def means(self) -> dict[str, float]:
        """The weighted mean of each metric over the window, which becomes empty."""
        means = {name: value / w for name, (value, w) in self.window.items() if w}
        self.window = {}
        return means

    def improve(self, metrics: dict[str, float], best: str) -> bool:
        """Compares an evaluation with the best one so far, and remembers the result.

        Args:
          metrics: of the evaluation.
          best: `Run.best`: a metric's name; after a "+", larger values are better.

        Returns:
          Whether this evaluation is the best one.

        Raises:
          ValueError: the evaluation has no such metric.
        """
        name = best.removeprefix("+")
        if name not in metrics:
            raise ValueError(
                f"config.best: {best!r}; one of {', '.join(sorted(metrics))} allowed, "
                "with a + before it where larger is better."
            )
        value = metrics[name]
        sign = -1 if best.startswith("+") else 1
        better = math.isfinite(value) and (
            self.best is None or sign * value < sign * self.best
        )
        if better:
            self.best = value
        self.worse = 0 if better else self.worse + 1
        return better


def finite(metrics: dict[str, Any]) -> dict[str, float]:
    """The metrics that are finite numbers, as floats."""
    values = {name: float(value) for name, value in metrics.items()}
    return {name: value for name, value in values.items() if math.isfinite(value)}
