"""Evaluation: the weighted means of an objective over a finite dataset."""

import math

import tensorflow as tf

from trainers.run import Run


def rows_at_once(run: Run) -> int:
    """The rows of an evaluation batch: as many as one device trains on at once."""
    return max(run.data.batch // (max(run.replicas, 1) * run.accumulate), 1)


def make_evaluate(objective):
    """Compiles `evaluate(roles, dataset, size=0) -> metrics`.

    Args:
      objective: its `loss` is summed, with training=False.

    Returns:
      The function. Its metrics are floats: `loss`, the weighted mean; the objective's
      own, but for those of weight 0; and for text (where `size`, its bytes, is above 0)
      `perplexity` a token and `bits_per_byte`. It raises ValueError where no example
      has a weight.
    """

    # a trace for each shape: with an unknown number of rows, the head of a language
    # model would make all its logits at once
    @tf.function(autograph=False)
    def sums_of(roles, batch):
        loss = objective.loss(roles, batch, training=False)
        return {"loss": (loss.sum, loss.weight), **loss.metrics}

    def evaluate(roles, dataset, size: int = 0) -> dict[str, float]:
        totals: dict[str, list[float]] = {}
        for batch in dataset:
            for name, (total, weight) in sums_of(roles, batch).items():
                sums = totals.setdefault(name, [0.0, 0.0])
                sums[0] += float(total)
                sums[1] += float(weight)
        metrics = {name: total / w for name, (total, w) in totals.items() if w}
        if "loss" not in metrics:
            raise ValueError("evaluation: no example has a weight above 0.")
        if size:
            metrics["perplexity"] = math.exp(min(metrics["loss"], 700.0))
            metrics["bits_per_byte"] = totals["loss"][0] / math.log(2) / size
        return metrics

    return evaluate
